"""The ratio of nuclear and Frobenius norm, with a gradient that needs no SVD."""

from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.annotations import AnyArray, Checked
from gradflow.linalg.lengths import length_of
from gradflow.linalg.polar_iteration import polar_by_iteration
from gradflow.linalg.spectral_map import Terms
from gradflow.penalties.base import checked_weight
from gradflow.penalties.spectral import (
    AbstractSpectralPenalty,
    schatten_ratio,
    schatten_ratio_terms,
)

Polar = Literal["auto", "svd", "rational", "polynomial"]


class NuclearFrobeniusRatio(AbstractSpectralPenalty):
    r"""The ratio of nuclear and Frobenius norm: weight * ||W||_* / ||W||_F.

    It lies between 1 (rank one) and sqrt(rank W), whatever the scale of W; at W = 0 it is set to 0.
    Its gradient is

        (U V^T - (||W||_* / ||W||_F^2) W) / ||W||_F.

    Equation (12) of zhao2022 prints ||W||_F^2 for the last denominator and ||W||_F for the one
    before it, which is the same where ||W||_F = 1 and nowhere else.

    U V^T, the polar factor, comes from the SVD or, faster in float32, from functions of W that need
    none (`gradflow.linalg.polar_by_iteration`). There singular values down to 1e-6 ||W||_F count in
    full, to 3e-4, and smaller ones in part.

    Args:
      weight: a finite number above 0, the lambda of the paper.
      polar: "svd"; "rational", the fastest in float32 on a CPU; "polynomial", matrix products only;
        "auto" takes "rational" in float32 on a CPU ("polynomial" on a GPU or TPU and without
        64-bit numbers), and the SVD in float64.

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

    def __init__(self, weight: Checked[float], polar: Checked[Polar] = "auto"):
        self.weight = checked_weight(weight)
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

    @property
    def by_svd(self) -> bool:
        return self._by_svd(self.weight.dtype)

    def of_spectrum(self, s: Array) -> Array:
        return schatten_ratio(s, 1.0, 2.0)

    def terms(self, s: Array) -> Terms:
        return schatten_ratio_terms(s, 1.0, 2.0)

    def gradient(
        self, w: AnyArray, kink_width: float | Array | None = None, rank: int | None = None
    ) -> Array:
        """As in every spectral penalty; with a kink width always from the SVD."""
        if kink_width is not None or self._by_svd(w.dtype):
            return super().gradient(w, kink_width, rank)
        factor = polar_by_iteration(w, rational={"rational": 2, "polynomial": 0}.get(self.polar))
        return self.weight * ratio_gradient(w, factor)

    def _by_svd(self, dtype: Any) -> bool:
        return self.polar == "svd" or (self.polar == "auto" and dtype != jnp.float32)


def ratio_gradient(
    w: Float[AnyArray, "d d_prime"], polar: Float[Array, "d d_prime"]
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
    size = length_of(w)
    safe = jnp.where(size > 0, size, 1.0)
    unit = w / safe  # W itself may be too small to be squared
    return jnp.where(size > 0, (polar - jnp.sum(polar * unit) * unit) / safe, 0.0)
