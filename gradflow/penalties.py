r"""Explicit penalties on the singular values of a matrix: weight * r(W), with exact gradients.

Each is a function of the singular values alone, W = U diag(s) V^T, so its gradient is
U diag(dr/ds) V^T: no derivative of a singular vector enters, and repeated singular values do no
harm. Schatten penalties are the (quasi-)norm (sum_i s_i^p)^(1/p), as in zhao2022, and not its p-th
power sum_i s_i^p, whose gradient has another size.
"""

import abc
from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow._validate import positive
from gradflow.polar import polar_factor
from gradflow.spectral_map import Terms, combine, power, spectral_map
from gradflow.spectrum import schatten_norm_of, singular_values

Polar = Literal["auto", "svd", "rational", "polynomial"]
_NULL = 16
"""Singular values up to this many eps times the largest count as zero in a gradient: those of
products of exact low rank, 2 x 2 to 400 x 400, came out at up to 2.5 eps."""


def resolution(dtype: Any) -> float:
    """How small a singular value may be, next to the largest, for its vectors to be known.

    This is 4096 eps, where about three digits of them are left: 9e-13 in float64.
    """
    return 4096 * float(jnp.finfo(dtype).eps)


class AbstractPenalty(eqx.Module):
    """A penalty weight * r(W) that depends on the singular values of W alone."""

    weight: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abc.abstractmethod
    def exponent(self) -> float:
        """The lowest power of a singular value in r; up to 1, r has a kink where one is zero."""

    @property
    @abc.abstractmethod
    def degree(self) -> int:
        """The k in r(c W) = c^k r(W), c > 0."""

    @abc.abstractmethod
    def of_spectrum(self, s: Float[Array, " k"]) -> Float[Array, ""]:
        """The function r, without the weight, from falling singular values; 0 at W = 0."""

    @abc.abstractmethod
    def terms(self, s: Float[Array, " k"]) -> Terms:
        """The derivatives dr/ds_i = sum_k c_k(s) s_i^(e_k), as ((c_1, e_1), ...)."""

    def slopes(self, s: Float[Array, " k"]) -> Float[Array, " k"]:
        """The derivatives dr/ds_i; 0 where s_i = 0."""
        return combine(self.terms(s), s)

    def value(self, w: Float[Array, "d d_prime"]) -> Float[Array, ""]:
        """The penalty weight * r(W)."""
        return self.weight * self.of_spectrum(singular_values(w))

    def gradient(
        self, w: Float[Array, "d d_prime"], ramp: float | Array | None = None
    ) -> Float[Array, "d d_prime"]:
        r"""The gradient weight * U diag(dr/ds) V^T, zero in null directions with a kink.

        Null are singular values up to 16 eps times the largest (eps of the dtype of w). Where r has
        no gradient but is convex, this is the subgradient of smallest Frobenius norm, for the
        nuclear norm U_r V_r^T over the singular values that are not null; elsewhere (powers below
        1, ratios) it is a convention. At W = 0 it is zero. It is never NaN for a finite w.

        With a ramp h, singular values s up to h s_1 have slopes that rise from 0 in proportion to
        s, by powers s (h s_1)^(p-2) in the place of s^(p-1): the field of a flow that does not
        follow smaller ones is continuous there.

        Its derivative in w (`jax.jvp`, for Hessian-vector products) is exact and finite as well, at
        repeated, close and null singular values; see `gradflow.spectral_map`.
        """
        null = _NULL * float(jnp.finfo(w.dtype).eps) if ramp is None else ramp
        return self.weight * spectral_map(self.terms, w, self.degree - 1, null, ramp is not None)

    def smooth(
        self, w: Float[Array, "d d_prime"], tolerance: float | Array | None = None
    ) -> Bool[Array, ""]:
        """Whether the penalty has a gradient at w.

        At W = 0 there is none. Elsewhere there always is one if all powers are above 1; if not,
        there is one where s_k > tolerance * s_1, k = min(d, d'). By default the tolerance is
        working precision, 4096 eps (9e-13 in float64).
        """
        s = singular_values(w)
        tolerance = resolution(s.dtype) if tolerance is None else tolerance
        largest, least = jnp.max(s), jnp.min(s)
        return (largest > 0) & ((self.exponent > 1) | (least > tolerance * largest))

    def crossed(
        self,
        before: Float[Array, "d d_prime"],
        after: Float[Array, "d d_prime"],
        tolerance: float | Array,
    ) -> Bool[Array, ""]:
        r"""Whether singular values went through 0 from one matrix to another one near it.

        Then the polar factor U V^T turns round: x^T U_0^T (U_1 V_1^T) V_0 x is about -1 for a unit
        vector x, and never below -1/2 if no singular direction has turned by more than 120 degrees.

        Args:
          before: a matrix.
          after: another one.
          tolerance: singular values up to this share of the largest do not count.
        """
        u, s, vt = jnp.linalg.svd(before, full_matrices=False)
        u_after, s_after, vt_after = jnp.linalg.svd(after, full_matrices=False)
        polar = (u_after * (s_after > tolerance * s_after[0])) @ vt_after
        alive = s > tolerance * s[0]
        turned = (u * alive).T @ polar @ (vt.T * alive)
        return jnp.min(jnp.linalg.eigvalsh(turned + turned.T)) < -1


class NuclearNorm(AbstractPenalty):
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

    def __init__(self, weight: float):
        self.weight = _weight(weight)

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


class NuclearFrobeniusRatio(AbstractPenalty):
    r"""The ratio of nuclear and Frobenius norm: weight * ||W||_* / ||W||_F.

    It lies between 1 (rank one) and sqrt(rank W), whatever the scale of W; at W = 0 it is set to 0.
    Its gradient is

        (U V^T - (||W||_* / ||W||_F^2) W) / ||W||_F.

    Equation (12) of zhao2022 prints ||W||_F^2 for the last denominator and ||W||_F for the one
    before it, which is the same where ||W||_F = 1 and nowhere else.

    U V^T, the polar factor, comes from the SVD or, faster in float32, from functions of W that need
    none (`gradflow.polar`). There singular values down to 1e-6 ||W||_F count in full, to 3e-4, and
    smaller ones in part.

    Args:
      weight: a finite number above 0, the lambda of the paper.
      polar: "svd"; "rational", the fastest in float32 on a CPU; "polynomial", matrix products only;
        "auto" takes the last two in float32, by device, and the SVD in float64.

    Raises:
      ValueError: if the weight is not finite and above 0, or `polar` is none of these.

    Example:
      >>> import jax.numpy as jnp
      >>> penalty = NuclearFrobeniusRatio(1.0)
      >>> w = jnp.diag(jnp.array([4.0, 3.0]))
      >>> round(float(penalty.value(w)), 6)
      1.4
      >>> jnp.round(penalty.gradient(w), 6).tolist()
      [[-0.024, 0.0], [0.0, 0.032]]

    References:
      zhao2022, Section 1 and Appendix A.4.1.
    """

    weight: Float[Array, ""]
    polar: Polar = eqx.field(static=True)

    def __init__(self, weight: float, polar: Polar = "auto"):
        self.weight = _weight(weight)
        if polar not in get_args(Polar):
            raise ValueError(
                f"polar must be one of {', '.join(get_args(Polar))}, but it is {polar!r}."
            )
        self.polar = polar

    @property
    def exponent(self) -> float:
        return 1.0

    @property
    def degree(self) -> int:
        return 0

    def of_spectrum(self, s: Array) -> Array:
        return _ratio(s, 1.0, 2.0)

    def terms(self, s: Array) -> Terms:
        return _ratio_terms(s, 1.0, 2.0)

    def gradient(self, w: Array, ramp: float | Array | None = None) -> Array:
        """As in every penalty; with a ramp always from the SVD."""
        by_svd = self.polar == "svd" or (self.polar == "auto" and w.dtype != jnp.float32)
        if ramp is not None or by_svd:
            return super().gradient(w, ramp)
        factor = polar_factor(w, rational={"rational": 2, "polynomial": 0}.get(self.polar))
        return self.weight * ratio_gradient(w, factor)


class SchattenNorm(AbstractPenalty):
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

    def __init__(self, p: float, weight: float):
        self.p = positive("p", p)
        self.weight = _weight(weight)

    @property
    def exponent(self) -> float:
        return self.p

    @property
    def degree(self) -> int:
        return 1

    def of_spectrum(self, s: Array) -> Array:
        return schatten_norm_of(s, self.p)

    def terms(self, s: Array) -> Terms:
        return ((schatten_norm_of(s, self.p) * _log_slope(s, self.p), self.p - 1),)


class SchattenRatio(AbstractPenalty):
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

    def __init__(self, p: float, q: float, weight: float):
        self.p = positive("p", p)
        self.q = positive("q", q)
        if self.p >= self.q:
            raise ValueError(
                f"p must be below q, for the ratio to favour low rank, but p is {p!r} and q is "
                f"{q!r}; exchange them."
            )
        self.weight = _weight(weight)

    @property
    def exponent(self) -> float:
        return self.p

    @property
    def degree(self) -> int:
        return 0

    def of_spectrum(self, s: Array) -> Array:
        return _ratio(s, self.p, self.q)

    def terms(self, s: Array) -> Terms:
        return _ratio_terms(s, self.p, self.q)


def ratio_gradient(
    w: Float[Array, "d d_prime"], polar: Float[Array, "d d_prime"]
) -> Float[Array, "d d_prime"]:
    r"""The gradient (P - (<P, W> / ||W||_F^2) W) / ||W||_F of ||W||_* / ||W||_F; 0 at W = 0.

    Args:
      w: a matrix.
      polar: P, its polar factor or something near it.

    Example:
      >>> import jax.numpy as jnp
      >>> w = jnp.diag(jnp.array([4.0, 3.0]))
      >>> jnp.round(ratio_gradient(w, jnp.eye(2)), 4).tolist()
      [[-0.024, 0.0], [0.0, 0.032]]
    """
    square = jnp.sum(w**2)
    safe = jnp.where(square > 0, square, 1.0)
    direction = (polar - jnp.sum(polar * w) / safe * w) / jnp.sqrt(safe)
    return jnp.where(square > 0, direction, 0.0)


def _weight(weight: float) -> Float[Array, ""]:
    return jnp.asarray(positive("weight", weight), dtype=float)


def _log_slope(s: Float[Array, " k"], p: float) -> Float[Array, ""]:
    """The c in c s_i^(p-1), the derivatives of log (sum_i s_i^p)^(1/p); 0 at s = 0."""
    total = jnp.sum(power(s, p))
    return jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1.0), 0.0)


def _ratio(s: Float[Array, " k"], p: float, q: float) -> Float[Array, ""]:
    below = schatten_norm_of(s, q)
    return schatten_norm_of(s, p) / jnp.where(below > 0, below, 1.0)


def _ratio_terms(s: Float[Array, " k"], p: float, q: float) -> Terms:
    ratio = _ratio(s, p, q)
    return ((ratio * _log_slope(s, p), p - 1), (-ratio * _log_slope(s, q), q - 1))
