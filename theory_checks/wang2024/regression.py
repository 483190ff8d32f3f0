r"""Wang and Basu Roy Chowdhury 2024, Implicit regularization of gradient descent.

Least squares (Sections 2 and 3) and the examples of Section 5. Everything is computed in long
arithmetic from whole numbers.
"""

from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import sympy

from gradflow.claims import (
    FIFTY_DIGITS,
    ByConstruction,
    Case,
    Confirmation,
    Convention,
    Corrected,
    Measured,
    Settings,
    claim,
    roundings,
)
from gradflow.claims.oracles.high_precision import DIGITS

from . import _best, _proofs

TIMES = (0.1, 1.0, 3.0)


def _systems(settings: Settings) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """X, y and beta_0 in whole numbers: full rank, rank deficient, more rows, more columns."""
    yield np.array([[1]]), np.array([1]), np.array([1])
    yield np.array([[1, 0]]), np.array([1]), np.array([0, 1])
    rng = np.random.default_rng(settings.seed)
    shapes = [(2, 3, 2), (3, 2, 2), (3, 3, 2), (2, 4, 1)]
    for n, d, rank in shapes + ([(5, 6, 3), (6, 4, 4)] if settings.full else []):
        while True:
            x = rng.integers(-2, 3, (n, rank)) @ rng.integers(-2, 3, (rank, d))
            if np.linalg.matrix_rank(x) == rank:
                break
        yield x, rng.integers(-3, 4, n), rng.integers(-3, 4, d)


def exact_flow(x: np.ndarray, y: np.ndarray, start: np.ndarray, t: Any) -> Any:
    """Solve d beta/dt = z - A beta by the Taylor series of exp(t [[-A, z], [0, 0]])."""
    d = x.shape[1]
    block = np.zeros((d + 1, d + 1), dtype=object)
    block[:d, :d], block[:d, d] = -2 * x.T @ x, 2 * x.T @ y
    moved = mpmath.matrix(block.tolist()) * t
    halvings = max(0, int(mpmath.ceil(mpmath.log(mpmath.norm(moved, 1) + 1, 2))))
    moved *= mpmath.mpf(2) ** -halvings
    with mpmath.workdps(mpmath.mp.dps + 20):
        total = term = mpmath.eye(d + 1)
        for k in range(1, mpmath.mp.dps):
            term = term * moved / k
            total += term
        for _ in range(halvings):
            total = total * total
    return total[:d, :] * mpmath.matrix([*start.tolist(), 1])


def _eigen(x: np.ndarray) -> tuple[list[Any], Any]:
    """Eigenvalues of A = 2 X^T X, exactly 0 where the rank says so, and eigenvectors."""
    values, vectors = mpmath.eigsy(mpmath.matrix((2 * x.T @ x).tolist()))
    null = x.shape[1] - np.linalg.matrix_rank(x)
    order = sorted(range(len(values)), key=lambda k: abs(values[k]))
    found = list(values)
    for k in order[:null]:
        found[k] = mpmath.mpf(0)
    return found, vectors


def equation6(x: np.ndarray, y: np.ndarray, start: np.ndarray | None, t: Any) -> Any:
    """e^(-tA) int_0^t e^(sA) ds z by eigenvalues; with a start, e^(-tA) beta_0 is added."""
    values, q = _eigen(x)
    z = mpmath.matrix((2 * x.T @ y).tolist())
    inner = [mpmath.expm1(v * t) / v if v else mpmath.mpf(t) for v in values]
    decay = [mpmath.exp(-v * t) for v in values]
    found = q * mpmath.diag([a * b for a, b in zip(decay, inner, strict=True)]) * (q.T * z)
    if start is not None:
        found += q * mpmath.diag(decay) * (q.T * mpmath.matrix(start.tolist()))
    return found


def closed_form(x: np.ndarray, y: np.ndarray, t: Any, rate: Any) -> Any:
    """V Sigma_t^T U^T y with (e^(2 t l) - 1) / e^(2 t l) / sqrt(l), l = sigma^2; rate is the 2."""
    n, d = x.shape
    u, s, vt = mpmath.svd_r(mpmath.matrix(x.tolist()), full_matrices=True)
    sigma = mpmath.zeros(n, d)
    for i in range(np.linalg.matrix_rank(x)):
        sigma[i, i] = -mpmath.expm1(-rate * t * s[i] ** 2) / s[i]
    return vt.T * sigma.T * u.T * mpmath.matrix(y.tolist())


def _distance(a: Any, b: Any) -> Any:
    return mpmath.sqrt(sum(v**2 for v in (a - b)))


def _flow_cases(
    settings: Settings, any_start: bool, with_start: bool, rate: float
) -> Iterator[Case]:
    """Formula against flow, from beta_0 with `any_start`, else 0; `with_start` counts beta_0."""
    for x, y, start in _systems(settings):
        begin = start if any_start else np.zeros_like(start)

        def gaps(t: float, x: Any = x, y: Any = y, begin: Any = begin) -> list[Any]:
            """True beta_t, the formula (6) and the closed form."""
            with mpmath.workdps(2 * DIGITS):
                t = mpmath.mpf(t)
                shift = mpmath.zeros(x.shape[1], 1)
                if with_start:
                    values, q = _eigen(x)
                    decay = mpmath.diag([mpmath.exp(-v * t) for v in values])
                    shift = q * decay * (q.T * mpmath.matrix(begin.tolist()))
                six = equation6(x, y, begin if with_start else None, t)
                return [exact_flow(x, y, begin, t), six, closed_form(x, y, t, rate) + shift]

        residual = []
        with mpmath.workdps(2 * DIGITS):
            for t in TIMES:
                true, six, closed = gaps(t)
                residual += [float(_distance(true, six)), float(_distance(true, closed))]

        def confirm(
            k: int, gaps: Any = gaps, x: Any = x, y: Any = y, begin: Any = begin
        ) -> Confirmation:
            true, six, closed = gaps(TIMES[k // 2])
            other = (six, closed)[k % 2]
            with mpmath.workdps(DIGITS):
                differs = bool(_distance(true, other) > mpmath.mpf(10) ** -30)
            return Confirmation(
                differs,
                f"X = {x.tolist()}, y = {y.tolist()}, beta_0 = {begin.tolist()}, t = "
                f"{TIMES[k // 2]:g}: beta_t = {[mpmath.nstr(v, 12) for v in true]}, the "
                f"formula gives {[mpmath.nstr(v, 12) for v in other]}",
            )

        yield Case(
            name=f"X {x.shape[0]}x{x.shape[1]} of rank {np.linalg.matrix_rank(x)}, "
            f"beta_0 = {begin.tolist()}",
            residual=residual,
            floor=FIFTY_DIGITS,
            hypotheses={
                "the flow of |y - X beta|^2": ByConstruction(
                    "its solution by eigenvectors of X^T X"
                )
            },
            size=float(x.size),
            confirm=confirm,
        )


@claim(
    "wang2024.eq6",
    kind="identity",
    where="Section 2, Equation (6) and the closed form at its end",
    statement=r"\dot\beta_t = z - A\beta_t,\ z = 2X^\top y,\ A = 2X^\top X \Rightarrow "
    r"\beta_t = e^{-tA}\Big(\int_0^t e^{sA}ds\Big)z = V\Sigma_t^\top U^\top y",
    control={"rate": 1.8},
    control_text="e^(1.8 t lambda) instead of e^(2 t lambda)",
    flaw="Integrating the derivative of e^(tA) beta_t from 0 leaves out its value beta_0 at t = 0; "
    "no start is prescribed before (6), which is right from beta_0 = 0 only.",
    severity="missing hypothesis",
    survives="The closed form from beta_0 = 0, and with it the limit, which is all that the notes "
    "use.",
    readings={
        "any beta_0, as printed": "fails",
        "beta_0 = 0": "holds",
    },
    corrected=Corrected(
        r"\beta_t = e^{-tA}\beta_0 + e^{-tA}\Big(\int_0^t e^{sA}ds\Big)z "
        r"= e^{-tA}\beta_0 + V\Sigma_t^\top U^\top y"
    ),
)
def eq6(settings: Settings, corrected: bool, rate: float = 2) -> Iterator[Case]:
    """From beta_0 = 0, and from others: no start is prescribed. Corrected, with beta_0's term."""
    if corrected:
        yield _proofs.least_squares_flow(rate)
    for any_start in (False, True):
        yield from _flow_cases(settings, any_start, corrected, rate)


@claim(
    "wang2024.min_norm",
    kind="limit",
    where="Section 3",
    statement=r"\lim_{t\to\infty}\beta_t = \text{the least-squares solution of least } L^2 "
    r"\text{ norm}",
    control={"scale": 1.1},
    control_text="1.1 times that solution",
    flaw="It rests on (6), which is right from beta_0 = 0 only: the component of beta_0 in the "
    "kernel of X never moves and stays in the limit.",
    severity="missing hypothesis",
    survives="That gradient flow from 0 finds the solution of least norm, the point of the "
    "section.",
    readings={
        "any beta_0, as printed": "fails",
        "beta_0 in the range of X^T, as 0 is": "holds",
    },
    corrected=Corrected(
        r"\beta_0 \in \mathrm{range}\,X^\top \text{ (as 0 is)} \Rightarrow "
        r"\lim_{t\to\infty}\beta_t = \text{the least-squares solution of least } L^2 \text{ norm}"
    ),
)
def min_norm(settings: Settings, corrected: bool, scale: float = 1.0) -> Iterator[Case]:
    """The flow at a time when all but its limit is below 1e-40, against X^+ y by sympy.

    From 0 and from any start, as printed; corrected, from starts in the row space.
    """
    if corrected:
        yield _proofs.least_norm(scale)
    for x, y, start in _systems(settings):
        # In the row space the start changes nothing.
        other = x.T @ (y + 1) if corrected else start
        for begin in (np.zeros_like(start), other):
            with mpmath.workdps(2 * DIGITS):
                values, _ = _eigen(x)
                t = 100 / min(v for v in values if v)
                end = exact_flow(x, y, begin, t)
                least = sympy.Matrix(x.tolist()).pinv() * sympy.Matrix(y.tolist())
                wanted = mpmath.matrix([mpmath.mpf(v.p) / v.q for v in least]) * scale
                gap = float(_distance(end, wanted))

            def confirm(
                k: int, x: Any = x, y: Any = y, begin: Any = begin, wanted: Any = wanted, t: Any = t
            ) -> Confirmation:
                with mpmath.workdps(2 * DIGITS):
                    end = exact_flow(x, y, begin, t)
                    normal = mpmath.matrix(x.T.tolist()) * (
                        mpmath.matrix(x.tolist()) * end - mpmath.matrix(y.tolist())
                    )
                    return Confirmation(
                        bool(_distance(end, wanted) > mpmath.mpf(10) ** -30),
                        f"X = {x.tolist()}, y = {y.tolist()}, beta_0 = {begin.tolist()}: the flow "
                        f"tends to {[mpmath.nstr(v, 12) for v in end]} (normal equations off by "
                        f"{mpmath.nstr(max(abs(v) for v in normal), 2)}), the solution of least "
                        f"norm is {[mpmath.nstr(v, 12) for v in wanted]}",
                    )

            yield Case(
                name=f"X {x.shape[0]}x{x.shape[1]} of rank {np.linalg.matrix_rank(x)}, "
                f"beta_0 = {begin.tolist()}",
                residual=[gap],
                floor=Convention(1e-35, "a limit in 50 digits, taken at a late time", 50),
                hypotheses={
                    "the flow of |y - X beta|^2": ByConstruction(
                        "its solution by eigenvectors of X^T X"
                    )
                },
                size=float(x.size),
                confirm=confirm,
            )


def spiked_rank(size: Any, d: int) -> Any:
    """The effective rank of size E_11 + I_d, from its singular values size + 1, 1, ..., 1."""
    total = mpmath.mpf(size) + d
    first, rest = (size + 1) / total, 1 / total
    return mpmath.exp(-first * mpmath.log(first) - (d - 1) * rest * mpmath.log(rest))


def _near_one_cases(settings: Settings, near: float) -> Iterator[Case]:
    """Dimensions from 2 to 1000; 'near' is taken as within 10 percent."""
    size = 1000
    for d in (2, 3, 5, 10, 100, 1000, 10_000) if settings.full else (2, 3, 5, 10, 100, 1000):
        with mpmath.workdps(DIGITS):
            value = spiked_rank(size, d)
        by_svd = ""
        if d <= 10:
            w = np.eye(d)
            w[0, 0] += size
            s = np.linalg.svd(w, compute_uv=False)
            p = s / s.sum()
            by_svd = f", by the SVD {np.exp(-np.sum(p * np.log(p))):.6f}"

        def confirm(k: int, d: int = d, value: Any = value) -> Confirmation:
            return Confirmation(
                bool(abs(value - near) > 0.3),
                f"singular values {size + 1} and {d - 1} times 1: effective rank "
                f"{mpmath.nstr(value, 12)}",
            )

        yield Case(
            name=f"d = {d}",
            residual=[float(value - near)],
            floor=roundings(1e-15),
            hypotheses={
                "W = size E_11 + I_d": ByConstruction("its singular values are written down")
            },
            size=d,
            confirm=confirm,
            notes=f"effective rank {mpmath.nstr(value, 7)}{by_svd}",
        )


def _bound_cases(factor: float) -> Iterator[Case]:
    """Sizes and dimensions over many decades."""
    for d in (2, 3, 10, 100, 1000):
        slack, bounds = [], []
        sizes = (1, 10, 1000, 10**6, 10**9, 10**12)
        for size in sizes:
            with mpmath.workdps(DIGITS):
                total = mpmath.mpf(size) + d
                bound = mpmath.exp(factor * (d - 1) / total * (1 + mpmath.log(total)))
                slack.append(float((bound - spiked_rank(size, d)) / bound))
                bounds.append(mpmath.nstr(bound, 6))
        yield Case(
            name=f"d = {d}",
            slack=slack,
            floor=FIFTY_DIGITS,
            hypotheses={"M > 0": Measured(min(sizes), above=0)},
            size=d,
            notes=f"bounds at M = 1, 10, 1e3, 1e6, 1e9, 1e12: {', '.join(bounds)}",
        )


@claim(
    "wang2024.erank_example",
    kind="approximation",
    where="Section 5, the example after the definition of the effective rank",
    statement=r"\mathrm{erank}(10^3E_{11} + I_d) \approx 1",
    control={"near": 1.32},
    control_text="1.32 instead of 1: where 10% are allowed, an approximation fails from 30% on",
    accuracy=0.1,
    flaw="That every other singular value is much smaller than the first is not enough: their "
    "number counts. The d - 1 ones weigh (d - 1)/(1000 + d) in sum, so the entropy is small only "
    "if d is small against 1000 / ln 1000.",
    severity="missing hypothesis",
    survives="The illustration at the sizes it is used for: the notes go on with d = 2, where the "
    "effective rank is 1.008.",
    readings={
        "any d, as printed": "fails: 63 at d = 1000",
        "d small against 1000 / ln 1000": "holds",
    },
    corrected=Corrected(
        r"\mathrm{erank}(M E_{11} + I_d) \le \exp\Big(\tfrac{d-1}{M+d}\,(1 + \ln(M+d))\Big)"
        r" \to 1 \text{ as } M \to \infty \text{ at fixed } d",
        kind="inequality",
        control={"factor": 0.9},
        control_text="0.9 of the exponent",
        best=_best.ERANK_EXAMPLE,
    ),
)
def erank_example(
    settings: Settings, corrected: bool, near: float = 1.0, factor: float = 1.0
) -> Iterator[Case]:
    """Printed, that the rank is near 1 at size 1000; corrected, a bound that tends to 1."""
    if corrected:
        yield from _bound_cases(factor)
    else:
        yield from _near_one_cases(settings, near)


@claim(
    "wang2024.irank_example",
    kind="inequality",
    where="Section 5, the example after the definition of the infimal rank",
    statement=r"W = \begin{pmatrix}a&1\\1&0\end{pmatrix} = u^\top u - a^{-1}E_{22},\ "
    r"u = [a^{1/2}, a^{-1/2}],\quad D(W, \mathcal M_1) \le 1/a",
    control={"factor": 0.9},
    control_text="0.9 / a",
    best=_best.IRANK_EXAMPLE,
)
def irank_example(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """D is the smaller singular value; a > 0, for the formula has no meaning at a = 0."""
    yield _proofs.irank_example(factor)
    sizes = np.geomspace(1e-3, 1e9, 200 if settings.full else 49)
    slack, residual = [], []
    with mpmath.workdps(DIGITS):
        for a in (mpmath.mpf(float(v)) for v in sizes):
            w = mpmath.matrix([[a, 1], [1, 0]])
            root = mpmath.sqrt(a)
            u = mpmath.matrix([[root, 1 / root]])
            least = min(mpmath.svd_r(w, compute_uv=False))
            slack.append(float((factor / a - least) * a))
            residual.append(float(_distance(w, u.T * u - mpmath.matrix([[0, 0], [0, 1 / a]])) / a))
    note = "printed for a >= 0; at a = 0 there is no u, and 1/a has to be read as infinite"
    hypotheses = {"a > 0": Measured(float(np.min(sizes)), above=0)}
    yield Case(
        name="D <= 1/a", slack=slack, floor=FIFTY_DIGITS, hypotheses=hypotheses, size=4,
        notes=f"{note}; a D tends to 1 as a grows",
    )  # fmt: skip
    yield Case(
        name="the decomposition", residual=residual, floor=FIFTY_DIGITS, hypotheses=hypotheses
    )
