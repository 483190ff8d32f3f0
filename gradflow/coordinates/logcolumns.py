r"""Graded coordinates of U U^T and W_2 W_1: orthonormal directions and the logarithms of sizes.

Stacked, the factors are Q with dQ/dt = F Q and a symmetric F that feels Q Q^T alone, balanced or
not; see `gradflow.columns`. As

    Q = O diag(exp(rho)) N Omega,

with orthonormal columns O, N upper triangular with a diagonal of ones and a constant Omega with
orthonormal rows, Q obeys with B = O^T F O and T = diag(B) + 2 (B above the diagonal)

    dO/dt = F O - O T,    drho_i/dt = B_ii,
    dN_ij/dt = 2 sum_{m > i} B_im exp(rho_m - rho_i) N_mj.

Nothing small is a difference of large numbers: while rho falls from row to row N stays of order
one, and each direction keeps its relative accuracy at any size. Where rho has come out of order, an
SVD of diag(exp(rho)) N, whose rows may be of any size, begins anew with N = 1.
The start is orthogonalised in long arithmetic, as float64 knows a small angle a to 1e-16/a only.

Of two layers Q^T J Q stays as it is (what is unbalanced), so that O^T J O is a function of how rho
has grown and of N. Where a direction shrinks errors of its balance would grow; O is led back to
that function. It hangs on entries of N as small as sizes are apart, so that they are held in units
of what rho was where N was 1: S_ij = N_ij exp(rho_i - rho_j). What is held is S^-1 = R, of which
it is made: where a middle row grows by far more than a later one, entries of S are their
round-off, and all digits of R would cancel.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gradflow._util.validate import finite_array
from gradflow.columns import AbstractColumns, columns_of, has_columns
from gradflow.coordinates.base import AbstractCoordinates, expected_norm, known_norm, leaps_to_rise
from gradflow.dynamics.base import AbstractDynamics
from gradflow.dynamics.gradient import GradientFlow
from gradflow.factorizations.base import Factors
from gradflow.factorizations.hidden_units import UNSEEN, unit_lengths
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.linalg.graded_svd import graded_svd
from gradflow.linalg.lengths import lengths_and_directions
from gradflow.linalg.long_qr import long_qr
from gradflow.objective import Objective
from gradflow.problems.sparse import SparseCompletion
from gradflow.state import AbstractFactorsView

_TINY = 1e-2
"""Of the square root of the expected norm, the largest singular value of a tiny start's Q."""
_LARGEST = 100
"""Rows of Q up to which "auto" takes these coordinates."""
_DEPENDENT = 1e-12
"""The least singular value of unit columns that are not linearly dependent up to round-off."""
_ORDER, _SHEAR = 3.0, 1e3
"""How far a later rho may be above an earlier one, and how large an entry of N may be."""
_OVERFLOW, _APART = 700.0, 600.0
"""What an exponent may be, and how far apart sizes of columns of two layers."""
_NOISE = 1e-10
"""What O^T J O may be wrong by for O to be led to it."""


class Graded(NamedTuple):
    """y: see the module's docstring.

    Attributes:
      directions: (rows, p) O.
      logs: (p,) rho.
      unshears: (p, p) R.
    """

    directions: Float[Array, "rows p"]
    logs: Float[Array, " p"]
    unshears: Float[Array, "p p"]


class LogColumnCoordinates(AbstractFactorsView, AbstractCoordinates):
    """See the module's docstring.

    Attributes:
      objective: a problem and a `SymmetricProduct`, or a `MatrixProduct` of depth 2; no penalty.
      rotation: Omega.
      tilt: (p, p) O^T J O where N was 1, of which Q^T J Q is made; 0 if nothing stays so.
      origin: (p,) what rho was there; 0 if nothing stays so.
      goal: None, or the logarithm of the root of the expected norm of the product at the end.
      far_apart: whether sizes of two layers were, at the start.
    """

    objective: Objective
    rotation: Float[Array, "p columns"]
    tilt: Float[Array, "p p"]
    origin: Float[Array, " p"]
    goal: Float[Array, ""] | None = None
    far_apart: bool = eqx.field(static=True, default=False)
    name: ClassVar[str] = "logcolumns"
    mark: ClassVar[str] = "log_sizes"
    normwise: ClassVar[bool] = False
    of_order_one: ClassVar[bool] = True
    virtue: ClassVar[str] = (
        "factors that are linear in their columns, from a tiny start: each direction keeps its "
        "relative accuracy at any size"
    )

    @property
    def _linear(self) -> AbstractColumns:
        """What Q is, and F."""
        return _columns(self.objective)

    @property
    def near_normal(self) -> bool:
        return not self.far_apart

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        if (reason := _refusal_of_flow(objective, dynamics)) is not None:
            return reason
        columns = _columns(objective)
        lengths, unit = lengths_and_directions(np.asarray(columns.stack(factors)))
        unit, logs = unit[:, lengths > 0], np.log(lengths[lengths > 0])
        if not unit.size:
            return "all columns are zero, and stay so."
        if (least := _least_angle(unit, logs)) < _DEPENDENT:
            return (
                f"columns are linearly dependent up to round-off (their angle is {least:.0e}), "
                "so that it is not known which small directions there are; use "
                "coordinates='factors'."
            )
        if columns.signs() is not None and np.ptp(logs) > _APART:
            return (
                f"columns of two layers differ by a factor of exp({np.ptp(logs):.0f}), and float64 "
                f"holds what couples them up to exp({_APART:.0f}); use coordinates='factors'."
            )
        return None

    @classmethod
    def drawback(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        if (reason := _refusal_of_flow(objective, dynamics)) is not None:
            return reason
        columns = _columns(objective)
        if columns.rows > _LARGEST:
            return f"the factors have more than {_LARGEST} rows together."
        (lengths,) = unit_lengths(objective.factorization, factors)
        hidden = lengths.size > 0 and np.min(lengths) < UNSEEN * np.max(lengths)
        tiny = _TINY * known_norm(objective.problem) ** 0.5
        if hidden or max(np.linalg.norm(np.asarray(f)) for f in factors) < tiny:
            return None
        return "no column is tiny, and the factors themselves can be followed."

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, Graded]:
        return cls._of(objective, factors, 0.0)

    @classmethod
    def encode_scaled(
        cls, objective: Objective, dynamics: AbstractDynamics, w: Any, log_scale: float
    ) -> tuple[Self, Graded]:
        """Those of factors whose product is exp(log_scale) times that of the ones given.

        Args:
          objective: the problem and its factorisation.
          dynamics: what the parameters obey.
          w: a tuple of factors, or their product, which stands for balanced ones.
          log_scale: the logarithm of the product's factor.

        Raises:
          ValueError: if these coordinates cannot hold it.
        """
        model = objective.factorization
        if isinstance(w, tuple | list):
            factors = model.check([finite_array(f"w[{k}]", f) for k, f in enumerate(w)])
        else:
            factors = model.balanced(w)
        if (reason := cls.refusal(objective, dynamics, factors)) is not None:
            raise ValueError(f"coordinates={cls.name!r} cannot hold this start: {reason}")
        return cls._of(objective, factors, log_scale / 2)

    @classmethod
    def _of(cls, objective: Objective, factors: Factors, log_scale: float) -> tuple[Self, Graded]:
        columns = _columns(objective)
        q, signs = np.asarray(columns.stack(factors)), columns.signs()
        exact = long_qr(q, signs)
        found = _svd(jnp.asarray(exact.logs), jnp.asarray(exact.rows))
        logs = found.log_s + log_scale
        y = Graded(exact.directions @ found.rotation.T, logs, jnp.eye(logs.size))
        tilt, origin = jnp.zeros_like(found.rotation), jnp.zeros_like(logs)
        if exact.tilt is not None:
            tilt, origin = found.rotation @ exact.tilt @ found.rotation.T, logs
        apart = exact.tilt is not None and _far_apart(exact.logs)
        return cls(objective, found.right.T, tilt, origin, far_apart=apart), y

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, Graded]:
        if (reason := _refusal_of_flow(objective, dynamics)) is not None:
            raise ValueError(f"coordinates={cls.name!r} cannot hold this start: {reason}")
        if missing := [name for name in _NAMES if name not in named]:
            raise ValueError(f"The start has no {missing[0]}; it has {', '.join(named)}.")
        arrays = [jnp.asarray(finite_array(name, named[name])) for name in _NAMES]
        apart = _far_apart(np.asarray(arrays[5]))
        return cls(objective, *arrays[3:], far_apart=apart), Graded(*arrays[:3])

    def named(self, y: Graded) -> dict[str, Array]:
        factors = {f"W_{n}": w for n, w in enumerate(self.factors(y), start=1)}
        held = (*y, self.rotation, self.tilt, self.origin)
        return dict(zip(_NAMES, held, strict=True)) | factors

    def _q(self, y: Graded) -> Float[Array, "rows p"]:
        """Q but for the rotation Omega."""
        sizes = y.logs[:, None] + self.origin - self.origin[:, None]
        return y.directions @ (jnp.exp(jnp.minimum(sizes, _OVERFLOW)) * _inverse(y.unshears))

    def _unit_shears(self, y: Graded) -> Float[Array, "p p"]:
        """N."""
        apart = jnp.minimum(self.origin - self.origin[:, None], _OVERFLOW)
        return jnp.exp(apart) * _inverse(y.unshears)

    def factors(self, y: Graded) -> Factors:
        return self._linear.split(self._q(y) @ self.rotation)

    def product(self, y: Graded) -> Array:
        return self._linear.product(self._q(y))

    def velocity(self, y: Graded) -> Graded:
        o, logs, unshears = y
        grown = logs - self.origin
        f = self._linear.operator(self._q(y))
        b = o.T @ f @ o
        twice = 2 * jnp.triu(b, 1)
        ratios = jnp.exp(jnp.minimum(grown - grown[:, None], _OVERFLOW))
        turning = f @ o - o @ (jnp.diag(jnp.diag(b)) + twice)
        # What is not orthonormal, or not balanced as it was, would grow where sizes fall.
        pull = 2 * jax.lax.stop_gradient(jnp.linalg.norm(b))  # whose derivative is none at 0
        turning = turning - pull * (o @ (o.T @ o - jnp.eye(logs.size)))
        if (signs := self._linear.signs()) is not None:
            turned = signs[:, None] * o
            tilt, noise = self._tilt_now(y)
            trust = jax.lax.stop_gradient(1 / (1 + (noise / _NOISE) ** 2))
            turning = turning - pull * (turned @ (trust * (o.T @ turned - tilt)))
        return Graded(turning, jnp.diag(b), -jnp.triu(unshears) @ (twice * ratios))

    def _tilt_now(self, y: Graded) -> tuple[Float[Array, "p p"], Float[Array, "p p"]]:
        """O^T J O, as rho and R tell it, and what it is wrong by as these are rounded.

        (S^T diag(exp(rho - origin)))^-1 is led on both sides.
        """
        shrunk = jnp.exp(jnp.minimum(self.origin - y.logs, _OVERFLOW / 2))[:, None]
        led = shrunk * jnp.triu(y.unshears).T
        noise = np.finfo(float).eps * (jnp.abs(led) @ jnp.abs(self.tilt) @ jnp.abs(led.T))
        return jnp.clip(led @ self.tilt @ led.T, -1.0, 1.0), noise

    def singular_values(self, y: Graded) -> Float[Array, " k"]:
        model = self.objective.factorization
        if not isinstance(model, SymmetricProduct):
            return super().singular_values(y)
        found = jnp.exp(2 * _svd(y.logs, self._unit_shears(y)).log_s)
        return jnp.pad(found, (0, model.size - found.size))

    def relative_singular_values(self, y: Graded) -> Float[Array, " k"]:
        if not isinstance(self.objective.factorization, SymmetricProduct):
            return super().relative_singular_values(y)
        logs = _svd(y.logs, self._unit_shears(y)).log_s
        return jnp.exp(2 * (logs - logs[0]))

    def squared_gradient_norm(self, y: Graded) -> Float[Array, ""]:
        q = self._q(y)
        return jnp.sum((self._linear.operator(q) @ q) ** 2)

    def sizes(self, y0: Graded, y1: Graded) -> Graded:
        """A logarithm is to be right to rtol, however large; so are directions and shears.

        Errors of R are some R E, as its velocity is; E_mj counts beside what its sizes have grown
        apart by, which is what O^T J O feels.
        """
        grown = jnp.maximum(y0.logs, y1.logs) - self.origin
        apart = jnp.exp(jnp.clip(grown - grown[:, None], 0.0, _OVERFLOW))
        unshears = jnp.maximum(jnp.abs(y0.unshears), jnp.abs(y1.unshears)) @ apart
        return Graded(jnp.ones_like(y0.directions), jnp.ones_like(y0.logs), unshears)

    def with_tolerance(self, tolerance: Any) -> Self:
        del tolerance
        goal = 0.5 * jnp.log(expected_norm(self.problem))
        return eqx.tree_at(lambda c: c.goal, self, goal, is_leaf=lambda x: x is None)

    def leaps(self, before: Graded, after: Graded) -> Bool[Array, ""]:
        return leaps_to_rise(self.goal, before.logs, after.logs)

    def time_scale(self, y: Graded) -> Float[Array, ""]:
        """That of the fastest coordinate: a product may be too small to be a number."""
        speeds = [jnp.max(jnp.abs(v)) for v in self.velocity(y)]
        return 1 / jnp.max(jnp.stack(speeds))

    def near_singularity(self, y: Graded) -> Bool[Array, ""]:
        """Whether sizes have come out of order."""
        above = jnp.triu(y.logs - y.logs[:, None], 1)
        return jnp.any(above > _ORDER) | jnp.any(jnp.abs(self._unit_shears(y)) > _SHEAR)

    def switched(self, y: Graded) -> tuple[Self, Graded]:
        """The same with sizes in order and N = 1."""
        found = _svd(y.logs, self._unit_shears(y))
        held = (found.right.T @ self.rotation, self.tilt, self.origin)
        if self._linear.signs() is not None:
            tilt = found.rotation @ self._tilt_now(y)[0] @ found.rotation.T
            held = (held[0], tilt, found.log_s)
        made = eqx.tree_at(lambda c: (c.rotation, c.tilt, c.origin), self, held)
        return made, Graded(y.directions @ found.rotation.T, found.log_s, jnp.eye(y.logs.size))


_NAMES = ("directions", "log_sizes", "unshears", "rotation", "tilt", "origin")


def _inverse(unshears: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """S of R; what is below the diagonals of either has no meaning, and is zero here."""
    one = jnp.eye(unshears.shape[0])
    return jnp.triu(jax.scipy.linalg.solve_triangular(unshears, one, unit_diagonal=True))


def _far_apart(logs: np.ndarray) -> bool:
    """Whether sizes are so far apart that shears make the field's Jacobian far from normal."""
    return bool(np.ptp(logs) > -math.log(UNSEEN))


@jax.jit
def _svd(log_scales: Float[Array, " k"], rows: Float[Array, "k n"]) -> Any:
    """`graded_svd` of rows in any order, with the singular values in falling order."""
    given = jnp.argsort(-log_scales)
    found = graded_svd(log_scales[given], rows[given])
    order = jnp.argsort(-found.log_s)
    rotation = jnp.zeros_like(found.rotation).at[:, given].set(found.rotation)
    return found._replace(
        log_s=found.log_s[order], rotation=rotation[order], right=found.right[:, order]
    )


def _least_angle(unit: np.ndarray, logs: np.ndarray) -> float:
    """The least singular value of unit columns; of more than fill their space, the least remainder.

    That is what is left of one beside longer ones, where it is the longest that is left of all: it
    becomes a direction, if it is not zero.
    """
    if unit.shape[1] <= unit.shape[0]:
        return float(np.linalg.svd(unit, compute_uv=False)[-1])
    left, found = unit, 1.0
    for _ in range(np.count_nonzero(np.any(unit, axis=1))):
        sizes = np.linalg.norm(left, axis=0)
        if not sizes.any():
            break
        first = np.argmax(logs + np.log(np.maximum(sizes, np.finfo(float).tiny)))
        found = min(found, float(sizes[first]))
        o = left[:, first] / sizes[first]
        for _ in range(2):  # once leaves a rounding of what was taken away
            left = left - np.outer(o, o @ left)
        left[:, first] = 0.0
    return found


def _columns(objective: Objective) -> AbstractColumns:
    """What Q is, and F, of an objective that is not refused."""
    found = columns_of(objective)
    assert found is not None
    return found


def _refusal_of_flow(objective: Objective, dynamics: AbstractDynamics) -> str | None:
    """Why these coordinates know no flow of this kind; None if they do."""
    if not has_columns(objective):
        return (
            "they are for a SymmetricProduct or a MatrixProduct of depth 2, not "
            f"{objective.factorization}; use coordinates='factors'."
        )
    if objective.penalty is not None or not isinstance(dynamics, GradientFlow):
        return "they are for gradient flow without a penalty; use coordinates='factors'."
    if isinstance(objective.problem, SparseCompletion):
        return "they form the product, which has too many entries; use coordinates='factors'."
    return None
