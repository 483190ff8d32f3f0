r"""Where flows of diagonal networks end: least potentials, and the least l1 norm."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive
from gradflow.exact._diagonal_start import positive_start
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.problems.regression import LeastSquares

_STEPS = 500
_IDLE = 30
"""So many steps below the rounding of the value, none of which brings them nearer, are the end."""
_MISFIT = 1e-9
"""The largest relative misfit of what fits."""
_KNOWN = 1e-6
"""How far beta may be from what its dual variable gives, relative to its norm."""


class LeastNorm(NamedTuple):
    """An interpolant X beta = y that minimises a convex function.

    Attributes:
      beta: it.
      value: of the function there.
      gap: what it may be above the least, by a dual certificate; relative to the larger of the
        value and <dual, y>, of which the value is a difference.
      dual: nu, one number a datum.
      misfit: ||X beta - y|| / ||y||, of the least l1 norm with rows of X of size 1.
    """

    beta: Float[np.ndarray, " size"]
    value: float
    gap: float
    dual: Float[np.ndarray, " data"]
    misfit: float


def minimum_potential(
    objective: Objective, start: Checked[Factors], *, rtol: Checked[float] = 1e-12
) -> LeastNorm:
    r"""Where the flow of a diagonal network ends if it fits its data, from any start.

    Along every flow beta is a function of the dual eta = -int G dt, which stays in the range of
    X^T. That function is the gradient of the convex sum over entries

        Q*(eta) = (w_+(eta)^2 + w_-(eta)^2 - w_+(0)^2 - w_-(0)^2) / (2 D),

    with w_+(eta) = w_+(0) e^(2 eta) at D = 2 and (w_+(0)^(2-D) - D (D-2) eta)^(-1/(D-2)) beyond,
    and -eta for w_-. So the limit minimises the convex conjugate Q over X beta = y. From w_+ = w_-
    = alpha at D = 2

        4 Q(beta) = alpha^2 sum q(beta_i / alpha^2),    q(z) = 2 - (4 + z^2)^(1/2) + z arcsinh(z/2),

    and beta = 2 alpha^2 sinh(4 eta). By Newton's method on nu -> <nu, y> - Q*(X^T nu).

    Args:
      objective: a `LeastSquares` of a vector, with a `DiagonalNetwork`.
      start: the parameters (w_+, w_-), all above 0.
      rtol: the gap to reach, relative to the value.

    Returns:
      The minimiser, Q there and the gap to the dual's value.

    Raises:
      ValueError: on another problem or factorisation, a parameter that is not above 0, or if
        the gap is not reached, as where no beta fits, or parameters are so small that float64 does
        not tell beta from its dual variable, such as alpha^(D-2) < 1e-10 at D >= 3.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.LeastSquares([[1.0, 2.0]], [1.0]), gf.DiagonalNetwork(2, 2))
      >>> for alpha in (10.0, 1e-3):  # from the least l2 norm to the least l1 norm
      ...     least = minimum_potential(objective, objective.factorization.identity(alpha))
      ...     print(least.beta.round(2).tolist(), least.gap < 1e-12)
      [0.2, 0.4] True
      [0.0, 0.5] True

    References:
      Woodworth et al. 2020, Theorem 1 and its generalisation to depth D.
    """
    problem, model, plus, minus = positive_start(objective, start, "A potential")
    x, y = np.asarray(problem.inputs), np.asarray(problem.targets)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    kept = s > s[0] * max(x.shape) * np.finfo(float).eps
    rows, right = vt[kept], (u[:, kept].T @ y) / s[kept]
    potential = _Potential(plus, minus, model.depth)
    z, beta = _ascend(potential, rows, right)
    beta = beta + rows.T @ (right - rows @ beta)
    eta = potential.inverse(beta, rows.T @ z)
    value = float(eta @ beta - potential.conjugate(eta))
    bound = float(z @ right - potential.conjugate(rows.T @ z))
    size = max(abs(value), abs(float(eta @ beta)), np.finfo(float).tiny)
    gap = abs(value - bound) / size
    misfit = float(np.linalg.norm(x @ beta - y) / (np.linalg.norm(y) or 1.0))
    known = float(np.linalg.norm(potential.gradient(eta) - beta) / (np.linalg.norm(beta) or 1.0))
    if not known <= _KNOWN:
        raise ValueError(
            f"From so small parameters the dual variable tells beta to {known:.3g} only; start "
            "from larger ones, or, if they are equal, take the limit, "
            "gradflow.exact.minimum_l1_norm."
        )
    if not gap <= positive("rtol", rtol) or misfit > _MISFIT:
        raise ValueError(
            f"The gap is {gap:.3g} and the misfit {misfit:.3g} in the end; if the data "
            "can be fitted, ask for a larger rtol."
        )
    return LeastNorm(beta, value, gap, u[:, kept] @ (z / s[kept]), misfit)


def minimum_l1_norm(problem: Checked[LeastSquares]) -> LeastNorm:
    r"""The least ||beta||_1 with X beta = y, by linear programming.

    The dual nu, scaled to ||X^T nu||_inf <= 1, bounds every interpolant's norm from below by
    <nu, y>. It is where flows of diagonal networks from a vanishing start end, at depth 2 and, from
    equal parameters, at every depth.

    Args:
      problem: a `LeastSquares` of a vector.

    Returns:
      A minimiser, its norm and the relative gap to <nu, y>.

    Raises:
      ValueError: on another problem, or if no beta fits.

    Example:
      >>> import gradflow as gf
      >>> least = minimum_l1_norm(gf.LeastSquares([[1.0, 2.0]], [1.0]))
      >>> least.beta.tolist(), least.value, least.gap < 1e-12
      ([0.0, 0.5], 0.5, True)

    References:
      Chen, Donoho and Saunders 1998; Pesme and Flammarion 2023.
    """
    if not isinstance(problem, LeastSquares) or len(problem.shape) != 1:
        raise ValueError(
            f"The least l1 norm is of a LeastSquares of a vector, not of {type(problem).__name__} "
            f"with shape {problem.shape}; build one."
        )
    from scipy.optimize import linprog  # half a second to import

    x, y = np.asarray(problem.inputs, float), np.asarray(problem.targets, float)
    size = x.shape[1]
    # The solver's tolerances are absolute: equations are of size 1 to it, and so are labels.
    row = np.max(np.abs(x), axis=1)
    row = np.where(row > 0, row, np.max(np.abs(x)) or 1.0)
    x_unit, y_unit = x / row[:, None], y / row
    unit = float(np.max(np.abs(y_unit))) or 1.0
    y_unit = y_unit / unit
    found = linprog(np.ones(2 * size), A_eq=np.hstack([x_unit, -x_unit]), b_eq=y_unit)
    if found.status != 0:
        raise ValueError(f"No beta fits the data ({found.message}); leave equations out.")
    beta, nu = found.x[:size] - found.x[size:], found.eqlin.marginals
    nu = nu / max(1.0, float(np.max(np.abs(x_unit.T @ nu), initial=0.0)))
    value = float(np.sum(np.abs(beta)))
    gap = max(value - float(nu @ y_unit), 0.0) / (value or 1.0)
    misfit = float(np.linalg.norm(x_unit @ beta - y_unit) / (np.linalg.norm(y_unit) or 1.0))
    if misfit > _MISFIT:
        raise ValueError(
            f"No beta fits the data: the best that was found leaves {misfit:.3g} of them; leave "
            "equations out."
        )
    return LeastNorm(unit * beta, unit * value, gap, nu / row, misfit)


class _Potential(NamedTuple):
    """Q* and its derivatives."""

    plus: np.ndarray
    minus: np.ndarray
    depth: int

    def inside(self, eta: np.ndarray) -> bool:
        """Whether Q* is finite there."""
        low = self.depth - 2
        if low == 0:
            return bool(np.all(np.abs(eta) < 150.0))
        rest = self.depth * low * eta
        return bool(np.all(self.plus**-low > rest) and np.all(self.minus**-low > -rest))

    def room(self, eta: np.ndarray, move: np.ndarray) -> float:
        """How often a move fits between eta and where Q* ends."""
        low = self.depth - 2
        if low == 0:
            above, below = 150.0 - eta, 150.0 + eta
        else:
            ends = (side**-low / (self.depth * low) for side in (self.plus, self.minus))
            above, below = next(ends) - eta, next(ends) + eta
        with np.errstate(divide="ignore", invalid="ignore"):
            fits = np.where(move > 0, above / move, np.where(move < 0, -below / move, np.inf))
        return float(np.min(fits))

    def sides(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(w_+, w_-)."""
        low = self.depth - 2
        if low == 0:
            return self.plus * np.exp(2 * eta), self.minus * np.exp(-2 * eta)
        rest = self.depth * low * eta
        return (self.plus**-low - rest) ** (-1 / low), (self.minus**-low + rest) ** (-1 / low)

    def conjugate(self, eta: np.ndarray) -> float:
        """Q*."""
        low, sides = self.depth - 2, ((self.plus, 1.0), (self.minus, -1.0))
        linear = float(eta @ (self.plus**self.depth - self.minus**self.depth))
        rest = 0.0
        for start, sign in sides:
            x = sign * (4 * eta if low == 0 else self.depth * low * start**low * eta)
            rest += float(np.sum(start**2 * _beyond_linear(x, low)))
        return linear + rest / (2 * self.depth)

    def gradient(self, eta: np.ndarray) -> np.ndarray:
        """The gradient of Q*: beta."""
        plus, minus = self.sides(eta)
        return plus**self.depth - minus**self.depth

    def slopes(self, eta: np.ndarray) -> np.ndarray:
        """The second derivatives of Q*."""
        plus, minus = self.sides(eta)
        power = 2 * self.depth - 2
        return self.depth**2 * (plus**power + minus**power)

    def inverse(self, beta: np.ndarray, near: np.ndarray) -> np.ndarray:
        """The eta that has this beta, by Newton's method from a near one."""
        eta = near
        for _ in range(3):
            slopes = self.slopes(eta)
            if not np.all(slopes > 0):
                break
            step = (beta - self.gradient(eta)) / slopes
            if not self.inside(eta + step):
                break
            eta = eta + step
        return eta


def _beyond_linear(x: Float[np.ndarray, " size"], low: int) -> Float[np.ndarray, " size"]:
    """Of e^x (low = 0), or of (1 - x)^(-2/low): what is beyond 1 and the linear term."""
    power = 2 / low if low else 0.0
    near = np.abs(x) < 0.05
    far = np.where(near, 0.0, x)
    term, total = np.where(near, x, 0.0) * (power if low else 1.0), np.zeros_like(x)
    small = np.where(near, x, 0.0)
    for k in range(2, 15):
        term = term * small * ((power + k - 1) if low else 1.0) / k
        total = total + term
    direct = (1 - far) ** -power - 1 - power * far if low else np.expm1(far) - far
    return np.where(near, total, direct)


def _ascend(
    potential: _Potential, rows: Float[np.ndarray, "k size"], right: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " size"]]:
    """The z where rows beta(rows^T z) = right: Newton's method, damped where it overshoots."""
    z, best, idle = np.zeros(len(right)), np.inf, 0
    for _ in range(_STEPS):
        eta = rows.T @ z
        slope = right - rows @ potential.gradient(eta)
        matrix = (rows * potential.slopes(eta)) @ rows.T
        step = np.linalg.lstsq(matrix, slope, rcond=None)[0]
        gain = float(slope @ step)
        if not gain > 0:
            break
        step = step * min(1.0, 0.9 * potential.room(eta, rows.T @ step))
        value = float(z @ right) - potential.conjugate(eta)
        for _ in range(200):
            tried = z + step
            if potential.inside(rows.T @ tried):
                reached = float(tried @ right) - potential.conjugate(rows.T @ tried)
                if reached >= value + 1e-4 * float(slope @ step) - 1e-15 * abs(value):
                    break
            step = step / 2
        else:
            break
        z = z + step
        idle = idle + 1 if best / 2 < gain < 1e-15 * abs(value) else 0
        if gain < 1e-30 * max(abs(value), 1e-300) or idle == _IDLE:
            break
        best = min(best, gain)
    return z, potential.gradient(rows.T @ z)
