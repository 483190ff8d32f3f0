"""Schatten (quasi-)norms, the nuclear norm among them, and their ratios."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive
from gradflow.linalg.spectral_map import Terms
from gradflow.linalg.spectrum import schatten_norm_of
from gradflow.penalties.base import checked_weight
from gradflow.penalties.spectral import (
    AbstractSpectralPenalty,
    log_slope,
    schatten_ratio,
    schatten_ratio_terms,
)


class NuclearNorm(AbstractSpectralPenalty):
    r"""The nuclear norm: weight * sum_i s_i.

    Args:
      weight: a finite number above 0, the lambda of papers.

    Raises:
      ValueError: if the weight is not finite and above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> penalty = NuclearNorm(0.5)
      >>> w = jnp.diag(jnp.array([3.0, -1.0]))
      >>> float(penalty.value(w)), penalty.gradient(w).tolist()
      (2.0, [[0.5, 0.0], [0.0, -0.5]])

    References:
      zhao2022, Table 1.
    """

    weight: Float[Array, ""]

    def __init__(self, weight: Checked[float]):
        self.weight = checked_weight(weight)

    @property
    def exponent(self) -> float:
        return 1.0

    @property
    def degree(self) -> int:
        return 1

    def of_spectrum(self, s: Array) -> Array:
        return jnp.sum(s)

    def terms(self, s: Array) -> Terms:
        return ((jnp.ones((), s.dtype), 0.0),)


class SchattenNorm(AbstractSpectralPenalty):
    r"""The Schatten (quasi-)norm: weight * (sum_i s_i^p)^(1/p).

    Below p = 1 the slope in a singular value grows like s^(p-1) towards zero.

    Args:
      p: a finite number above 0.
      weight: a finite number above 0, the lambda of papers.

    Raises:
      ValueError: if one of them is not.

    Example:
      >>> import jax.numpy as jnp
      >>> penalty = SchattenNorm(0.5, weight=1.0)
      >>> w = jnp.diag(jnp.array([4.0, 1.0]))
      >>> float(penalty.value(w)), jnp.round(penalty.gradient(w), 6).tolist()
      (9.0, [[1.5, 0.0], [0.0, 3.0]])

    References:
      zhao2022, Table 4.
    """

    p: float = eqx.field(static=True)
    weight: Float[Array, ""]

    def __init__(self, p: Checked[float], weight: Checked[float]):
        self.p = positive("p", p)
        self.weight = checked_weight(weight)

    @property
    def exponent(self) -> float:
        return self.p

    @property
    def degree(self) -> int:
        return 1

    def of_spectrum(self, s: Array) -> Array:
        return schatten_norm_of(s, self.p)

    def terms(self, s: Array) -> Terms:
        return ((schatten_norm_of(s, self.p) * log_slope(s, self.p), self.p - 1),)


class SchattenRatio(AbstractSpectralPenalty):
    r"""The ratio of two Schatten (quasi-)norms: weight * ||W||_Sp / ||W||_Sq, p < q.

    It lies between 1 (rank one) and (rank W)^(1/p - 1/q); at W = 0 it is set to 0.

    Args:
      p: the numerator's power, above 0.
      q: the denominator's power, finite and above p: otherwise the penalty would favour high rank.
      weight: a finite number above 0, the lambda of papers.

    Raises:
      ValueError: if one of them is not.

    Example:
      >>> import jax.numpy as jnp
      >>> penalty = SchattenRatio(0.5, 1.0, weight=1.0)
      >>> float(penalty.value(jnp.diag(jnp.array([4.0, 1.0]))))  # 9 / 5
      1.8

    References:
      zhao2022, Table 1 ("Sch p:q").
    """

    p: float = eqx.field(static=True)
    q: float = eqx.field(static=True)
    weight: Float[Array, ""]

    def __init__(self, p: Checked[float], q: Checked[float], weight: Checked[float]):
        self.p = positive("p", p)
        self.q = positive("q", q)
        if self.p >= self.q:
            raise ValueError(
                f"p must be below q, for the ratio to favour low rank, but p is {p!r} and q is "
                f"{q!r}; exchange them."
            )
        self.weight = checked_weight(weight)

    @property
    def exponent(self) -> float:
        return self.p

    @property
    def degree(self) -> int:
        return 0

    def of_spectrum(self, s: Array) -> Array:
        return schatten_ratio(s, self.p, self.q)

    def terms(self, s: Array) -> Terms:
        return schatten_ratio_terms(s, self.p, self.q)
