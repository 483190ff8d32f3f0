"""One of several penalties on singular values, which runs side by side may choose from."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gradflow.linalg.spectral_map import Terms
from gradflow.penalties.spectral import AbstractSpectralPenalty


class SpectralChoice(AbstractSpectralPenalty):
    """The penalty `kinds[which]`: an SVD for all, and the choice is between singular values.

    So runs with different penalties share what is expensive in them, where an array of choices
    lies along the runs. All derivatives of a penalty from its singular values are sums of powers;
    here they have those of all kinds, with coefficients 0 where another one is chosen.

    Attributes:
      kinds: penalties whose gradients are had from an SVD.
      which: the place of the one that counts.
    """

    kinds: tuple[AbstractSpectralPenalty, ...]
    which: Int[Array, ""]

    def __init__(self, kinds: Sequence[AbstractSpectralPenalty], which: Int[Array, ""]):
        self.kinds, self.which = tuple(kinds), which

    @property
    def weight(self) -> Float[Array, ""]:
        return self._of([kind.weight for kind in self.kinds])

    @property
    def exponent(self) -> float:
        """The lowest of all kinds."""
        return min(kind.exponent for kind in self.kinds)

    @property
    def degree(self) -> Any:
        return self._of([jnp.asarray(kind.degree) for kind in self.kinds])

    def check(self, shape: tuple[int, ...]) -> None:
        for kind in self.kinds:
            kind.check(shape)

    def of_spectrum(self, s: Float[Array, " k"]) -> Float[Array, ""]:
        return self._of([kind.of_spectrum(s) for kind in self.kinds])

    def terms(self, s: Float[Array, " k"]) -> Terms:
        return tuple(
            (jnp.where(self.which == k, c, 0.0), e)
            for k, kind in enumerate(self.kinds)
            for c, e in kind.terms(s)
        )

    def _of(self, values: Sequence[Array]) -> Array:
        return jnp.stack(values)[self.which]


def choices(penalties: Sequence[AbstractSpectralPenalty]) -> list[SpectralChoice]:
    """Each penalty as a choice among the kinds of all of them, so that they are alike.

    Args:
      penalties: their gradients are had from an SVD.
    """
    structures = [jax.tree.structure(one) for one in penalties]
    first: dict[Any, AbstractSpectralPenalty] = {}
    for one, structure in zip(penalties, structures, strict=True):
        first.setdefault(structure, one)
    places = {structure: k for k, structure in enumerate(first)}
    found = []
    for one, structure in zip(penalties, structures, strict=True):
        kinds = [one if other == structure else first[other] for other in places]
        which = jnp.asarray(places[structure], jnp.int32)
        found.append(SpectralChoice(kinds, which))
    return found
