r"""One singular value of an aligned deep linear network, as a function of time, and its inverse.

With singular vectors that stand still, a singular value obeys d sigma/dt = -N sigma^p g, where
p = 2 - 2/N and g = u^T gradient v. If g = rate (sigma - s), x = sigma / |s| and tau = N rate
|s|^p t,

    0 < x < 1:  tau = [T(x)],  T(x) = x^(1-p) / (1-p) + L_b(x),  b = 2/N
    x > 1:      tau = [L_p(1/x)]
    s < 0:      tau = -[E(x)],  E(x) = M_p(1/x) = x^(1-p) / (p-1) + M_b(x) + const

from its start to its end, with L_a(x) the integral of r^(a-1) / (1 - r) from 0 to x, an incomplete
beta function, and M_a(x) that of r^(a-1) / (1 + r). Depth 2 is logistic, depth 1 exponential.
The integrals are series of ratio 1/2 at most; their inverses are Newton iterations in a bracket.

References:
  Saxe, McClelland and Ganguli 2014 (depth 2); arora2019, Theorem 3.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, expit

from gradflow._util.annotations import Checked, Reals
from gradflow._util.validate import positive, whole

_TERMS = 60  # of series of ratio 1/2
_TINY = 1e-140  # targets whose powers underflow count as 0


def singular_value_flow(
    times: Checked[ArrayLike],
    start: Checked[ArrayLike],
    target: Checked[ArrayLike],
    depth: Checked[int],
    rate: Checked[float] = 1.0,
) -> Reals:
    r"""Solution of d sigma/dt = N sigma^(2-2/N) rate (target - sigma).

    Args:
      times: 0 or more; np.inf gives the limit.
      start: sigma(0) >= 0; a 0 stays 0 at depth 2 or more.
      target: of any sign; sigma tends to it, or to 0 if it is negative and N >= 2.
      depth: N, at least 1.
      rate: twice the loss convention's factor: 1 for "half_sum", 2 for "sum", 2/n for "mean".

    Returns:
      sigma, of the shape to which times, start and target broadcast.

    Raises:
      ValueError: on a negative time or start, or a depth or rate that is none.

    Example:
      >>> import numpy as np
      >>> sigma = singular_value_flow(np.array([0.0, 5.0, np.inf]), 1e-3, 2.0, depth=3)
      >>> sigma.round(6).tolist()
      [0.001, 1.817965, 2.0]

    References:
      arora2019, Theorem 3; Saxe et al. 2014 for depth 2.
    """
    return value_and_gap(times, start, target, depth, rate)[0]


def time_to_share(
    share: Checked[ArrayLike],
    start: Checked[ArrayLike],
    target: Checked[ArrayLike],
    depth: Checked[int],
    rate: Checked[float] = 1.0,
) -> Reals:
    r"""When sigma has reached a share of its target: the plateau's length, at any depth.

    From a start far below its target s, sigma stays small for about ln(s / sigma_0) / (2 rate s) at
    depth 2, and for sigma_0^(2/N-1) / ((N-2) rate s) at depth N >= 3.

    Args:
      share: of the target, between sigma(0) / target and 1 (exclusive); above 1 if sigma falls.
      start: sigma(0), above 0 (at depth 1: 0 or more).
      target: above 0.
      depth: N, at least 1.
      rate: as for `singular_value_flow`.

    Returns:
      Times, of the shape to which share, start and target broadcast.

    Raises:
      ValueError: if sigma never has that share, or the target is not above 0.

    Example:
      >>> [round(float(time_to_share(0.5, 1e-4, 1.0, depth)), 3) for depth in (1, 2, 3, 4)]
      [0.693, 4.605, 20.693, 49.729]

    References:
      Saxe et al. 2014 for depth 2.
    """
    depth, rate = whole("depth", depth), positive("rate", rate)
    share, start, s = np.broadcast_arrays(*(np.asarray(v, float) for v in (share, start, target)))
    if np.any(~(s > 0)) or np.any(~(start >= 0)):
        raise ValueError(
            f"target must be above 0 and start not below, but they are {s.ravel()[:3].tolist()} "
            f"and {start.ravel()[:3].tolist()}."
        )
    first = start / s
    rises = first < 1
    reached = np.where(rises, (share >= first) & (share < 1), (share <= first) & (share > 1))
    reached &= (first > 0) | (depth == 1)
    if not np.all(reached):
        at = tuple(np.argwhere(~reached)[0])
        raise ValueError(
            f"From {start[at]:g}, sigma never has the share {share[at]:g} of {s[at]:g}; give one "
            f"between {first[at]:g} and 1, without 1, and a start that is not 0 if depth >= 2."
        )
    if depth == 1:
        return np.log((1 - first) / (1 - share)) / rate
    p = 2 - 2 / depth
    up, down = [], []
    for x in (first, share):
        below, above = np.where(rises, x, 0.5), np.where(rises, 2.0, x)
        up.append(_rising(np.log(below / (1 - below)), depth)[0])
        down.append(_falling(-np.log(above - 1), p)[0])
    return np.where(rises, up[1] - up[0], down[1] - down[0]) / (depth * rate * s**p)


def constant_gradient_flow(
    times: Checked[ArrayLike],
    start: Checked[ArrayLike],
    push: Checked[ArrayLike],
    depth: Checked[int],
) -> Reals:
    r"""Solution of d sigma/dt = N sigma^(2-2/N) push, a singular value in a gradient that stays.

    start + push t at depth 1, start exp(2 push t) at depth 2, and from depth 3 on

        (start^(-(N-2)/N) - (N-2) push t)^(-N/(N-2)),

    which is infinite from t = start^(-(N-2)/N) / ((N-2) push) on, for a push above 0.

    Two singular values that are pushed alternately or by varying but proportional pushes obey it
    with the integral of the push in place of push t, which is Equation (11).

    Args:
      times: 0 or more.
      start: sigma(0), above 0 at depth 2 or more.
      push: minus the gradient along the singular vectors, -u^T gradient v.
      depth: N, at least 1.

    Returns:
      sigma, of the shape to which the arguments broadcast.

    Raises:
      ValueError: on a negative time, a start that is not above 0 at depth 2 or more, or no depth.

    Example:
      >>> constant_gradient_flow([0.0, 1.0, 3.0], 1e-3, 1.0, depth=3).round(6).tolist()
      [0.001, 0.001372, 0.002915]

    References:
      arora2019, Equations (10) and (11) and Lemma 4.
    """
    depth, t = whole("depth", depth), _times(times)
    start = _finite("start", start)
    if depth > 1 and np.any(~(start > 0)):
        raise ValueError(
            f"start must be above 0 at depth {depth}, but it is {start.ravel()[:3].tolist()}."
        )
    push = _finite("push", push)
    with np.errstate(invalid="ignore"):  # no push, for ever
        return pushed(start, np.where(push == 0, 0.0, t * push), depth)


def pushed(start: Reals, push: Reals, depth: int) -> Reals:
    """Where d sigma/dt = N sigma^(2-2/N) g has taken sigma once g's integral is `push`."""
    if depth == 1:
        return start + push
    if depth == 2:
        return start * np.exp(2 * push)
    power = 1 - 2 / depth
    base = 1 - (depth - 2) * start**power * push
    with np.errstate(divide="ignore"):
        return start * np.maximum(base, 0.0) ** (-1 / power)


def value_and_gap(
    times: Checked[ArrayLike],
    start: Checked[ArrayLike],
    target: Checked[ArrayLike],
    depth: Checked[int],
    rate: Checked[float],
) -> tuple[Reals, Reals]:
    """`singular_value_flow`, and target - sigma with its own digits."""
    depth, rate, t = whole("depth", depth), positive("rate", rate), _times(times)
    t, begin, s = np.broadcast_arrays(t, _finite("start", start), _finite("target", target))
    if np.any(~(begin >= 0)):
        raise ValueError(
            f"start must be 0 or more, but it holds {begin[~(begin >= 0)][0]:g}; a negative "
            "singular value is one of the other sign with a singular vector turned round."
        )
    if depth == 1:
        gap = (s - begin) * np.exp(-rate * t)
        return begin - (s - begin) * np.expm1(-rate * t), gap
    if depth == 2:
        return _logistic(2 * rate * t, begin, s)
    return _deep(t, begin, s, depth, rate)


def _times(times: Checked[ArrayLike]) -> np.ndarray:
    t = np.asarray(times, float)
    if np.any(~(t >= 0)):
        raise ValueError(f"times must be 0 or more, but they hold {t[~(t >= 0)][0]:g}.")
    return t


def _finite(name: str, numbers: Checked[ArrayLike]) -> np.ndarray:
    found = np.asarray(numbers, float)
    if not np.all(np.isfinite(found)):
        raise ValueError(
            f"{name} must be finite, but it holds {found[~np.isfinite(found)][0]:g}; only times "
            "may be infinite."
        )
    return found


def _logistic(clock: Reals, begin: Reals, s: Reals) -> tuple[Reals, Reals]:
    """Depth 2; the clock is 2 rate t."""
    zero = np.abs(s) < _TINY
    safe = np.where(zero, 1.0, s)
    with np.errstate(over="ignore", invalid="ignore"):
        decay = np.where(zero, 1.0, np.exp(-safe * clock))
        spent = np.where(zero, clock, -np.expm1(-safe * clock) / safe)
        share = np.maximum(begin, 1.0)  # large starts would overflow where their solution does not
        below = decay / share + (begin / share) * spent
        value = np.where(np.isinf(below), 0.0, (begin / share) / below)
        gap = np.where(np.isinf(below), s, (s - begin) * (decay / share / below))
    still = begin == 0
    return np.where(still, 0.0, value), np.where(still, s, gap)


def _deep(t: Reals, begin: Reals, s: Reals, depth: int, rate: float) -> tuple[Reals, Reals]:
    """Depth 3 or more: each kind of motion apart."""
    p = 2 - 2 / depth
    value, gap = np.array(begin), np.array(s - begin)
    size = np.abs(s)
    moves, ends = (begin > 0) & (begin != s), np.isinf(t)
    vanishes = moves & ends & (s < _TINY)
    value[vanishes], gap[vanishes] = 0.0, s[vanishes]
    arrives = moves & ends & ~vanishes
    value[arrives], gap[arrives] = s[arrives], 0.0
    moves &= ~ends

    at = moves & (size < _TINY)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        clock = p * depth * rate * t[at]
        grown, log = begin[at] ** p * clock, p * np.log(begin[at]) + np.log(clock)
        ratio = np.where(np.isfinite(grown), (1 + grown) ** (-1 / p), np.exp(-log / p))
    value[at] = np.where(clock > 0, begin[at] * ratio, begin[at])
    gap[at] = s[at] - value[at]
    tau = depth * rate * size**p * np.where(ends, 0.0, t)

    at = moves & (s >= _TINY) & (begin < s)
    z = _follow_rise(np.log(begin[at] / (s[at] - begin[at])), tau[at], depth)
    value[at], gap[at] = s[at] * expit(z), s[at] * expit(-z)

    at = moves & (s >= _TINY) & (begin > s)
    z = _follow_fall(np.log(s[at] / (begin[at] - s[at])), tau[at], p)
    value[at], gap[at] = s[at] / expit(z), -s[at] * np.exp(-z)

    at = moves & (s <= -_TINY)
    z = _follow_decay(np.log(begin[at] / size[at]), tau[at], depth)
    value[at] = size[at] * np.exp(z)
    gap[at] = s[at] - value[at]
    return value, gap


def _rising(z: Reals, depth: int) -> tuple[Reals, Reals]:
    """T(x) and its slope in z = ln(x / (1 - x))."""
    if depth == 2:
        return z, np.ones_like(z)
    b = 2 / depth
    power = np.exp((1 - b) * np.logaddexp(0.0, -z))
    return power / (b - 1) + _beta(z, b), power


def _falling(z: Reals, p: float) -> tuple[Reals, Reals]:
    """L_p(X) and its slope in z = ln(X / (1 - X)), X = 1/x."""
    return _beta(z, p), np.exp(-p * np.logaddexp(0.0, -z))


def _decaying(z: Reals, depth: int) -> tuple[Reals, Reals]:
    """-E(x) and its slope in z = ln x."""
    b, p = 2 / depth, 2 - 2 / depth
    constant = _alternating(np.zeros(()), p) - 1 / (1 - b) - _alternating(np.zeros(()), b)
    small, large = np.minimum(z, 0.0), np.minimum(-z, 0.0)
    near = np.exp((b - 1) * small) / (1 - b) + _alternating(small, b) + constant
    slope = np.exp((b - 1) * z - np.logaddexp(0.0, z))
    return -np.where(z < 0, near, _alternating(large, p)), slope


def _beta(z: Reals, a: float) -> Reals:
    """L_a(x) = int_0^x r^(a-1) / (1 - r) dr with 0 < a < 2, x = 1 / (1 + exp(-z))."""
    k = np.arange(_TERMS)
    x, y = expit(np.minimum(z, 0.0)), expit(-np.maximum(z, 0.0))
    near_zero = x**a * np.polynomial.polynomial.polyval(x, 1 / (a + k))
    # ((1 - r)^(a-1) - 1) / r integrated term by term from 0 to y.
    ratios = np.cumprod((k - a + 1) / (k + 1)) / (k + 1)
    rest = y * np.polynomial.polynomial.polyval(y, ratios)
    near_one = np.logaddexp(0.0, z) - digamma(a) - np.euler_gamma - rest
    return np.where(z < 0, near_zero, near_one)


def _alternating(z: Reals, a: float) -> Reals:
    """M_a(x) = int_0^x r^(a-1) / (1 + r) dr with x = exp(z) <= 1, by Pfaff's transformation."""
    k = np.arange(1, _TERMS)
    series = np.concatenate([[1.0], np.cumprod(k / (a + k))]) / a
    q = expit(z)
    return np.exp(a * z) * (1 - q) * np.polynomial.polynomial.polyval(q, series)


def _follow_rise(first: Reals, tau: Reals, depth: int) -> Reals:
    """Z where T has grown by tau since `first`: between where slopes 1 and x^(1-p) lead."""
    b = 2 / depth
    target = _rising(first, depth)[0] + tau
    half = _rising(np.zeros(()), depth)[0]
    # For small x, T = x^(b-1) / (b-1) gives x; for large x, T = z + const.
    log_x = np.minimum(-np.log(np.maximum((b - 1) * target, 1e-3)) / (1 - b), -np.log(2.0))
    early = log_x - np.log1p(-np.exp(log_x))
    guess = np.where(target < half, early, target - half)
    return _invert(lambda z: _rising(z, depth), target, first, first + tau, guess)


def _follow_fall(first: Reals, tau: Reals, p: float) -> Reals:
    """Z where L_p has grown by tau since `first`."""
    target = _falling(first, p)[0] + tau
    log_x = np.log(p * target) / p  # L_p >= X^p / p
    late = target + digamma(p) + np.euler_gamma
    early = log_x - np.log1p(-np.exp(np.minimum(log_x, -np.log(2.0))))
    guess = np.where(log_x < -np.log(2.0), early, late)
    # Both are above the solution; the slope X^p <= 1 gives what is below.
    return _invert(lambda z: _falling(z, p), target, first + tau, guess + 1, guess)


def _follow_decay(first: Reals, tau: Reals, depth: int) -> Reals:
    """Z = ln x where -E has fallen by tau since `first`."""
    b = 2 / depth
    target = _decaying(first, depth)[0] - tau
    # dx/dtau lies between -x^p (1 + x_0) and -x^p.
    power = np.exp((b - 1) * first)
    low, high = (
        -np.log(power + (1 - b) * factor * tau) / (1 - b) for factor in (1 + np.exp(first), 1.0)
    )
    return _invert(lambda z: _decaying(z, depth), target, low, high, low)


def _invert(
    function: Callable[[Reals], tuple[Reals, Reals]],
    target: Reals,
    low: Reals,
    high: Reals,
    guess: Reals,
) -> Reals:
    """Where a rising function with known slope has the target: Newton, bisection if it leaves."""
    z = np.clip(guess, low, high)
    for _ in range(200):
        value, slope = function(z)
        error = value - target
        low, high = np.where(error < 0, z, low), np.where(error > 0, z, high)
        after = z - error / slope
        after = np.where((after >= low) & (after <= high), after, (low + high) / 2)
        done = np.all(np.abs(after - z) <= 4 * np.finfo(float).eps * np.maximum(1.0, np.abs(z)))
        z = after
        if done:
            break
    return z
