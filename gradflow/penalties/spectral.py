"""What a penalty on the singular values is."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow._util.annotations import AnyArray
from gradflow.factorizations.base import AbstractFactorization, Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg.spectral_map import Terms, combine, power, spectral_map
from gradflow.linalg.spectrum import schatten_norm_of, singular_values
from gradflow.linalg.thin_svd import thin_svd
from gradflow.penalties.base import AbstractPenalty

_NULL = 16 * float(jnp.finfo(jnp.float64).eps)
"""Singular values up to this share of the largest count as zero in a gradient, in either precision:
those of products of exact low rank, 2 x 2 to 400 x 400, came out at up to 2.5 eps of float64. In
float32 a share like that, 2e-6, would be one of singular values that are there: without them the
gradient of a power 1/3 at 1e-5 s_1 is wrong by 75% to 83%, with them by 8% to 18%."""


def resolution(dtype: Any) -> float:
    """How small a singular value may be, next to the largest, for its vectors to be known.

    This is 4096 eps, where about three digits of them are left: 9e-13 in float64.
    """
    return 4096 * float(jnp.finfo(dtype).eps)


class AbstractSpectralPenalty(AbstractPenalty):
    """A penalty weight * r(W) on matrices that depends on the singular values alone.

    A subclass gives the field `weight`, and `exponent`, `degree`, `of_spectrum` and `terms`.
    """

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

    @property
    def kinked(self) -> bool:
        return self.exponent <= 1

    @property
    def by_svd(self) -> bool:
        """Whether value and gradient are those below, from `of_spectrum` and `terms` by an SVD."""
        own, base = type(self), AbstractSpectralPenalty
        names = ("value", "gradient", "add_gradient", "slopes")
        return all(getattr(own, name) is getattr(base, name) for name in names)

    def check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2:
            raise ValueError(
                f"{type(self).__name__} is a penalty on matrices, but the problem has shape"
                f" {shape}; leave penalty away."
            )

    def slopes(self, s: Float[Array, " k"]) -> Float[Array, " k"]:
        """The derivatives dr/ds_i; 0 where s_i = 0."""
        return combine(self.terms(s), s)

    def value(self, w: Float[AnyArray, "d d_prime"]) -> Float[Array, ""]:
        """The penalty weight * r(W)."""
        return self.weight * self.of_spectrum(singular_values(w))

    def value_at_rank(self, w: Float[AnyArray, "d d_prime"], rank: int | None) -> Float[Array, ""]:
        """The penalty from as many singular values as the rank; powers make much of rounding."""
        if type(self).value is not AbstractSpectralPenalty.value:
            return self.value(w)
        return self.weight * self.of_spectrum(singular_values(w)[:rank])

    def gradient(
        self,
        w: Float[AnyArray, "d d_prime"],
        kink_width: float | Array | None = None,
        rank: int | None = None,
    ) -> Float[Array, "d d_prime"]:
        r"""The gradient weight * U diag(dr/ds) V^T, zero in null directions with a kink.

        Null are singular values up to 4e-15 of the largest and, with a rank, those beyond it. Where
        r has no gradient but is convex, this is the subgradient of smallest Frobenius norm, for the
        nuclear norm U_r V_r^T over the singular values that are not null; elsewhere (powers below
        1, ratios) it is a convention. At W = 0 it is zero. It is never NaN for a finite w.

        In float32 an SVD knows singular values to about eps s_1 = 1e-7 s_1. For a power p < 1 the
        gradient is largest in the smallest of them, so it is as uncertain as they are: its relative
        error is about eps s_1 / s_k, a tenth at s_k = 1e-5 s_1 (at 100 x 100: two tenths), and of
        order 1 from 1e-6 s_1 on. Below eps s_1 singular values and vectors are rounding; they have
        slopes all the same, near (eps s_1)^(p-1), as in PyTorch, because to leave them out is worse
        (an error of 1). A matrix of low rank held as such, in factors, must tell its rank, since
        slopes of rounding reach the factors: by 16% at rank 5 of 100 x 100 and p = 1/3.
        `gradflow.Objective` does.

        With a kink width h, singular values s up to h s_1 have slopes that rise from 0 in
        proportion to s, by powers s (h s_1)^(p-2) in the place of s^(p-1): the field of a flow
        that does not follow smaller ones is continuous there.

        Its derivative in w (`jax.jvp`, for Hessian-vector products) is exact and finite as well, at
        repeated, close and null singular values; see `gradflow.linalg.spectral_map`.

        Args:
          w: a finite matrix.
          kink_width: the h above.
          rank: how many singular values count, without a kink width; all by default.
        """
        ramp = kink_width is not None
        null = kink_width if ramp else _NULL
        count = None if ramp else rank
        return self.weight * spectral_map(self.terms, w, self.degree - 1, null, ramp, count)

    def add_gradient(
        self,
        gradient: Array,
        w: Array,
        factors: Factors,
        pullback: Callable[[Array], Factors],
        kink_width: Any = None,
        rank: int | None = None,
    ) -> Factors:
        del factors
        return pullback(gradient + self.gradient(w, kink_width, rank))

    def smooth(
        self, w: Float[AnyArray, "d d_prime"], tolerance: float | Array | None = None
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

    def smooth_at(
        self, factorization: AbstractFactorization, w: Array, factors: Factors, tolerance: Any
    ) -> Bool[Array, ""]:
        r"""Whether the penalty has a gradient in the factors.

        It has one where it has one in W. From depth 2 on it may have one elsewhere: a factor W_j
        moves W in the null directions by P A dW_j B Q only, with the products A = W_N ... W_{j+1}
        and B = W_{j-1} ... W_1 around it and the projections P, Q that remove the singular vectors
        of W that are not null. If these vanish, as for balanced factors, a nuclear norm has no kink
        in the factors. So it is enough that ||P A||_F ||B Q||_F <= sqrt(tolerance k) ||A||_F
        ||B||_F for all j, k = min(d, d'), where the penalty's lowest power is 1 and W != 0.
        """
        tolerance = resolution(w.dtype) if tolerance is None else tolerance
        smooth = self.smooth(w, tolerance)
        if self.exponent != 1 or not isinstance(factorization, MatrixProduct):
            return smooth
        u, s, vt = thin_svd(w)
        alive = s > tolerance * s[0]
        u, v = u * alive, vt.T * alive
        reached = [
            jnp.linalg.norm(left - u @ (u.T @ left)) * jnp.linalg.norm(right - right @ v @ v.T)
            > (tolerance * s.size) ** 0.5 * jnp.linalg.norm(left) * jnp.linalg.norm(right)
            for left, right in zip(*factorization.neighbours(factors), strict=True)
        ]
        return smooth | ((s[0] > 0) & ~jnp.any(jnp.stack(reached)))

    def crossed(
        self,
        before: Float[AnyArray, "d d_prime"],
        after: Float[AnyArray, "d d_prime"],
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
        u, s, vt = thin_svd(before)
        u_after, s_after, vt_after = thin_svd(after)
        polar = (u_after * (s_after > tolerance * s_after[0])) @ vt_after
        alive = s > tolerance * s[0]
        turned = (u * alive).T @ polar @ (vt.T * alive)
        return jnp.min(jnp.linalg.eigvalsh(turned + turned.T)) < -1


def log_slope(s: Float[Array, " k"], p: float) -> Float[Array, ""]:
    """The c in c s_i^(p-1), the derivatives of log (sum_i s_i^p)^(1/p); 0 at s = 0.

    Args:
      s: singular values.
      p: the exponent.
    """
    total = jnp.sum(power(s, p))
    return jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1.0), 0.0)


def schatten_ratio(s: Float[Array, " k"], p: float, q: float) -> Float[Array, ""]:
    """||s||_p / ||s||_q; 0 at s = 0.

    Args:
      s: singular values.
      p: the upper exponent.
      q: the lower one.
    """
    below = schatten_norm_of(s, q)
    return schatten_norm_of(s, p) / jnp.where(below > 0, below, 1.0)


def schatten_ratio_terms(s: Float[Array, " k"], p: float, q: float) -> Terms:
    """Its derivatives, as `AbstractSpectralPenalty.terms`; see `schatten_ratio`."""
    ratio = schatten_ratio(s, p, q)
    return ((ratio * log_slope(s, p), p - 1), (-ratio * log_slope(s, q), q - 1))
