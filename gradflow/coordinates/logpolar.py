r"""Log-polar coordinates of CP factorisations: a logarithm of size and directions a component.

The vectors of component r are w_r^n = exp(l_r^n) u_r^n with unit u_r^n. A gradient flow keeps all
differences of squared lengths, so that of the lengths only the least one's logarithm s_r moves,

    l_r^n = log(exp(2 s_r) + gap_r^n) / 2,   gap_r^n = ||w_r^n||^2 - min_m ||w_r^m||^2 constant.

With S_r = sum_n l_r^n (the logarithm of the component's norm), G the gradient of the loss, g_r^n =
-<G, u_r^1 x ... x u_r^N without the n-th>, gamma_r = <g_r^n, u_r^n> and the least length in place k

    ds_r/dt = exp(S_r - 2 l_r^k) gamma_r,   du_r^n/dt = exp(S_r - 2 l_r^n) (g_r^n - gamma_r u_r^n).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from gradflow._util.validate import finite_array
from gradflow.coordinates.base import (
    AbstractCoordinates,
    expected_norm,
    growth_in_logarithms,
    known_norm,
)
from gradflow.dynamics.base import AbstractDynamics
from gradflow.dynamics.gradient import GradientFlow
from gradflow.factorizations.base import Factors
from gradflow.factorizations.cp_tensor import CPTensor
from gradflow.linalg.khatri_rao import khatri_rao
from gradflow.linalg.lengths import lengths_and_directions
from gradflow.objective import Objective
from gradflow.ode.extrapolation import StiffPart
from gradflow.state import AbstractFactorsView

_NONE = -1e300
"""The logarithm of a gap that is zero: finite, so that it can be stored and read."""
_ROUNDING = 16 * float(np.finfo(float).eps)
"""Of a squared length, what may be rounding of balanced vectors."""
_TINY = 1e-3
"""Of the N-th root of the expected norm, the largest entry of a tiny start's factors."""
STIFF = 280
"""Unknowns of the largest components up to which a dense Jacobian is made of them."""
_MEMORY = 2**24
"""Numbers in the products' derivatives that such a Jacobian may need."""
_LARGEST = 690.0
"""Times up to exp(690) are numbers."""

LogPolar = tuple[Float[Array, " rank"], Factors]


class LogPolarCoordinates(AbstractFactorsView, AbstractCoordinates):
    """See the module's docstring. y = (s, (u^1, ..., u^N)); the u^n have the factors' shapes.

    Only directions of the u^n count: rounding of their lengths changes nothing.

    Attributes:
      objective: a problem and a `CPTensor`, without a penalty.
      log_gaps: (N, R) logarithms of the gaps of squared lengths; -1e300 where there is none.
      goal: None, or the logarithm of the expected norm of the product at the end.

    References:
      razin2021, Lemma 1 (the differences stay) and Theorem 1.
    """

    objective: Objective
    log_gaps: Float[Array, "order rank"]
    goal: Float[Array, ""] | None = None
    name: ClassVar[str] = "logpolar"
    mark: ClassVar[str] = "log_lengths"
    logarithmic_clock: ClassVar[bool] = True
    normwise: ClassVar[bool] = False
    virtue: ClassVar[str] = (
        "components of a CP tensor from a tiny start: each keeps its relative accuracy at any size"
    )

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        reason = _refusal_of_flow(objective, dynamics)
        if reason is not None:
            return reason
        lengths = np.stack([lengths_and_directions(np.asarray(f))[0] for f in factors])
        if not lengths.all():
            n, r = np.argwhere(lengths == 0)[0]
            return (
                f"Column {r} of W_{n + 1} is zero, which has no logarithm; leave such components "
                "out, or use coordinates='factors'."
            )
        least = lengths.argmin(axis=0)
        short = np.array(objective.problem.shape)[least] == 1
        uneven = (lengths.min(axis=0) / lengths.max(axis=0)) ** 2 < 1 - _ROUNDING
        if np.any(short & uneven):
            r = int(np.argmax(short & uneven))
            return (
                f"The shortest vector of component {r} has one entry, which may change its sign; "
                "use coordinates='factors', or a balanced start."
            )
        return None

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, LogPolar]:
        return cls.encode_scaled(objective, dynamics, factors, 0.0)

    @classmethod
    def encode_scaled(
        cls, objective: Objective, dynamics: AbstractDynamics, w: Any, log_scale: float
    ) -> tuple[Self, LogPolar]:
        """Those of factors whose product is exp(log_scale) times that of the ones given.

        Args:
          objective: the problem and its factorisation.
          dynamics: what the parameters obey.
          w: a tuple of factors; each is scaled alike.
          log_scale: the logarithm of the product's factor.

        Raises:
          ValueError: if these coordinates cannot hold it, or it would take longer than float64 can
            say to move.
        """
        if not isinstance(w, tuple | list):
            raise ValueError(
                "A LogScaled start of a CP tensor needs its factors, but w is a single array, "
                "which does not tell its components; give a tuple with one array an axis."
            )
        if not np.isfinite(log_scale):
            raise ValueError(f"log_scale must be finite, but it is {log_scale}.")
        model = objective.factorization
        factors = model.check([finite_array(f"w[{k}]", f) for k, f in enumerate(w)])
        if (reason := cls.refusal(objective, dynamics, factors)) is not None:
            raise ValueError(f"coordinates={cls.name!r} cannot hold this start: {reason}")
        columns = [lengths_and_directions(np.asarray(f)) for f in factors]
        logs = np.log(np.stack([length for length, _ in columns])) + log_scale / len(factors)
        order, fastest = len(factors), float(np.max(np.sum(logs, 0) - 2 * np.min(logs, 0)))
        if -fastest > _LARGEST:
            raise ValueError(
                f"At order {order} a start with log_scale {log_scale:.6g} stays for a time of "
                f"about exp({-fastest:.0f}), which float64 cannot say; take a larger one: as long "
                "as the product is negligible the flow is the same, its time scaled by "
                "exp(log_scale (2 / order - 1))."
            )
        shift = logs.min(axis=0)
        share = -np.expm1(2 * (shift - logs))  # the gap in units of the squared length
        gaps = np.where(share > _ROUNDING, np.log(np.where(share > 0, share, 1)) + 2 * logs, _NONE)
        made = cls(objective, jnp.asarray(gaps))
        return made, (jnp.asarray(shift), tuple(jnp.asarray(u) for _, u in columns))

    @classmethod
    def drawback(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        if not objective.problem.twice_differentiable:
            return (
                "the loss's second derivatives jump, where linearly implicit steps, as "
                "coordinates='logpolar' have them, may not see their errors."
            )
        goal = known_norm(objective.problem) ** (1 / max(len(factors), 1))
        largest = max(float(np.max(np.abs(f))) for f in factors)
        if not largest < _TINY * goal:
            return (
                "from a start that is not tiny the factors hold all components well; ask for "
                "coordinates='logpolar' where few entries are seen and norms grow without end."
            )
        return None

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, LogPolar]:
        if (reason := _refusal_of_flow(objective, dynamics)) is not None:
            raise ValueError(reason)
        count = len(objective.problem.shape)
        names = ["log_lengths", "log_gaps", *(f"U_{n}" for n in range(1, count + 1))]
        if missing := [name for name in names if name not in named]:
            raise ValueError(f"The start has no {missing[0]}; it has {', '.join(named)}.")
        s, gaps, *units = (jnp.asarray(finite_array(name, named[name])) for name in names)
        return cls(objective, gaps), (s, objective.factorization.check(units))

    def named(self, y: LogPolar) -> dict[str, Array]:
        s, units = self._normal(y)
        directions = {f"U_{n}": u for n, u in enumerate(units, start=1)}
        factors = {f"W_{n}": w for n, w in enumerate(self.factors(y), start=1)}
        return {"log_lengths": s, "log_gaps": self.log_gaps} | directions | factors

    def _normal(self, y: LogPolar) -> LogPolar:
        """With directions of length one."""
        s, directions = y
        return s, tuple(u / jnp.linalg.norm(u, axis=0) for u in directions)

    def _log_lengths(self, s: Float[Array, " rank"]) -> Float[Array, "order rank"]:
        """The logarithms l of the vectors' lengths."""
        return 0.5 * jnp.logaddexp(2 * s, self.log_gaps)

    def log_component_norms(self, y: LogPolar) -> Float[Array, " rank"]:
        """The logarithms of the components' norms, in order."""
        return jnp.sum(self._log_lengths(y[0]), axis=0)

    def factors(self, y: LogPolar) -> Factors:
        s, units = self._normal(y)
        return tuple(jnp.exp(a) * u for a, u in zip(self._log_lengths(s), units, strict=True))

    def product(self, y: LogPolar) -> Array:
        """With one exponential a component: no product of lengths underflows before its time."""
        units = self._normal(y)[1]
        norms = jnp.exp(self.log_component_norms(y))
        return self.objective.factorization.product((norms * units[0], *units[1:]))

    def _slopes(self, y: LogPolar, others: Array | float = 0.0) -> tuple[Array, Factors, Factors]:
        """The l, the units u, and the g of each mode, where W is that of y and of others."""
        s, units = self._normal(y)
        lengths = self._log_lengths(s)
        model: Any = self.objective.factorization
        partial = khatri_rao(units[: model.half]), khatri_rao(units[model.half :])
        w = (partial[0] * jnp.exp(jnp.sum(lengths, axis=0))) @ partial[1].T
        gradient = self.problem.gradient(w.reshape(model.shape) + others)
        return lengths, units, model.pullback(units, partial, -gradient)

    def velocity(self, y: LogPolar, others: Array | float = 0.0) -> LogPolar:
        """dy/dt.

        Args:
          y: the coordinates.
          others: what other components add to the product.
        """
        lengths, units, slopes = self._slopes(y, others)
        total = jnp.sum(lengths, axis=0)
        gamma = jnp.sum(slopes[0] * units[0], axis=0)
        rates = jnp.exp(total - 2 * lengths)
        turning = tuple(
            jnp.linalg.norm(u, axis=0) * rate * (g - gamma * unit)
            for u, unit, rate, g in zip(y[1], units, rates, slopes, strict=True)
        )
        return jnp.exp(total - 2 * y[0]) * gamma, turning

    @property
    def stiff_components(self) -> int:
        shape, rank = self.problem.shape, self.log_gaps.shape[1]
        each = 1 + sum(shape)
        count = min(rank, STIFF // each)
        return count if count * each * math.prod(shape) <= _MEMORY else 0

    def stiff_part(self, y: LogPolar) -> StiffPart | None:
        """The largest components: idle ones hardly act on the product, nor on each other."""
        s, directions = y
        if self.stiff_components in (0, s.size):
            return None
        top = jax.lax.top_k(self.log_component_norms(y), self.stiff_components)[1]
        few = s[top], tuple(u[:, top] for u in directions)
        model = CPTensor(self.problem.shape, top.size)
        sub = LogPolarCoordinates(Objective(self.problem, model), self.log_gaps[:, top])
        others = self.product(y) - sub.product(few)
        flat, unravel = ravel_pytree(few)
        jacobian = jax.jacfwd(lambda x: ravel_pytree(sub.velocity(unravel(x), others))[0])(flat)
        rows = jnp.arange(1 + sum(self.problem.shape))  # of y: s, then the entries of each mode
        return StiffPart((rows[:, None] * s.size + top).ravel(), jacobian)

    def squared_gradient_norm(self, y: LogPolar) -> Float[Array, ""]:
        lengths, _, slopes = self._slopes(y)
        others = jnp.exp(2 * (jnp.sum(lengths, axis=0) - lengths))
        squares = jnp.stack([jnp.sum(g**2, axis=0) for g in slopes])
        return jnp.sum(others * squares)

    def time_scale(self, y: LogPolar) -> Float[Array, ""]:
        """That of the fastest coordinate: a product may be too small to be a number."""
        speeds = [jnp.max(jnp.abs(v)) for v in jax.tree.leaves(self.velocity(y))]
        return 1 / jnp.max(jnp.stack(speeds))

    def relative_change(self, before: LogPolar, after: LogPolar) -> Float[Array, ""]:
        """Of the coordinate that went farthest: a product may be too small to be a number."""
        moved = jax.tree.map(lambda a, b: jnp.max(jnp.abs(b - a)), before, after)
        return jnp.max(jnp.stack(jax.tree.leaves(moved)))

    def sizes(self, y0: LogPolar, y1: LogPolar) -> LogPolar:
        """One, for directions and for relative changes of lengths, whatever these are."""
        del y1
        return jax.tree.map(jnp.ones_like, y0)

    def with_tolerance(self, tolerance: Any) -> Self:
        del tolerance
        goal = jnp.log(expected_norm(self.problem))
        return eqx.tree_at(lambda c: c.goal, self, goal, is_leaf=lambda x: x is None)

    def amplification(self, y: LogPolar) -> Float[Array, ""]:
        size = 0.5 * jax.nn.logsumexp(2 * self.log_component_norms(y))
        return growth_in_logarithms(self.goal, size, len(y[1]))


def _refusal_of_flow(objective: Objective, dynamics: AbstractDynamics) -> str | None:
    """Why log-polar coordinates know no flow of this kind; None if they do."""
    model = objective.factorization
    if not isinstance(model, CPTensor):
        return f"{type(model).__name__} has no components to hold; use coordinates='factors'."
    if not isinstance(dynamics, GradientFlow):
        return (
            f"the dynamics {dynamics.name!r} does not keep differences of squared lengths; use "
            "coordinates='factors'."
        )
    if objective.penalty is not None:
        return (
            f"The objective has a penalty, {type(objective.penalty).__name__}, and coordinates "
            "other than 'factors' have none; use coordinates='factors'."
        )
    return None
