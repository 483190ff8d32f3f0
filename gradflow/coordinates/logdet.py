r"""Coordinates for 2x2 completion that carry log |det W|: exact however small the determinant is.

With the sign of the determinant fixed, y = (log |w_p|, w_a - b_a, w_b - b_b, log |det W|): the
logarithm of a pivot entry, its two neighbours as differences from their observed values (in units
of about the largest of these, so that tolerances are shares of it), and the determinant; the entry
opposite the pivot is (det + w_a w_b) / w_p (up to signs). Powers of W W^T
come in closed form from the angle theta = log(s_1 / s_2), through sinh(p theta) / sinh(theta),
which is smooth where the singular values coincide.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gradflow._util.annotations import AnyArray
from gradflow._util.remembered import remembered
from gradflow._util.validate import finite_array
from gradflow.coordinates.base import AbstractCoordinates, expected_norm, growth_in_logarithms
from gradflow.coordinates.product import depth_of, product_of, refusal_of_signs, slogdet_of
from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.linalg.spectrum import log_singular_values_2x2
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem
from gradflow.problems.completion import MatrixCompletion

_SERIES_TERMS = 14
_SERIES_RADIUS = 0.1
"""Terms after the first, and where they do: those left out are below 0.05^15 of it."""
_SMALL_PIVOT = 1e-3
"""Of the largest entry: a smaller pivot gives its place to that one."""
_SMALL_START = 1e-5
"""Of a start, the least share of the observed values."""
_NAMES = ("log_abs_pivot", "neighbour_in_row", "neighbour_in_column", "log_abs_det")


class LogDetCoordinates(AbstractCoordinates):
    """See the module's docstring.

    Rows and columns are exchanged so that the pivot comes first; the flow does not notice.

    Attributes:
      completion: a 2x2 `MatrixCompletion`.
      sign: +1 or -1, the sign of the determinant.
      pivot_sign: +1 or -1, the sign of the pivot entry.
      depth: N.
      pivot: the position of the pivot, as an array, so that another one does not compile again.
      goal: None, or the logarithm of the expected norm of the product at the end.
    """

    completion: MatrixCompletion
    sign: Float[Array, ""]
    pivot_sign: Float[Array, ""]
    depth: int = eqx.field(static=True)
    pivot: Int[Array, "2"]
    goal: Float[Array, ""] | None
    # Of the turned problem, once for all: the mask, the observed values, the determinant's sign.
    _mask: Float[Array, "2 2"]
    _offset: Float[Array, "2 2"]
    _turned_sign: Float[Array, ""]
    # What differences are held in units of: about the largest observed value, a power of two.
    _unit: Float[Array, ""]
    name: ClassVar[str] = "logdet"
    mark: ClassVar[str] = "log_abs_pivot"
    takes_as_balanced: ClassVar[bool] = True
    logarithmic_clock: ClassVar[bool] = True
    normwise: ClassVar[bool] = False
    holds_residuals: ClassVar[bool] = True
    virtue: ClassVar[str] = "a balanced 2x2 start: the determinant's sign is kept by construction"

    def __init__(
        self,
        completion: MatrixCompletion,
        sign: Float[Array, ""],
        pivot_sign: Float[Array, ""],
        depth: int,
        pivot: tuple[int, int],
    ):
        self.completion, self.sign, self.pivot_sign = completion, sign, pivot_sign
        self.depth, self.goal = depth, None
        self._turned_sign = _sign(float(sign) * (1.0 if pivot[0] == pivot[1] else -1.0))
        self.pivot, self._mask, self._offset, self._unit = _turned_problem(completion, pivot)

    @property
    def problem(self) -> AbstractProblem:
        return self.completion

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        problem = objective.problem
        if not isinstance(problem, MatrixCompletion) or problem.shape != (2, 2):
            return (
                f"coordinates='logdet' is for 2x2 matrix completion, but the problem is a "
                f"{type(problem).__name__} of shape {problem.shape}; use 'singular' or 'product'."
            )
        reason = refusal_of_signs(objective, dynamics, factors, cls.name)
        if reason is not None:
            return reason
        if slogdet_of(objective, factors)[0] == 0:
            return "coordinates='logdet' needs a start of non-zero determinant; use 'product'."
        largest = float(np.max(np.abs(product_of(objective, factors))))
        if largest < _SMALL_START * float(np.max(np.abs(problem.target))):
            return (
                "coordinates='logdet' hold entries as differences from the observed ones, which "
                f"leaves too few digits for a start of {largest:.3g}; use 'ldu'."
            )
        return None

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, Float[Array, " 4"]]:
        problem: Any = objective.problem
        sign, log_abs_det = slogdet_of(objective, factors)
        w = product_of(objective, factors)
        pivot = choose_pivot(problem, w)
        made = cls(problem, _sign(sign), _sign(np.sign(w[pivot])), len(factors), pivot)
        return made, made.at(w, log_abs_det)

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, Float[Array, " 4"]]:
        problem: Any = objective.problem
        y = jnp.stack([jnp.asarray(finite_array(name, named[name])) for name in _NAMES])
        sign, pivot_sign = (jnp.asarray(named[name], float) for name in ("det_sign", "pivot_sign"))
        i, j = np.asarray(named["pivot"]).tolist()
        made = cls(problem, sign, pivot_sign, depth_of(objective, dynamics), (i, j))
        return made, y / made._units

    def named(self, y: Float[Array, " 4"]) -> dict[str, Array]:
        signs = {"det_sign": self.sign, "pivot_sign": self.pivot_sign, "pivot": self.pivot}
        return dict(zip(_NAMES, y * self._units, strict=True)) | signs

    @property
    def _units(self) -> Float[Array, " 4"]:
        """Of the entries of y."""
        one = jnp.ones_like(self._unit)
        return jnp.stack([one, self._unit, self._unit, one])

    def _turn(self, w: Float[Array, "2 2"]) -> Float[Array, "2 2"]:
        """Bring the pivot to the first place, or back."""
        i, j = self.pivot
        return w[jnp.stack([i, 1 - i])][:, jnp.stack([j, 1 - j])]

    def at(self, w: Float[AnyArray, "2 2"], log_abs_det: Any) -> Float[Array, " 4"]:
        """Coordinates of a matrix whose determinant is known better than its entries tell."""
        i, j = np.asarray(self.pivot).tolist()
        moved, offset = _turned(np.asarray(w), (i, j)), np.asarray(self._offset)
        right, below = moved[0, 1] - offset[0, 1], moved[1, 0] - offset[1, 0]
        unit, largest = float(self._unit), np.log(np.abs(moved[0, 0]))
        return jnp.asarray(np.array([largest, right / unit, below / unit, float(log_abs_det)]))

    def with_tolerance(self, tolerance: Any) -> Self:
        del tolerance
        goal = jnp.log(expected_norm(self.completion))
        return eqx.tree_at(lambda c: c.goal, self, goal, is_leaf=lambda x: x is None)

    def amplification(self, y: Float[Array, " 4"]) -> Float[Array, ""]:
        size = 0.5 * jnp.log(jnp.sum(self._entries(y)[0] ** 2))
        return growth_in_logarithms(self.goal, size, self.depth)

    def near_singularity(self, y: Float[Array, " 4"]) -> Bool[Array, ""]:
        """Whether the pivot has become so small that another one should take its place.

        Or all entries have; see `shrunk`.
        """
        w, _ = self._entries(y)
        return (jnp.abs(w[0, 0]) < _SMALL_PIVOT * jnp.max(jnp.abs(w))) | self.shrunk(y)

    def shrunk(self, y: Float[Array, " 4"]) -> Bool[Array, ""]:
        """Whether entries are too small to be held as differences from the observed values."""
        largest = jnp.max(jnp.abs(self._entries(y)[0]))
        return largest < _SMALL_START * jnp.max(jnp.abs(self.completion.target))

    def switched(self, y: Float[Array, " 4"]) -> tuple["LogDetCoordinates", Float[Array, " 4"]]:
        """Coordinates whose pivot is the largest entry now, and the same point in it."""
        w = self.product(y)
        i, j = np.unravel_index(int(np.abs(np.asarray(w)).argmax()), (2, 2))
        pivot = (int(i), int(j))
        made = LogDetCoordinates(self.completion, self.sign, jnp.sign(w[pivot]), self.depth, pivot)
        return made, made.at(w, y[3])

    def _entries(self, y: Float[Array, " 4"]) -> tuple[Array, Array]:
        """Turned W, and turned W minus the observed values with the neighbours' digits kept."""
        offset = self._offset
        pivot = self.pivot_sign * jnp.exp(y[0])
        right, below = self._unit * y[1], self._unit * y[2]
        row, column = offset[0, 1] + right, offset[1, 0] + below
        opposite = (self._turned_sign * jnp.exp(y[3]) + row * column) / pivot
        w = jnp.stack([jnp.stack([pivot, row]), jnp.stack([column, opposite])])
        difference = (w - offset).at[0, 1].set(right).at[1, 0].set(below)
        return w, difference

    def product(self, y: Float[Array, " 4"]) -> Float[Array, "2 2"]:
        return self._turn(self._entries(y)[0])

    def _gradient(self, y: Float[Array, " 4"]) -> tuple[Array, Array]:
        w, difference = self._entries(y)
        return w, 2 * self.completion.weight * self._mask * difference

    def loss(self, y: Float[Array, " 4"]) -> Float[Array, ""]:
        difference = self._entries(y)[1]
        return self.completion.weight * jnp.sum((self._mask * difference) ** 2)

    def singular_values(self, y: Float[Array, " 4"]) -> Float[Array, " 2"]:
        return jnp.exp(log_singular_values_2x2(jnp.sum(self._entries(y)[0] ** 2), y[3]))

    def slogdet(self, y: Float[Array, " 4"]) -> tuple[Array, Array]:
        return self.sign, y[3]

    def _velocities(self, y: Float[Array, " 4"]) -> tuple[Array, Array, Array, Array]:
        """Turned W, its gradient, dW/dt, and d log |det W|/dt."""
        depth = self.depth
        w, gradient = self._gradient(y)
        powers = _Powers(jnp.sum(w**2), y[3])
        eye = jnp.eye(2, dtype=y.dtype)
        linear, constant = powers.square_root_power(np.arange(1, depth) / depth)

        def fractional(square: Array) -> Array:
            """Its powers k/N, k = 0..N-1."""
            others = linear[:, None, None] * square + constant[:, None, None] * eye
            return jnp.concatenate([eye[None], others])

        lefts, rights = fractional(w @ w.T), fractional(w.T @ w)
        d_w = -jnp.sum(lefts @ gradient @ rights[::-1], axis=0)
        on_w, on_cofactor = powers.singular_power(1 - 2 / depth)
        cofactor = self._turned_sign * jnp.stack(
            [jnp.stack([w[1, 1], -w[1, 0]]), jnp.stack([-w[0, 1], w[0, 0]])]
        )
        d_log_det = -depth * jnp.sum((on_w * w + on_cofactor * cofactor) * gradient)
        return w, gradient, d_w, d_log_det

    def velocity(self, y: Float[Array, " 4"]) -> Float[Array, " 4"]:
        w, _, d_w, d_log_det = self._velocities(y)
        right, below = d_w[0, 1] / self._unit, d_w[1, 0] / self._unit
        return jnp.stack([d_w[0, 0] / w[0, 0], right, below, d_log_det])

    def squared_gradient_norm(self, y: Float[Array, " 4"]) -> Float[Array, ""]:
        _, gradient, d_w, _ = self._velocities(y)
        return -jnp.sum(gradient * d_w)


def _sign(value: float) -> Float[Array, ""]:
    return _one_sign(float(value))


@functools.cache  # the two of them, once and not for each flow of a batch
def _one_sign(value: float) -> Float[Array, ""]:
    with jax.ensure_compile_time_eval():  # what is kept must not belong to a program
        return jnp.asarray(value)


def _turned_problem(
    completion: MatrixCompletion, pivot: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    """The pivot, the mask and the observed values in its order, and their unit.

    Once for each pivot of a problem that lives: a batch has four of them at most.
    """
    known = remembered(completion)
    if ("turned", pivot) not in known:
        with jax.ensure_compile_time_eval():  # what is kept must not belong to a program
            known["turned", pivot] = _newly_turned(completion, pivot)
    return known["turned", pivot]


def _newly_turned(
    completion: MatrixCompletion, pivot: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    mask = np.asarray(completion.mask)
    offset = mask * np.asarray(completion.target)
    largest = np.max(np.abs(offset))
    exponent = np.frexp(largest if largest > 0 else 1.0)[1] - 1
    unit = jnp.asarray(np.ldexp(1.0, exponent))
    first, second, third = np.asarray(pivot), _turned(mask, pivot), _turned(offset, pivot)
    return jnp.asarray(first), jnp.asarray(second), jnp.asarray(third), unit


def _turned(w: np.ndarray, pivot: tuple[int, int]) -> np.ndarray:
    """With the pivot in the first place."""
    i, j = pivot
    return w[np.ix_((i, 1 - i), (j, 1 - j))]


class _Powers:
    r"""Fractional powers of a 2x2 matrix from ||W||_F^2 and log |det W|.

    With theta = log(s_1/s_2), cosh(theta) = ||W||_F^2 / (2 |det W|) and D = |det W|:
    (W W^T)^p = a W W^T + c I with a = D^(p-1) q(p), c = D^p q(1-p), and U S^e V^T = x W + z cof(W)
    (cof with the determinant's sign) with x = D^((e-1)/2) q((1+e)/2), z = D^((e-1)/2) q((1-e)/2),
    where q(p) = sinh(p theta) / sinh(theta) and 0 <= e < 1. Each coefficient is a sum of positive
    terms. Near theta = 0 q is a power series in cosh(theta) - 1; elsewhere factors exp(.. theta)
    are taken out, so that no power overflows or underflows early.
    """

    def __init__(self, frobenius_squared: Array, log_det: Array):
        # Capped, so that derivatives of the branch that is not used stay finite.
        ratio = jnp.exp(jnp.minimum(jnp.log(frobenius_squared / 2) - log_det, 1.0))
        self.near = ratio - 1 < _SERIES_RADIUS
        self.x = jnp.where(self.near, (1 - ratio) / 2, 0.0)
        safe_frobenius = jnp.where(self.near, 1.0, frobenius_squared)
        safe_log_det = jnp.where(self.near, -2.0, log_det)
        log_s = log_singular_values_2x2(safe_frobenius, safe_log_det)
        self.log_first, self.log_second = 2 * log_s[0], 2 * log_s[1]
        self.theta = jnp.where(self.near, 1.0, log_s[0] - log_s[1])
        self.log_det = log_det

    def _quotients(self, *p: Any) -> tuple[Array, Array]:
        """Rows of q(p) by its series near theta = 0, and of q(p) exp((1-p) theta) elsewhere."""
        rows = np.stack(p)
        coefficients = [rows]
        for k in range(_SERIES_TERMS):
            factor = (1 - rows + k) * (1 + rows + k) / ((1.5 + k) * (k + 1))
            coefficients.append(coefficients[-1] * factor)
        near = jnp.zeros_like(self.x)
        for coefficient in reversed(coefficients):
            near = near * self.x + coefficient
        return near, jnp.expm1(-2 * rows * self.theta) / jnp.expm1(-2 * self.theta)

    def square_root_power(self, p: Any) -> tuple[Array, Array]:
        """Coefficients a and c of (W W^T)^p, 0 < p < 1; p may be an array."""
        (near_a, near_c), (far_a, far_c) = self._quotients(p, 1 - p)
        a = jnp.where(
            self.near,
            jnp.exp((p - 1) * self._log_det_near) * near_a,
            jnp.exp((p - 1) * self.log_first) * far_a,
        )
        c = jnp.where(
            self.near,
            jnp.exp(p * self._log_det_near) * near_c,
            jnp.exp(p * self.log_second) * far_c,
        )
        return a, c

    def singular_power(self, e: float) -> tuple[Array, Array]:
        """The x and z of U S^e V^T, 0 <= e < 1 (also e = -1, where x = 0 and z = 1/D)."""
        (near_x, near_z), (far_x, far_z) = self._quotients((1 + e) / 2, (1 - e) / 2)
        scale = jnp.exp((e - 1) / 2 * self._log_det_near)
        x = jnp.where(self.near, scale * near_x, jnp.exp((e - 1) / 2 * self.log_first) * far_x)
        far_scale = jnp.exp(e * self.log_det - (1 + e) / 2 * self.log_first)
        z = jnp.where(self.near, scale * near_z, far_scale * far_z)
        return x, z

    @property
    def _log_det_near(self) -> Array:
        return jnp.where(self.near, self.log_det, 0.0)


def choose_pivot(problem: MatrixCompletion, w: AnyArray) -> tuple[int, int]:
    """The unobserved entry if there is one and it is not small, else the largest entry."""
    mask = np.asarray(problem.mask)
    entries = np.abs(np.asarray(w))
    free = [(int(i), int(j)) for i, j in np.argwhere(mask == 0)]
    if len(free) == 1 and entries[free[0]] > 1e-2 * entries.max():
        return free[0]
    i, j = np.unravel_index(int(entries.argmax()), (2, 2))
    return int(i), int(j)
