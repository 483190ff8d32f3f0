r"""Runs of several optimisers in one batch: each moves its own, loss and gradient are one call.

Runs of one optimiser lie one after the other along the first axis, and in known numbers, so that
an optimiser is applied to a slice and nothing is chosen between. What optimisers carry differs in
kind and number of arrays; in the batch each run has as many of every kind as the one that needs
most, so that runs can be taken out, kept and spread as those of one optimiser are.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

if TYPE_CHECKING:
    from gradflow.descent.loop import BatchStep

Optimizer = optax.GradientTransformation | Callable[[Any], optax.GradientTransformation]
_Kind = tuple[tuple[int, ...], Any]
"""Shape and dtype of a run's array."""
_Place = tuple[_Kind, int]
"""A kind, and how many of it come before."""


class Mixture(eqx.Module):
    """The optimisers of a batch.

    Attributes:
      optimizers: each a transformation, or each a function of a rate.
      sizes: how many runs each has; those of the first come first.
      templates: what each carries for one run: how its arrays belong together, and their kinds.
    """

    optimizers: tuple[Optimizer, ...]
    sizes: tuple[int, ...] = eqx.field(static=True)
    templates: tuple[tuple[Any, tuple[_Kind, ...]], ...] = eqx.field(static=True)

    def rows(self) -> list[tuple[int, slice]]:
        """The optimisers that have runs, and which."""
        ends = np.cumsum(self.sizes).tolist()
        found = enumerate(zip(ends, self.sizes, strict=True))
        return [(k, slice(end - size, end)) for k, (end, size) in found if size]

    def restrict(self, left: np.ndarray) -> "Mixture":
        """For these of the runs alone, their numbers rising."""
        ends = np.searchsorted(left, np.cumsum(self.sizes))
        return dataclasses.replace(self, sizes=tuple(np.diff(ends, prepend=0).tolist()))

    def pack(self, k: int, state: Any) -> tuple[Array, ...]:
        """The k-th optimiser's arrays in the places that all have, zeros where it has none."""
        own = dict(zip(_numbered(self.templates[k][1]), jax.tree.leaves(state), strict=True))
        shape = (self.sizes[k],)
        return tuple(
            own[place] if place in own else jnp.zeros(shape + place[0][0], place[0][1])
            for place in self._places()
        )

    def unpack(self, k: int, places: tuple[Any, ...]) -> Any:
        """The k-th optimiser's own arrays of those in the places."""
        structure, kinds = self.templates[k]
        at = dict(zip(self._places(), places, strict=True))
        return jax.tree.unflatten(structure, [at[place] for place in _numbered(kinds)])

    def _places(self) -> list[_Place]:
        """Every kind of array that a run may need, as often as the optimiser that needs most."""
        return list(dict.fromkeys(p for _, kinds in self.templates for p in _numbered(kinds)))


def dealt(sizes: tuple[int, ...], devices: int) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """What every device has if each optimiser's runs are dealt out as evenly as they can be.

    Args:
      sizes: how many runs each has.
      devices: how many there are.

    Returns:
      The sizes on one device; the runs' numbers, one device after the other, some twice; and where
      each run is among them.
    """
    shares = tuple(-(-size // devices) for size in sizes)
    firsts = np.cumsum((0, *sizes[:-1]))
    each = [
        np.minimum(np.arange(share * devices), size - 1).reshape(devices, share) + first
        for share, size, first in zip(shares, sizes, firsts, strict=True)
    ]
    numbers = np.concatenate(each, axis=1).ravel()
    return shares, numbers, np.unique(numbers, return_index=True)[1]


def mixture(optimizers: list[Optimizer], sizes: list[int], rated: bool, start: Any) -> Mixture:
    """The mixture of these optimisers.

    Args:
      optimizers: each once.
      sizes: how many runs each has.
      rated: whether they are functions of a rate.
      start: a run's parameters, as shapes and dtypes.

    Raises:
      ValueError: if an optimiser carries a key of random numbers.
    """
    templates = []
    for one in optimizers:
        leaves, structure = jax.tree.flatten(_carried(one, rated, start))
        for leaf in leaves:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
                raise ValueError(
                    f"An optimizer carries a random key ({leaf.dtype}); run it in a call of its "
                    "own."
                )
        kinds = tuple((tuple(leaf.shape), np.dtype(leaf.dtype)) for leaf in leaves)
        templates.append((structure, kinds))
    return Mixture(tuple(optimizers), tuple(sizes), tuple(templates))


def _carried(optimizer: Any, rated: bool, start: Any) -> Any:
    """What an optimiser carries for a run, as shapes and dtypes."""

    def begin(start: Any, rate: Any) -> Any:
        return (optimizer(rate) if rated else optimizer).init(start)

    return jax.eval_shape(begin, start, jax.ShapeDtypeStruct((), start[0].dtype))


def _numbered(kinds: tuple[_Kind, ...]) -> list[_Place]:
    """Each with the number of those of its kind before it."""
    return [(kind, kinds[:k].count(kind)) for k, kind in enumerate(kinds)]


def each_kind(
    batch_step: "BatchStep", state: Any, others: Any, function: Callable[..., tuple[Any, Any]]
) -> tuple[Any, Any]:
    """What a function makes of every optimiser's runs and their states, together.

    Args:
      batch_step: of all runs.
      state: what the optimisers carry, along the first axis.
      others: whatever else runs have there.
      function: from the step of one optimiser's runs, their state and the others to a new state
        and more.

    Returns:
      The states and the rest.
    """
    mixed = batch_step.optimizer
    if not isinstance(mixed, Mixture):
        return function(batch_step, state, others)
    states, rest = [], []
    for k, rows in mixed.rows():
        part, own_state, own = jax.tree.map(
            lambda leaf, rows=rows: leaf[rows], (batch_step.own(), state, others)
        )
        step = dataclasses.replace(batch_step.of(part), optimizer=mixed.optimizers[k])
        unpacked = None if state is None else mixed.unpack(k, own_state)
        new, more = function(step, unpacked, own)
        states.append(mixed.pack(k, new))
        rest.append(more)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *states), jax.tree.map(
        lambda *parts: jnp.concatenate(parts), *rest
    )
