r"""Coordinates of any size in which each singular value keeps its sign and its relative accuracy.

Rows and columns are exchanged so that the pivots of a Gaussian elimination with complete pivoting
stand on the diagonal, W = L D U with D = diag(sigma_i exp(delta_i)), and y = (the strict lower part
of L, delta, the strict upper part of U). The signs sigma are constants: the product of a balanced
flow keeps its rank, and so do its leading minors while pivots are pivots. Logarithms of the
singular values come from a graded SVD. Nothing of the size of a small pivot is ever added to
something of the size of a large one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gradflow._util.validate import finite_array
from gradflow.coordinates.base import (
    AbstractCoordinates,
    expected_norm,
    growth_in_logarithms,
    known_norm,
)
from gradflow.coordinates.graded import Spectrum, kernel_weights, scaled_change
from gradflow.coordinates.product import depth_of, product_of, refusal_of_signs
from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.linalg.exact_elimination import (
    Elimination,
    Exact,
    eliminate,
    exact_exp,
    exact_product,
    exactly,
    full_rank_by_entries,
)
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem
from gradflow.problems.completion import MatrixCompletion

_LARGE = 2.0
"""Entries of L and U from which on other pivots should take over."""
_ORDER = float(np.log(4))
"""How much larger a later pivot's logarithm may be."""
_MOST = 32
"""Singular values up to which an exact elimination takes no time to speak of."""
DENSE = 48
"""Unknowns up to which a dense Jacobian is cheap."""
_LEAP = 40.0
"""By how much the logarithm of the largest pivot may rise in a step that ends near the goal."""
_TINY = 1e-6
"""Of the expected norm, the share of a start from which factors of depth 3 and more lose the small
singular values."""
_SINGULAR = (
    "coordinates='ldu' needs a start of full rank, and this one's is smaller, or full by round-off "
    "alone; use 'factors', where what is zero stays zero up to rounding."
)
_DIFFERENCE = 1e-6
"""Length of the central differences that stand for derivatives of the velocity; entries of y are of
order one, or logarithms on which the velocity depends where they are."""

LDU = tuple[Float[Array, " l"], Float[Array, " k"], Float[Array, " u"]]


class LDUCoordinates(AbstractCoordinates):
    r"""See the module's docstring.

    With G the gradient of the loss and V = dW/dt = -sum_j (W W^T)^(1-j/N) G (W^T W)^((j-1)/N), the
    scaled change X = D^-1 L^-1 V U^-1 (below the diagonal L^-1 V U^-1 D^-1) gives

        d delta_i/dt = X_ii,  dL/dt = L tril(X, -1),  dU/dt = triu(X, 1) U.

    L^-1 and U^-1 of the singular vectors are each taken in the one of two equal forms that is
    accurate, with all exponents added before an exponential is taken.

    Attributes:
      fitted: the problem.
      depth: N.
      signs: (k,) the pivots' signs.
      rows: (m,) the order of the rows.
      columns: (n,) the order of the columns.
      goal: None, or the logarithm of the expected norm of the product at the end.
    """

    fitted: AbstractProblem
    depth: int = eqx.field(static=True)
    signs: Float[Array, " k"]
    rows: Int[Array, " m"]
    columns: Int[Array, " n"]
    goal: Float[Array, ""] | None = None
    name: ClassVar[str] = "ldu"
    mark: ClassVar[str] = "log_pivots"
    takes_as_balanced: ClassVar[bool] = True
    logarithmic_clock: ClassVar[bool] = True
    normwise: ClassVar[bool] = False
    virtue: ClassVar[str] = (
        "a balanced start of full rank: each singular value keeps its sign and relative accuracy"
    )

    @property
    def problem(self) -> AbstractProblem:
        return self.fitted

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        reason = refusal_of_signs(objective, dynamics, factors, cls.name)
        return reason or _refusal([np.asarray(f) for f in factors], objective)

    @classmethod
    def refusal_of_matrix(
        cls, objective: Objective, dynamics: AbstractDynamics, w: Any
    ) -> str | None:
        reason = refusal_of_signs(objective, dynamics, None, cls.name)
        return reason or _refusal([np.asarray(w)], objective)

    @classmethod
    def drawback(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        if not objective.problem.twice_differentiable:
            return (
                "the loss's second derivatives jump, where linearly implicit steps, as "
                "coordinates='ldu' need them, may not see their errors."
            )
        if (unknowns := np.prod(objective.problem.shape)) > DENSE:
            return (
                f"coordinates='ldu' are dear for {unknowns} unknowns, more than {DENSE}; ask for "
                "them where the smallest singular value matters."
            )
        if len(factors) > 2 and not (
            np.max(np.abs(product_of(objective, factors))) < _TINY * known_norm(objective.problem)
        ):
            return (
                f"at depth {len(factors)} singular values fall like powers of time, which the "
                "factors resolve."
            )
        return None

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, LDU]:
        product = exact_product([np.asarray(f) for f in factors])
        return cls.at(objective.problem, len(factors), product)

    @classmethod
    def encode_matrix(
        cls, objective: Objective, dynamics: AbstractDynamics, w: Any
    ) -> tuple[Self, LDU]:
        """As it is: its zeros stay zeros, which products of factors would fill with round-off."""
        return cls.encode_scaled(objective, dynamics, w, 0.0)

    @classmethod
    def encode_scaled(
        cls, objective: Objective, dynamics: AbstractDynamics, w: Any, log_scale: float
    ) -> tuple[Self, LDU]:
        """Those of exp(log_scale) w.

        Raises:
          ValueError: if these coordinates cannot hold it.
        """
        w = np.asarray(finite_array("w", w, ndim=2))
        if not np.isfinite(log_scale):
            raise ValueError(f"log_scale must be finite, but it is {log_scale}.")
        if w.shape != objective.problem.shape:
            raise ValueError(f"w has shape {w.shape}, the problem {objective.problem.shape}.")
        if (reason := cls.refusal_of_matrix(objective, dynamics, w)) is not None:
            raise ValueError(f"coordinates='ldu' cannot hold this start: {reason}")
        made, y = cls.at(objective.problem, depth_of(objective, dynamics), exactly(w))
        return made, (y[0], y[1] + log_scale, y[2])

    @classmethod
    def at(cls, problem: AbstractProblem, depth: int, w: Exact) -> tuple[Self, LDU]:
        """Coordinates of a matrix of full rank, and it in them.

        Raises:
          ValueError: if the rank is not full.
        """
        found = eliminate(w)
        if found is None:
            raise ValueError("A matrix that is not of full rank has no coordinates 'ldu'.")
        return cls._of(problem, depth, found)

    @classmethod
    def _of(cls, problem: AbstractProblem, depth: int, found: Elimination) -> tuple[Self, LDU]:
        made = cls(
            problem,
            depth,
            jnp.asarray(found.signs),
            jnp.asarray(found.rows),
            jnp.asarray(found.columns),
        )
        below, right = made._places
        lower, upper = jnp.asarray(found.lower[below]), jnp.asarray(found.upper[right])
        return made, (lower, jnp.asarray(found.log_pivots), upper)

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, LDU]:
        floats = ("L", "log_pivots", "U", "pivot_signs")
        lower, pivots, upper, signs = (np.asarray(finite_array(k, named[k])) for k in floats)
        rows, columns = (np.asarray(named[k]).astype(int) for k in ("rows", "columns"))
        found = Elimination(lower, pivots, upper, signs, rows, columns)
        return cls._of(objective.problem, depth_of(objective, dynamics), found)

    def named(self, y: LDU) -> dict[str, Array]:
        lower, pivots, upper = self._unpacked(y)
        return {
            "L": lower,
            "log_pivots": pivots,
            "U": upper,
            "pivot_signs": self.signs,
            "rows": self.rows,
            "columns": self.columns,
        }

    @property
    def _places(self) -> tuple[Any, Any]:
        """Where the free entries of L and U are."""
        m, n, k = self.rows.size, self.columns.size, self.signs.size
        return np.tril_indices(m, -1, k), np.triu_indices(k, 1, n)

    def _unpacked(self, y: LDU) -> tuple[Array, Array, Array]:
        below, right = self._places
        m, n, k = self.rows.size, self.columns.size, self.signs.size
        lower = jnp.eye(m, k, dtype=y[1].dtype).at[below].set(y[0])
        upper = jnp.eye(k, n, dtype=y[1].dtype).at[right].set(y[2])
        return lower, y[1], upper

    def product(self, y: LDU) -> Float[Array, "m n"]:
        lower, pivots, upper = self._unpacked(y)
        turned = (lower * (self.signs * jnp.exp(pivots))) @ upper
        return jnp.zeros_like(turned).at[self.rows[:, None], self.columns].set(turned)

    def _spectrum(self, y: LDU) -> Spectrum:
        lower, pivots, upper = self._unpacked(y)
        return Spectrum.of(lower, pivots, upper, self.signs)

    def _gradient(self, y: LDU) -> Float[Array, "m n"]:
        """The gradient at W, rows and columns in the order of the pivots."""
        return self.fitted.gradient(self.product(y))[self.rows[:, None], self.columns]

    def velocity(self, y: LDU) -> LDU:
        return _differentiable(self, y)

    def _velocity(self, y: LDU) -> LDU:
        at, gradient = self._spectrum(y), self._gradient(y)
        x, dl, du = scaled_change(at, self.signs, self.depth, gradient)
        below, right = self._places
        lower = at.lower @ jnp.tril(x, -1) + dl
        upper = jnp.triu(x, 1) @ at.upper + du
        return lower[below], jnp.diagonal(x), upper[right]

    def squared_gradient_norm(self, y: LDU) -> Float[Array, ""]:
        at, gradient = self._spectrum(y), self._gradient(y)
        power, kappa, top = kernel_weights(at.log_s, self.depth)
        g = at.left.T @ gradient @ at.right
        rest = gradient @ at.right - at.left @ g, at.left.T @ gradient - g @ at.right.T
        weight = jnp.exp(power * at.log_s)
        excess = sum(
            jnp.sum(h**2 * w) for h, w in zip(rest, (weight, weight[:, None]), strict=True)
        )
        return jnp.sum(kappa * jnp.exp(power * top) * g**2) + excess

    def singular_values(self, y: LDU) -> Float[Array, " k"]:
        return jnp.exp(self.log_singular_values(y))

    def relative_singular_values(self, y: LDU) -> Float[Array, " k"]:
        logs = self.log_singular_values(y)
        return jnp.exp(logs - logs[0])

    def log_singular_values(self, y: LDU) -> Float[Array, " k"]:
        return -jnp.sort(-self._spectrum(y).log_s)

    def slogdet(self, y: LDU) -> tuple[Array, Array]:
        if self.rows.size != self.columns.size:
            return super().slogdet(y)
        turned = (jnp.eye(order.size)[order] for order in (self.rows, self.columns))
        parity = jnp.prod(jnp.stack([jnp.linalg.slogdet(x)[0] for x in turned]))
        return parity * jnp.prod(self.signs), jnp.sum(y[1])

    def time_scale(self, y: LDU) -> Float[Array, ""]:
        """That of the fastest coordinate: a product may be too small to be a number."""
        speeds = jnp.concatenate([jnp.abs(v) for v in self._velocity(y)])
        return 1 / jnp.max(speeds)

    def leaps(self, before: LDU, after: LDU) -> Bool[Array, ""]:
        """Whether a product of no weight became one of the expected size within a step.

        Up to the last stage, a seventh before the end, nothing would tell of it.
        """
        if self.goal is None:
            return jnp.asarray(False)
        low, high = jnp.max(before[1]), jnp.max(after[1])
        return (high > self.goal - _LEAP) & (high - low > _LEAP)

    def sizes(self, y0: LDU, y1: LDU) -> LDU:
        """Logarithms of pivots count from the largest: that one is to be right to rtol itself."""
        lower, _, upper = super().sizes(y0, y1)
        below = (jnp.max(y[1]) - y[1] for y in (y0, y1))
        return lower, jnp.maximum(jnp.maximum(*below), 1.0), upper

    def relative_change(self, before: LDU, after: LDU) -> Float[Array, ""]:
        """Or that of the largest pivot: a product may be too small to be a number."""
        w0, w1 = self.product(before), self.product(after)
        size = jnp.linalg.norm(w1)
        seen = jnp.linalg.norm(w1 - w0) / jnp.where(size > 0, size, 1.0)
        return jnp.maximum(seen, jnp.abs(jnp.max(after[1]) - jnp.max(before[1])))

    def with_tolerance(self, tolerance: Any) -> Self:
        del tolerance
        goal = jnp.log(expected_norm(self.fitted))
        return eqx.tree_at(lambda c: c.goal, self, goal, is_leaf=lambda x: x is None)

    def amplification(self, y: LDU) -> Float[Array, ""]:
        return growth_in_logarithms(self.goal, jnp.max(y[1]), self.depth)

    def near_singularity(self, y: LDU) -> Bool[Array, ""]:
        """Whether pivots should change places.

        Or whether others should go on; see `outgrown`.
        """
        lower, pivots, upper = self._unpacked(y)
        large = (jnp.max(jnp.abs(lower)) > _LARGE) | (jnp.max(jnp.abs(upper)) > _LARGE)
        rise = pivots[None, :] - pivots[:, None]
        return large | jnp.any(jnp.triu(rise, 1) > _ORDER) | self.outgrown(y)

    def outgrown(self, y: LDU) -> Bool[Array, ""]:
        """Whether "logdet" coordinates, which hold residuals, should go on.

        That is in 2x2 completions with entries as large as the observed ones.
        """
        problem = self.fitted
        if not isinstance(problem, MatrixCompletion) or problem.shape != (2, 2):
            return jnp.asarray(False)
        return jnp.max(jnp.abs(self.product(y))) > jnp.max(jnp.abs(problem.target))

    def switched(self, y: LDU) -> tuple[AbstractCoordinates, Any]:
        """Other pivots, by an elimination of the very matrix that y stands for."""
        lower, pivots, upper = (np.asarray(x) for x in self._unpacked(y))
        middle = [exact_exp(float(x)) * int(s) for x, s in zip(pivots, self.signs, strict=True)]
        left, right = exactly(lower), exactly(upper)
        m, n, k = self.rows.size, self.columns.size, self.signs.size
        w = [
            [sum((left[i][a] * middle[a] * right[a][j] for a in range(k)), start=middle[0] * 0)
             for j in range(n)]
            for i in range(m)
        ]  # fmt: skip
        found = eliminate(w)
        assert found is not None  # a product of L, D and U of full rank
        found = found._replace(
            rows=np.asarray(self.rows)[found.rows], columns=np.asarray(self.columns)[found.columns]
        )
        return self._of(self.fitted, self.depth, found)


def _refusal(factors: list[np.ndarray], objective: Objective) -> str | None:
    """Why pivots cannot tell the product of these; None if they can."""
    if min(objective.problem.shape) > _MOST:
        return (
            f"coordinates='ldu' hold up to {_MOST} singular values, but the problem's shape is "
            f"{objective.problem.shape}; use 'factors'."
        )
    return None if full_rank_by_entries(factors) else _SINGULAR


@jax.custom_jvp
def _differentiable(coordinates: LDUCoordinates, y: LDU) -> LDU:
    return coordinates._velocity(y)


@_differentiable.defjvp
def _by_differences(primals: Any, tangents: Any) -> tuple[LDU, LDU]:
    """Central differences: Jacobi rotations have no derivative where singular values coincide.

    The velocity does, and linearly implicit steps want it roughly only.
    """
    coordinates, y = primals
    direction = tangents[1]
    size = jnp.sqrt(sum(jnp.sum(d**2) for d in direction))
    step = _DIFFERENCE / jnp.where(size > 0, size, 1.0)

    def beside(h: Array) -> LDU:
        return coordinates._velocity(jax.tree.map(lambda a, d: a + h * d, y, direction))

    ends = jax.vmap(beside)(jnp.stack([step, -step]))  # both in one program
    return coordinates._velocity(y), jax.tree.map(lambda e: (e[0] - e[1]) / (2 * step), ends)
