r"""Arora et al. 2019: minimal nuclear norm in the limit of a small start (Theorems 1, 2, Prop. 1).

With commuting measurements everything is diagonal in one frame: write w for the diagonal of W and
a_i for those of the measurements, so that losses are zero where sum_k (a_i)_k w_k = y_i. From alpha
I the flow ends, where it ends at zero loss with finite s(infinity), at

    w_k = (x_k / e)^(-N/(N-2)), e = alpha^(N-2), for N >= 3;    w_k = exp(-x_k / e),
    e = 1/(2 log(1/alpha)), for N = 2;    x = 1 - sum_i nu_i a_i,

with the one nu for which the measurements fit (Equation (16), and its analogue at N = 2). It is the
maximum of the concave function nu.y - sum_k Phi(x_k), whose derivative in nu_i is y_i - a_i.w. So
limits need no long flows: e is taken down to 1e-6 (at N = 2 that is alpha = exp(-500000)) by
Newton's method in 60 digits. The minimal nuclear norm over positive semidefinite W is a linear
programme in w (the part of W off the diagonal can be dropped without changing trace or
measurements), solved in rational numbers, with the dual vector as the certificate: if
sum_i nu_i A_i <= I then trace W >= nu.y for every positive semidefinite W that fits, diagonal or
not.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import mpmath
import numpy as np
from scipy.stats import ortho_group

from gradflow.claims import Best, Case, Confirmation, Measured, Settings, claim, roundings

from . import _proofs_nuclear
from ._linear_programmes import Rows, minimal_trace
from .commuting import TIMES, commuting_hypotheses, follow

PRECISION = 60


class Path(NamedTuple):
    """Ends of flows for falling e.

    Attributes:
      scales: the values of e.
      ends: w for each, in mpmath numbers.
      misfits: the largest |A w - y| for each.
    """

    scales: list[Any]
    ends: list[Any]
    misfits: list[Any]


def ends_of_flows(a: Rows, y: Sequence[Any], depth: int, last: float) -> Path:
    """`_ends_of_flows`, each computed once."""
    return _ends_of_flows(tuple(map(tuple, a)), tuple(y), depth, last)


@cache
def _ends_of_flows(
    a: tuple[tuple[int, ...], ...], y: tuple[Any, ...], depth: int, last: float
) -> Path:
    """The ends of flows for e = 1, 1/2, 1/4, ... down to `last`, by Newton's method in nu."""
    with mpmath.workdps(PRECISION):
        matrix = mpmath.matrix([list(row) for row in a])
        labels = mpmath.matrix([mpmath.mpf(str(x)) for x in y])
        nu = mpmath.matrix(len(y), 1)
        scale, before, path = mpmath.mpf(1), None, Path([], [], [])
        while True:
            found = _maximise(matrix, labels, depth, scale, nu)
            w = _entries(matrix, found, depth, scale)[1]
            path.scales.append(scale)
            path.ends.append(w)
            path.misfits.append(max(abs(x) for x in matrix * w - labels))
            if scale <= last:
                return path
            # nu tends to the dual optimum like e, so half of e halves the distance.
            guess = found if before is None else found + (found - before) / 2
            before, scale = found, scale / 2
            ahead = _entries(matrix, guess, depth, scale)[0]
            nu = guess if depth == 2 or min(ahead) > 0 else found


def _entries(matrix: Any, nu: Any, depth: int, e: Any) -> tuple[Any, Any, Any]:
    """x, w and -dw/dx."""
    x = mpmath.matrix([1 - s for s in matrix.T * nu])
    if depth == 2:
        w = mpmath.matrix([mpmath.exp(-s / e) for s in x])
        return x, w, [s / e for s in w]
    power = mpmath.mpf(depth) / (depth - 2)
    w = mpmath.matrix([(s / e) ** -power if s > 0 else mpmath.inf for s in x])
    return x, w, [power * v / s if s > 0 else mpmath.inf for v, s in zip(w, x, strict=True)]


def _maximise(matrix: Any, labels: Any, depth: int, e: Any, nu: Any) -> Any:
    def value(nu: Any) -> Any:
        x, w, _ = _entries(matrix, nu, depth, e)
        if depth > 2 and min(x) <= 0:
            return -mpmath.inf
        # Phi' = -w: Phi = e w at depth 2 and (N - 2)/2 x w at depth N.
        total = sum(e * s for s in w) if depth == 2 else sum(
            mpmath.mpf(depth - 2) / 2 * s * t for s, t in zip(x, w, strict=True)
        )  # fmt: skip
        return (nu.T * labels)[0] - total

    now = value(nu)
    for _ in range(300):
        _, w, slopes = _entries(matrix, nu, depth, e)
        rest = labels - matrix * w
        if max(abs(s) for s in rest) < mpmath.mpf(10) ** (15 - PRECISION):
            return nu
        hessian = matrix * mpmath.diag(slopes) * matrix.T
        ridge = max(hessian[i, i] for i in range(len(rest))) * mpmath.mpf(10) ** (20 - PRECISION)
        step = mpmath.lu_solve(hessian + ridge * mpmath.eye(len(rest)), rest)
        length = mpmath.mpf(1)
        rise = (rest.T * step)[0]
        if rise < mpmath.mpf(10) ** (5 - PRECISION):  # values no longer tell steps apart
            nu = nu + step
            now = value(nu)
            continue
        while value(nu + length * step) < now + length * rise / 10:
            length /= 2
        nu = nu + length * step
        now = value(nu)
    raise ArithmeticError(f"Newton's method found no end of the flow for e = {mpmath.nstr(e, 5)}.")


def instances(settings: Settings) -> Iterator[tuple[str, Rows, list[Any]]]:
    """Diagonals of measurements and labels: chosen ones and random ones that some w > 0 fits."""
    yield "two entries against one", [[1, 1, 3]], [3]
    yield "many minimisers", [[1, 1, 0, 0], [0, 0, 1, 2]], [2, 2]
    yield "rank one, two measurements", [[2, 1, 1], [2, 2, 0]], [2, 2]
    yield "nearly a tie", [[1000, 1001]], [1001]
    yield "coefficients of both signs", [[1, -2, 0, 1], [0, 1, -1, 2]], [1, 2]
    rng = np.random.default_rng([settings.seed, 2])
    for d, m in [(3, 2), (5, 2)] + [(5, 3), (6, 2), (6, 4), (4, 3), (8, 3)] * settings.full:
        while True:
            a = rng.integers(-2, 4, size=(m, d))
            y = a @ rng.integers(1, 5, size=d)
            if np.linalg.matrix_rank(a) < m:
                continue
            found = minimal_trace(a.tolist(), y.tolist(), [1] * d)
            if sum(x > 0 for x in found.primal) == m:  # no tie between bases
                yield f"random {d}x{d}, {m} measurements", a.tolist(), y.tolist()
                break


def _limit_cases(settings: Settings, depths: Sequence[int], tilt: Fraction) -> Iterator[Case]:
    """Limits against the minimum; and that flows of factors end where the formula says."""
    rng = np.random.default_rng([settings.seed, 3])
    for name, a, y in instances(settings):
        d = len(a[0])
        weights = [1 + tilt * k for k in range(d)]
        best = minimal_trace(a, y, weights)
        frame = ortho_group.rvs(d, random_state=rng)
        turned = np.array([frame.T @ np.diag(row) @ frame for row in a])
        for depth in depths:
            path = ends_of_flows(a, y, depth, 1e-6 if depth == 2 else 1e-8)
            with mpmath.workdps(PRECISION):
                costs = [mpmath.mpf(c.numerator) / c.denominator for c in weights]
                value = mpmath.mpf(best.value.numerator) / best.value.denominator
                traces = [
                    sum(c * x for c, x in zip(costs, w, strict=True)) / value
                    for w in path.ends[-3:]
                ]
                gaps = [float(abs(trace - 1)) for trace in traces]
                moved = float(abs(traces[-1] - traces[-2]))
            yield Case(
                name=f"{name}, depth {depth}",
                residual=[gaps[-1]],
                floor=[2 * moved + 1e-14],
                hypotheses=commuting_hypotheses(turned)
                | {
                    "the limit exists": Measured(moved, below=1e-6),
                    "zero loss in the limit": Measured(float(path.misfits[-1]), below=1e-30),
                    "the limit is positive semidefinite": Measured(
                        float(min(path.ends[-1])), above=-1e-30
                    ),
                },
                size=float(d * d),
                witness=lambda k, a=a, y=y, w=path.ends[-1], best=best: {
                    "diagonals": a,
                    "labels": y,
                    "limit": [float(x) for x in w],
                    "minimum": str(best.value),
                    "dual vector": [str(x) for x in best.dual],
                },
                notes=f"minimum {best.value}, proved by nu = "
                f"({', '.join(str(x) for x in best.dual)}); relative distances "
                + ", ".join(f"{g:.0e}" for g in gaps),
            )
    for depth in depths:
        yield _end_case(settings, depth)


@cache
def _end_case(settings: Settings, depth: int) -> Case:
    """A flow of factors from alpha I, in a turned frame, to its end."""
    a, y = [[2, 1, 0], [0, 1, 2]], [2, 1]
    # e = 1/4: a start that float64 follows to the end.
    alpha = np.exp(-2.0) if depth == 2 else 0.25 ** (1 / (depth - 2))
    frame = ortho_group.rvs(3, random_state=np.random.default_rng([settings.seed, depth]))
    tight, coarse = (
        follow(depth, float(alpha), frame, np.array(a, float), np.array(y, float), rtol)
        for rtol in (1e-11, 1e-9)
    )
    path = ends_of_flows(a, y, depth, 0.25)
    end = frame.T @ np.diag([float(x) for x in path.ends[-1]]) @ frame
    gap = np.abs(tight.w[-1] - end).max()
    fits = np.abs(np.einsum("kij,ij->k", tight.measurements, tight.w[-1]) - tight.labels).max()
    return Case(
        name=f"flow of {depth} factors from alpha = {alpha:.3g} to its end",
        residual=[gap],
        floor=[10 * np.abs(tight.w[-1] - coarse.w[-1]).max() + 100 * fits + 1e-12],
        hypotheses=commuting_hypotheses(tight.measurements)
        | {"the flow has ended at zero loss": Measured(float(fits), below=1e-8)},
        size=9,
        notes=f"residual {fits:.1e} at t = {TIMES[-1]:g}",
    )


_CONTROL = {"tilt": Fraction(1, 10)}
_TILTED = "sum_k (1 + k/10) W_kk, k from 0, instead of the nuclear norm sum_k W_kk"


@claim(
    "arora2019.thm1",
    kind="limit",
    where="Theorem 1 and Appendix C, Proposition 2",
    statement=r"N = 2,\ A_i \text{ commute},\ \bar W = \lim_{\alpha\to0}W_\infty(\alpha),\ "
    r"\ell(\bar W) = 0 \Rightarrow \bar W \in \mathrm{argmin}_{W\succeq0,\,\ell(W)=0}\|W\|_*",
    control=_CONTROL,
    control_text=_TILTED,
)
def thm1(settings: Settings, tilt: Fraction = Fraction(0)) -> Iterator[Case]:
    """Depth 2, down to alpha = exp(-500000)."""
    yield _proofs_nuclear.least_norm(True, tilt)
    yield from _limit_cases(settings, (2,), tilt)


@claim(
    "arora2019.thm2",
    kind="limit",
    where="Theorem 2",
    statement=r"N \ge 3,\ A_i \text{ commute},\ \bar W = \lim_{\alpha\to0}W_\infty(\alpha),\ "
    r"\ell(\bar W) = 0 \Rightarrow \bar W \in \mathrm{argmin}_{W\succeq0,\,\ell(W)=0}\|W\|_*",
    control=_CONTROL,
    control_text=_TILTED,
)
def thm2(settings: Settings, tilt: Fraction = Fraction(0)) -> Iterator[Case]:
    """Depths 3 to 5, down to alpha^(N-2) = 1e-8."""
    yield _proofs_nuclear.least_norm(False, tilt)
    yield from _limit_cases(settings, (3, 4, 5) if settings.full else (3, 5), tilt)


@claim(
    "arora2019.prop1",
    kind="inequality",
    where="Proposition 1, with the example of Appendix B.2",
    statement=r"d\ge3:\ \text{there are } A_i, y_i \text{ for which } \bar W_{deep} "
    r"\text{ is no local minimum of } \|W\|_{S_p} \text{ for any } 0<p<1",
    control={"shift": 0.1},
    control_text="0.1 < p < 1.1 instead of 0 < p < 1",
    best=(
        Best("0 < p < 1", "0 < p < 1", "proved", "At p = 1 the limit is a minimum (Theorem 2)."),
    ),
)
def prop1(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """W_11 = W_22 = W_kk + 1: the limit is diag(1, 1, 0, ...), and its neighbours have less norm.

    The neighbours have e in the entries (1, 2) and (2, 1), eigenvalues 1 + e and 1 - e.
    """
    yield _proofs_nuclear.prop1(shift)
    for d in (3, 4, 6) + (8,) * settings.full:
        a = [[1, -1] + [0] * (d - 2)]
        a += [[1] + [-int(k == j) for k in range(1, d)] for j in range(2, d)]
        y = [0] + [1] * (d - 2)
        common: dict[str, Any] = {"size": float(d * d)}
        turned = np.array([np.diag(row) for row in a], float)
        hypotheses = commuting_hypotheses(turned) | {"d >= 3": Measured(d, above=2)}
        for depth in (3, 4) + (5,) * settings.full:
            path = ends_of_flows(a, y, depth, 1e-8)
            limit = [1, 1] + [0] * (d - 2)
            off = [max(abs(x - z) for x, z in zip(w, limit, strict=True)) for w in path.ends]
            yield Case(
                name=f"{d}x{d}, depth {depth}: the limit is diag(1, 1, 0, ...)",
                residual=[float(off[-1])],
                floor=[2 * float(abs(off[-2] - off[-1])) + 1e-14],
                hypotheses=hypotheses
                | {"zero loss": Measured(float(path.misfits[-1]), below=1e-30)},
                **common,
            )
        powers = np.array([1e-3, 0.1, 0.5, 2 / 3, 0.9, 0.999]) + shift
        steps = [mpmath.mpf(10) ** -k for k in (1, 2, 4, 8, 12)]
        slack = []
        with mpmath.workdps(PRECISION):
            for p in powers:
                for step in steps:
                    less = (1 + step) ** mpmath.mpf(p) + (1 - step) ** mpmath.mpf(p)
                    slack.append(float((2 - less) / step**2))
        near = np.diag([1.0, 1.0] + [0.0] * (d - 2))
        near[0, 1] = near[1, 0] = 0.1
        fits = np.einsum("kij,ij->k", turned, near) - y
        yield Case(
            name=f"{d}x{d}: 2 - ||W_e||_p^p over e^2",
            slack=slack,
            floor=roundings(1e-12),
            hypotheses=hypotheses
            | {
                "the neighbour fits": Measured(float(np.max(np.abs(fits))), below=1e-300),
                "the neighbour is positive semidefinite": Measured(
                    float(np.linalg.eigvalsh(near).min()), above=-1e-15
                ),
            },
            confirm=lambda k, slack=slack: Confirmation(slack[k] < 0, f"{slack[k]}"),
            **common,
        )
