r"""The norm blow-up at depth 2, asymptotically: what the flow does once it has become slow.

For `gradflow.synthetic.norm_blowup()` write W = [[x, 1 - e], [1 - e, v]]. A symmetric positive
definite W of depth 2 obeys dW/dt = -rate (W G + G W) with G = W - target on the observed entries,
so

    dx = 2 e (1 - e),  de = -(x + v) e + (1 - e) v,  dv = 2 e (1 - e) - 2 v^2,  d log det = -2 v

per rate dt. The rank falls first: det W becomes exp(-x^2/2) times a power, and e is forgotten like
exp(-x^4/8), as is a difference of w12 and w21. What is left is one curve, v = (1 - e)^2 / x with e
a power series in q = 1/x^2 that satisfies

    e = q (1 - 2 e) (1 - e)^2 + 4 q^2 (de/dq) e (1 - e) = q - 4 q^2 + 25 q^3 - ...,

run through at its own pace. With dt = dx / (2 e (1 - e)) and d log det = -(1 - e) dx / (x e),

    rate t + const     = x^3/6 + 5 x/2 + 4/x + ...     x ~ (6 rate t)^(1/3)
    log det W + const  = -x^2/2 - 3 log x - 9 / (2 x^2) + ...
    2 loss / rate      = 2 e^2 + v^2 = q - 2 q^2 + 6 q^3 - ...    ~ (6 rate t)^(-2/3)

so that sigma_1 ~ x and the distance from rank 1, sigma_2 ~ const x^(-4) exp(-rate / (4 loss)).
The two constants are what the start decides: a shift of time, and a factor of the determinant.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked, Reals
from gradflow._util.validate import require_float64, whole
from gradflow.exact._record import record_times, trajectory
from gradflow.linalg.spectrum import log_singular_values_2x2
from gradflow.observables import Observe
from gradflow.problems.base import AbstractProblem
from gradflow.problems.completion import MatrixCompletion
from gradflow.trajectory import Trajectory

LEAST_ENTRY = 8.0
"""From which |unobserved entry / z| on the series count: det W is below exp(-32) const there."""


class Shifts(NamedTuple):
    """What the start of a flow decides for ever.

    Attributes:
      time: the flow at t is where the unshifted solution is at t - time.
      log_det: log |det W| of the flow minus what the unshifted solution says.
      sign: +1 or -1, of the unobserved entry.
    """

    time: float = 0.0
    log_det: float = 0.0
    sign: float = 1.0


def norm_blowup_tail(
    problem: Checked[MatrixCompletion],
    times: Checked[ArrayLike],
    shifts: Shifts | None = None,
    *,
    terms: Checked[int] = 6,
    observe: Observe | None = None,
) -> Trajectory:
    r"""The norm blow-up at depth 2 for large times, as asymptotic series; see the module.

    With K terms and the flow's own shifts the relative errors are O(w11^(-2K)) = O(t^(-2K/3)): with
    the default 6 at most 2e-6 at |w11 / z| = 8, 3e-8 at 12 and 3e-11 at 25, in flows from three
    starts; the gradient norm's is the largest, 20 times the loss's.
    Without shifts w11 has a relative error O(1/t), and the determinant is right up to a factor.

    Args:
      problem: `gradflow.synthetic.norm_blowup` at 2x2 with epsilon = 0 and |z| = |z'|, anywhere, of
        any loss convention.
      times: rising times from valid_from on. The solution at valid_from, where |w11 / z| is 8, is
        always recorded, first.
      shifts: from `norm_blowup_shifts`, or none.
      terms: K, at least 1.
      observe: as for `gradflow.solve_flow`.

    Returns:
      A `Trajectory` that starts at valid_from, which is in its stats too; "log_abs_det" and the
      loss have all digits also where W has lost them.

    Raises:
      ValueError: if the problem is another one, or times do not rise from valid_from on or are
        infinite, where W has no limit.

    Example:
      >>> import gradflow as gf
      >>> run = norm_blowup_tail(gf.synthetic.norm_blowup(), [1e3, 1e6, 1e9])
      >>> run["unobserved_entries"][1:, 0].round(2).tolist()  # about (6 t)^(1/3)
      [17.89, 181.68, 1817.12]

    References:
      razin2020, Theorem 1 and Equations (6) and (7), for the problem; the series are ours.
    """
    shifts = Shifts() if shifts is None else shifts
    terms = whole("terms", terms)
    place, z, z_prime = _place(problem)
    require_float64("A closed form", problem=problem)
    size = abs(z)
    rate, c = 2 * problem.weight * size, problem.weight
    first = float(_clock(np.array(LEAST_ENTRY), terms)) / rate + shifts.time
    grid = record_times(times, first)
    if np.isinf(grid[-1]):
        raise ValueError("times must be finite: the flow's norms grow for ever, without a limit.")
    x = _entry(rate * (grid - shifts.time), terms)
    log_det = _log_det(x, terms) + 2 * np.log(size) + shifts.log_det
    curve = _on_curve(x, terms)
    w = np.empty((len(x), 2, 2))
    i, j = place
    w[:, i, j] = shifts.sign * size * x
    w[:, i, 1 - j], w[:, 1 - i, j] = z * (1 - curve.e), z_prime * (1 - curve.e)
    w[:, 1 - i, 1 - j] = shifts.sign * np.sign(z * z_prime) * size * curve.v
    s = np.exp(np.asarray(log_singular_values_2x2(np.sum(w**2, axis=(1, 2)), log_det))).T
    return trajectory(
        "norm blow-up, asymptotically",
        problem,
        2,
        grid,
        w,
        known={
            "loss": c * size**2 * (2 * curve.e**2 + curve.v**2),
            "gradient_norm": 2 * c * np.sqrt(size**3 * curve.square),
            "singular_values": s,
            "log_abs_det": log_det,
            # All three observed entries are fitted by determinants of the other sign only.
            "det_sign": np.full(len(x), np.sign(z * z_prime) * (1.0 if i == j else -1.0)),
        },
        initial={"W": w[0]},
        final={"W": w[-1]},
        observe=observe,
        stats={"valid_from": first, "terms": terms, **shifts._asdict()},
    )


def norm_blowup_shifts(
    problem: Checked[MatrixCompletion], flow: Trajectory, *, record: int = -1, terms: int = 6
) -> Shifts:
    """The two constants of a flow that `norm_blowup_tail` does not know, from one of its records.

    Args:
      problem: what the flow fits.
      flow: of depth 2, with "unobserved_entries" and "log_abs_det" recorded.
      record: which; where the unobserved entry is large, errors of the flow's time are, too: 10 to
        100 times |z| is best.
      terms: as for `norm_blowup_tail`.

    Raises:
      ValueError: if these were not recorded, or the entry is too small for the series.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> start, seen = (
      ...     gf.factorizations.identity_factors((2, 2, 2), 0.1),
      ...     ("unobserved_entries", "log_abs_det"),
      ... )
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-3, observe=seen)
      >>> shifts = norm_blowup_shifts(gf.synthetic.norm_blowup(), flow)
      >>> later = gf.solve_flow(objective, start, stop_loss=1e-6, observe=seen)
      >>> tail = norm_blowup_tail(gf.synthetic.norm_blowup(), [later.times[-1]], shifts)
      >>> print(f"{tail['loss'][-1]:.6e}")
      1.000000e-06
    """
    _, z, _ = _place(problem)
    missing = [n for n in ("unobserved_entries", "log_abs_det") if n not in flow.observables]
    if missing:
        raise ValueError(
            f"The flow has not recorded {missing[0]!r}; run it again with "
            'observe=("unobserved_entries", "log_abs_det").'
        )
    entry = float(flow["unobserved_entries"][record, 0])
    x = np.array(abs(entry / z))
    if x < LEAST_ENTRY:
        raise ValueError(
            f"The unobserved entry is {entry:.3g}, below {LEAST_ENTRY:g} times |z| = {abs(z):g}, "
            "where the series are not yet valid; follow the flow to a smaller loss."
        )
    rate = 2 * problem.weight * abs(z)
    log_det = float(flow["log_abs_det"][record] - _log_det(x, terms) - 2 * np.log(abs(z)))
    time = float(flow.times[record] - _clock(x, terms) / rate)
    return Shifts(time, log_det, float(np.sign(entry)))


class _Curve(NamedTuple):
    """Coefficients in q = x^-2.

    Attributes:
      e: of e, from q^0 (which is 0) to q^K.
      time: of q / (e (1 - e)), which is 2 q dt/dx.
      det: of q (1 - e) / e, which is -(d log det/dx) / x.
    """

    e: np.ndarray
    time: np.ndarray
    det: np.ndarray


@cache
def _series(terms: int) -> _Curve:
    """The first coefficients, by iterating the equation of e: each time one more is right."""

    def times(a: list[int], b: list[int]) -> list[int]:
        return [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(len(a))]

    def inverse(a: list[int]) -> list[int]:  # of a series that starts with 1
        found = [1]
        for k in range(1, len(a)):
            found.append(-sum(a[i] * found[k - i] for i in range(1, k + 1)))
        return found

    e = [0, 1, *[0] * (terms - 1)]
    for _ in range(terms):
        rest, twice = [1 - e[0], *(-v for v in e[1:])], [1, *(-2 * v for v in e[1:])]
        first = times(twice, times(rest, rest))
        derivative = [k * v for k, v in enumerate(e)]  # of q de/dq
        second = times(derivative, times(e, rest))
        e = [0, *(a + 4 * b for a, b in zip(first[:-1], second[:-1], strict=True))]
    scaled = e[1:]
    rest = [1, *(-v for v in e[1:-1])]
    time = inverse(times(scaled, rest))
    det = times(inverse(scaled), rest)
    return _Curve(*(np.array(v, float) for v in (e, time, det)))


class _Point(NamedTuple):
    """Where the flow is at given x, for z = z' = 1.

    Attributes:
      e: 1 - w12.
      v: w22.
      square: of the gradient's norm, in units of its factor.
    """

    e: Reals
    v: Reals
    square: Reals


def _on_curve(x: Reals, terms: int) -> _Point:
    """The curve that all flows end up on."""
    q, series = x**-2, _series(terms).e
    e, slope = polyval(q, series), polyval(q, polyder(series))
    u, v = 1 - e, (1 - e) ** 2 / x
    speed = -4 * q * slope * e * u / x  # de per rate dt
    return _Point(e, v, 2 * ((e * u) ** 2 + (speed + e * v) ** 2) / x)


def _clock(x: Reals, terms: int) -> Reals:
    """Rate times time, up to a shift, as a function of x."""
    coefficients = _series(terms).time
    k = np.arange(terms)
    return x**3 / 2 * polyval(x**-2, coefficients / (3 - 2 * k))


def _log_det(x: Reals, terms: int) -> Reals:
    """Log det W up to a constant."""
    coefficients = _series(terms).det
    k = np.arange(2, terms)
    tail = np.concatenate([[0.0], coefficients[2:] / (2 * k - 2)])
    linear = coefficients[1] * np.log(x) if terms > 1 else 0.0
    return -(x**2) / 2 - linear + polyval(x**-2, tail)


def _entry(clock: Reals, terms: int) -> Reals:
    """The x of which `_clock` is this, by Newton's method from its leading term."""
    x = np.cbrt(6 * clock)
    for _ in range(50):
        slope = x**2 / 2 * polyval(x**-2, _series(terms).time)
        step = (_clock(x, terms) - clock) / slope
        x = x - step
        if np.all(np.abs(step) <= 4 * np.finfo(float).eps * x):
            break
    return x


def _place(problem: AbstractProblem) -> tuple[tuple[int, int], float, float]:
    """Where the unobserved entry is, and z and z'."""
    remedy = (
        "use gradflow.synthetic.norm_blowup(z, z_prime) with |z| = |z_prime|, or "
        "gradflow.solve_flow."
    )
    if not isinstance(problem, MatrixCompletion) or problem.shape != (2, 2):
        raise ValueError(
            f"The series are for 2x2 matrix completion, not a {type(problem).__name__} of shape "
            f"{problem.shape}; {remedy}"
        )
    free = np.argwhere(np.asarray(problem.mask) == 0)
    if len(free) != 1:
        raise ValueError(f"{len(free)} entries are unobserved, but it must be one; {remedy}")
    i, j = (int(k) for k in free[0])
    target = np.asarray(problem.target)
    z, z_prime, epsilon = (float(target[at]) for at in ((i, 1 - j), (1 - i, j), (1 - i, 1 - j)))
    if epsilon != 0 or z == 0 or abs(z) != abs(z_prime):
        raise ValueError(
            f"The series need epsilon = 0 and |z| = |z_prime| > 0, but epsilon = {epsilon:g}, "
            f"z = {z:g} and z_prime = {z_prime:g}; {remedy}"
        )
    return (i, j), z, z_prime
