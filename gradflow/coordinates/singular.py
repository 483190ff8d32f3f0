"""Logarithms of the singular values, and the singular vectors."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow._util.validate import finite_array
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.product import depth_of, refusal_of_signs
from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.factorizations.preconditioners import end_to_end
from gradflow.linalg.spectrum import clusters
from gradflow.linalg.thin_svd import finite_svd
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem


class SingularCoordinates(AbstractCoordinates):
    r"""y = (log s, U, V), W = U diag(s) V^T: singular values keep their sign by construction.

    d log s_r/dt = -N s_r^(1-2/N) g_rr and, off the diagonal of U^T dU/dt and V^T dV/dt,

        -(s_s g_rs + s_r g_sr) / (s_s^(2/N) - s_r^(2/N)),
        -(s_r g_rs + s_s g_sr) / (s_s^(2/N) - s_r^(2/N)),

    with g = U^T gradient V. Singular where two singular values meet, so it needs distinct ones.

    References:
      arora2019, Theorem 3 and Lemma 2.
    """

    fitted: AbstractProblem
    depth: int = eqx.field(static=True)
    name: ClassVar[str] = "singular"
    mark: ClassVar[str] = "log_singular_values"
    takes_as_balanced: ClassVar[bool] = True
    normwise: ClassVar[bool] = False
    real_rates: ClassVar[bool] = False

    @property
    def problem(self) -> AbstractProblem:
        return self.fitted

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        reason = refusal_of_signs(objective, dynamics, factors, cls.name)
        if reason is not None:
            return reason
        w = np.asarray(objective.product(factors))
        s = np.linalg.svd(w, compute_uv=False)
        if s[-1] <= max(w.shape) * np.finfo(w.dtype).eps * s[0] or clusters(s, 1e-10):
            return (
                f"coordinates='singular' needs distinct singular values above round-off, but the "
                f"start has {np.array2string(s, precision=3, threshold=6)}; use 'auto'."
            )
        return None

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, Factors]:
        u, s, vt = finite_svd(objective.product(factors))
        return cls(objective.problem, len(factors)), (jnp.log(s), u, vt.T)

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, Factors]:
        y = tuple(jnp.asarray(finite_array(k, named[k])) for k in ("log_singular_values", "U", "V"))
        return cls(objective.problem, depth_of(objective, dynamics)), y

    def named(self, y: Factors) -> dict[str, Array]:
        return dict(zip(("log_singular_values", "U", "V"), y, strict=True))

    def _parts(self, y: Factors) -> tuple[Array, Array, Array]:
        log_s, u, v = y
        gradient = self.fitted.gradient(self.product(y))
        return jnp.exp(log_s), gradient, u.T @ gradient @ v

    def velocity(self, y: Factors) -> Factors:
        log_s, u, v = y
        s, gradient, g = self._parts(y)
        d_log_s = -self.depth * s ** (1 - 2 / self.depth) * jnp.diagonal(g)
        powers = jnp.exp(2 / self.depth * log_s)
        gap = powers[None, :] - powers[:, None]
        inverse = jnp.where(jnp.eye(s.size, dtype=bool), 0.0, 1 / jnp.where(gap == 0, 1.0, gap))
        inverse = jnp.where((gap == 0) & ~jnp.eye(s.size, dtype=bool), jnp.inf, inverse)
        d_u = -u @ (inverse * (g * s[None, :] + s[:, None] * g.T))
        d_v = -v @ (inverse * (s[:, None] * g + g.T * s[None, :]))
        root = s ** (1 - 2 / self.depth)
        # Projected by (V^T V)^-1: frames that are orthonormal up to round-off only would drift
        # apart exponentially without it.
        if u.shape[0] > u.shape[1]:
            d_u = d_u - (gradient @ v - u @ jnp.linalg.solve(u.T @ u, g)) * root
        if v.shape[0] > v.shape[1]:
            d_v = d_v - (gradient.T @ u - v @ jnp.linalg.solve(v.T @ v, g.T)) * root
        return d_log_s, d_u, d_v

    def product(self, y: Factors) -> Array:
        log_s, u, v = y
        return (u * jnp.exp(log_s)) @ v.T

    def squared_gradient_norm(self, y: Factors) -> Float[Array, ""]:
        w = self.product(y)
        gradient = self.fitted.gradient(w)
        return jnp.sum(gradient * end_to_end(w, gradient, self.depth))

    def singular_values(self, y: Factors) -> Float[Array, " k"]:
        return -jnp.sort(-jnp.exp(y[0]))

    def slogdet(self, y: Factors) -> tuple[Array, Array]:
        log_s, u, v = y
        sign = jnp.linalg.slogdet(u)[0] * jnp.linalg.slogdet(v)[0]
        return sign, jnp.sum(log_s)
