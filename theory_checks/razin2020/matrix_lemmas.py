r"""Razin and Cohen 2020: lemmas on matrices and functions (1, 8, 9, 11 and 12); no flow."""

from collections.abc import Iterator, Sequence
from typing import Any

import mpmath
import numpy as np

from gradflow._util.annotations import Reals
from gradflow.claims import ByConstruction, Case, Confirmation, Measured, Settings, claim, roundings
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles.high_precision import DIGITS
from gradflow.claims.oracles.search import Draw, Inequality, searched_case

from . import _best, _printed_lemmas, _proofs_flows


def gaussian_points(dimension: int, sparse: bool = True) -> Draw:
    """Normal points, each coordinate on its own scale or 0, so that degenerate ones are tried."""

    def points(rng: np.random.Generator, count: int) -> np.ndarray:
        x = rng.normal(size=(count, dimension)) * 10 ** rng.uniform(-2, 1, (count, dimension))
        kept = rng.uniform(size=x.shape) < rng.uniform(0.3, 1.3, (count, 1))
        return x * kept if sparse else x

    return points


def _matrices(x: np.ndarray, shapes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Points (n, dimension) cut into matrices (n, rows, columns)."""
    found, at = [], 0
    for rows, columns in shapes:
        found.append(x[:, at : at + rows * columns].reshape(-1, rows, columns))
        at += rows * columns
    return found


def _exact_matrices(x: Sequence[Any], shapes: Sequence[tuple[int, int]]) -> list[Any]:
    found, at = [], 0
    for rows, columns in shapes:
        entries = x[at : at + rows * columns]
        found.append(
            mpmath.matrix([[entries[i * columns + j] for j in range(columns)] for i in range(rows)])
        )
        at += rows * columns
    return found


def _size(w: Any) -> Any:
    """The Frobenius norm of an mpmath matrix."""
    return mpmath.sqrt(sum(v**2 for v in w))


def _plain(shapes: Sequence[tuple[int, int]], names: Sequence[str]) -> Any:
    def plain(x: np.ndarray) -> dict[str, Any]:
        matrices = _matrices(x[None], shapes)
        return {name: m[0].tolist() for name, m in zip(names, matrices, strict=True)}

    return plain


def nearby_balanced(factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The balanced tuple of Appendix G.9: W'_l = Q_l ... Q_2 P Q_2^T ... Q_{l-1}^T, Q = U V^T.

    P is the positive semidefinite root of W_1 W_1^T. Batches of square matrices (n, d, d).
    """
    u, s, _ = np.linalg.svd(factors[0])
    middle = (u * s[:, None, :]) @ np.swapaxes(u, -1, -2)
    found = [factors[0]]
    for factor in factors[1:]:
        left, _, right = np.linalg.svd(factor)
        q = left @ right
        found.append(q @ middle)
        middle = q @ middle @ np.swapaxes(q, -1, -2)
    return found


def magnitude(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The unbalancedness magnitude (18) of batches of square matrices."""
    gaps = [
        np.swapaxes(high, -1, -2) @ high - low @ np.swapaxes(low, -1, -2)
        for low, high in zip(factors[:-1], factors[1:], strict=True)
    ]
    return np.max([np.sum(np.linalg.svd(gap)[1], axis=-1) for gap in gaps], axis=0)


def _exactly_nearby(factors: Sequence[Any]) -> tuple[list[Any], Any]:
    """The same in mpmath: the tuple and the magnitude."""
    u, s, _ = mpmath.svd_r(factors[0])
    middle = u * mpmath.diag(list(s)) * u.T
    found, worst = [factors[0]], mpmath.mpf(0)
    for low, factor in zip(factors[:-1], factors[1:], strict=True):
        left, _, right = mpmath.svd_r(factor)
        q = left * right
        found.append(q * middle)
        middle = q * middle * q.T
        gap = factor.T * factor - low * low.T
        worst = max(worst, sum(abs(v) for v in mpmath.svd_r(gap, compute_uv=False)))
    return found, worst


@claim(
    "razin2020.lem1",
    kind="inequality",
    where="Appendix D, Lemma 1",
    statement=r"\text{unbalancedness } \epsilon \Rightarrow \text{there are balanced } W'_l "
    r"\text{ with } \|W_l - W'_l\|_F \le (l-1)\sqrt\epsilon",
    control={"factor": 0.9},
    control_text="0.9 of the distance",
    best=_best.LEM1,
)
def lem1(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """The proof's tuple, searched over matrices for the largest distance."""
    yield _proofs_flows.lem1(factor)
    cases = ((1, 2), (1, 3), (2, 2), (2, 3))
    for d, depth in (*cases, (3, 3), (2, 4)) if settings.full else cases:
        shapes = [(d, d)] * depth
        last = depth - 1

        def sides(x: np.ndarray, shapes: Any = shapes, last: int = last) -> tuple[Any, Any]:
            w = _matrices(x, shapes)
            near = nearby_balanced(w)
            distance = np.linalg.norm(w[last] - near[last], axis=(1, 2))
            return factor * last * np.sqrt(magnitude(w)), distance

        def exactly(x: Sequence[Any], shapes: Any = shapes, last: int = last) -> tuple[Any, Any]:
            w = _exact_matrices(x, shapes)
            near, worst = _exactly_nearby(w)
            return factor * last * mpmath.sqrt(worst), _size(w[last] - near[last])

        def hypotheses(x: np.ndarray, shapes: Any = shapes) -> dict[str, Met]:
            w = _matrices(x, shapes)
            near = nearby_balanced(w)
            scale = np.sum([np.sum(m**2, axis=(1, 2)) for m in w], axis=0)
            size = scale + 1e-300
            over = [
                (np.linalg.norm(a - b, axis=(1, 2)) - l * np.sqrt(magnitude(w))) / size**0.5
                for l, (a, b) in enumerate(zip(w, near, strict=True))
            ]
            return {
                "square matrices": ByConstruction("of one size"),
                "the constructed tuple is balanced": Measured(
                    float(np.max(magnitude(near) / size)), below=1e-12
                ),
                "the bounds for the earlier factors hold too": Measured(
                    float(np.max(over)), below=1e-7
                ),
            }

        names = [f"W_{l + 1}" for l in range(depth)]
        yield searched_case(
            f"{d}x{d}, l = {depth}",
            Inequality(sides, exactly, _plain(shapes, names)),
            gaussian_points(d * d * depth),
            settings,
            hypotheses=hypotheses,
            size=d * d * depth,
            samples=400 if d > 2 else 1000,
            starts=1,
            rounds=2,
            notes="with W_1 = 0 and W_2 = I the bound is reached at l = 2 if d = 1" if depth == 2
            else "the ratio is the part of (l - 1) that this construction needs, at most "
            "1 / sqrt(l - 1) (razin2020.lem1.sharp)",
        )  # fmt: skip


@claim(
    "razin2020.lem8",
    kind="algebra",
    where="Appendix G.2.1, Lemma 8",
    statement=r"W_{l+1}^\top W_{l+1} = W_l W_l^\top \Rightarrow "
    r"\sigma_i(W_{L:1}) = \sigma_i(W_l)^L,\ i \le \min\{d_L, d_0\}",
    control={"shift": 0.1},
    control_text="the power L + 0.1",
)
def lem8(settings: Settings, shift: float = 0) -> Iterator[Case]:
    """Balanced factors built one on the other (not from the product), also thin and wide ones."""
    yield _printed_lemmas.lem8(shift)
    rng = np.random.default_rng(settings.seed)
    sizes = [(1, 1, 1), (2, 2, 2), (3, 2, 4), (2, 5, 3, 2), (4, 1, 3, 4), (5, 3, 6, 2, 5)]
    if settings.full:
        sizes += [(20, 30, 10, 25), (7, 7, 7, 7, 7, 7)]
    for dims in sizes:
        for rank in sorted({1, min(dims)}):
            factors = [rng.normal(size=(dims[1], rank)) @ rng.normal(size=(rank, dims[0]))]
            for low, high in zip(dims[1:-1], dims[2:], strict=True):
                u, s, _ = np.linalg.svd(factors[-1])
                frame = np.linalg.qr(rng.normal(size=(high, high)))[0][:, :rank]
                factors.append(frame @ (u[:, :rank] * s[:rank]).T)
                assert factors[-1].shape == (high, low)
            depth = len(factors)
            product = factors[0]
            for factor in factors[1:]:
                product = factor @ product
            count = min(dims[0], dims[-1])
            values = np.linalg.svd(product, compute_uv=False)[:count]
            residual = []
            for factor in factors:
                own = np.zeros(count)
                found = np.linalg.svd(factor, compute_uv=False)[:count]
                own[: len(found)] = found
                residual.append(np.abs(values - own ** (depth + shift)) / values[0])
            gap = max(
                float(np.linalg.norm(b.T @ b - a @ a.T) / np.linalg.norm(a @ a.T))
                for a, b in zip(factors[:-1], factors[1:], strict=True)
            )
            yield Case(
                name=f"sizes {dims}, rank {rank}",
                residual=np.concatenate(residual),
                floor=roundings(1e-14 * depth * max(dims) + 4 * depth * gap, "and the balance's"),
                hypotheses={"balanced": Measured(float(gap), below=1e-12)},
                size=float(sum(f.size for f in factors)),
            )
    # (3 4; 0 0), then (5; 12) / 13 of it, in whole numbers: every factor has the value 65 alone.
    first = np.array([[39, 52], [0, 0]], dtype=object)
    second = np.array([[25, 0], [60, 0]], dtype=object)
    both = second @ first
    yield Case(
        name="whole numbers, W_1 = [[39, 52], [0, 0]], W_2 = [[25, 0], [60, 0]]",
        residual=[float(np.sum(both**2) - (65**2) ** (2 + shift)) / 65.0**4],
        hypotheses={"balanced": bool(np.all(second.T @ second == first @ first.T))},
        floor=roundings(1e-15),
        size=4,
        notes="sigma_1(W_2 W_1)^2 = 65^4, the second value is 0",
    )


def entropy(p: Reals) -> Reals:
    """h(p) = -p ln p - (1 - p) ln(1 - p), with 0 ln 0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(p > 0, -p * np.log(p), 0.0)
        second = np.where(p < 1, -(1 - p) * np.log1p(-p), 0.0)
    return first + second


@claim(
    "razin2020.lem9",
    kind="inequality",
    where="Appendix G.2.2, Lemma 9",
    statement=r"h(p) = -p\ln p - (1-p)\ln(1-p) \le 2\sqrt p,\quad p \in [0, 1]",
    control={"factor": 1.1},
    control_text="1.1 sqrt(p) instead of 2 sqrt(p)",
    best=_best.LEM9,
)
def lem9(settings: Settings, factor: float = 2.0) -> Iterator[Case]:
    """A grid down to 1e-300 and up to 1, and the proof's sharper 2 sqrt(p (1 - p))."""
    yield _printed_lemmas.lem9(factor)
    points = 4000 if settings.full else 800
    p = np.concatenate(
        [[0.0, 1.0, 0.5], np.geomspace(1e-300, 0.5, points), 1 - np.geomspace(1e-15, 0.5, points)]
    )
    h = entropy(p)
    inside = p[(p > 0) & (p < 1)]
    sharpest = inside[int(np.argmax(entropy(inside) / np.sqrt(inside)))]
    top = float(np.max(entropy(inside) / np.sqrt(inside)))

    def confirm(k: int) -> Confirmation:
        with mpmath.workdps(DIGITS):
            q = mpmath.mpf(float(p[k]))
            exact = -q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q)
            right = factor * mpmath.sqrt(q)
            return Confirmation(
                bool(exact > right),
                f"h({float(p[k])!r}) = {mpmath.nstr(exact, 20)} > {mpmath.nstr(right, 20)}",
            )

    hypotheses = {"0 <= p <= 1": ByConstruction("a grid from 0 to 1")}
    yield Case(
        name="2 sqrt(p)", slack=factor * np.sqrt(p) - h, floor=roundings(2e-16),
        hypotheses=hypotheses, size=1,
        witness=lambda k: {"p": float(p[k])}, confirm=confirm,
        notes=f"the constant 2 could be {top:.6f}, reached at p = {sharpest:.4f} "
        "(razin2020.lem9.sharp)",
    )  # fmt: skip
    small = p <= 0.5
    yield Case(
        name="2 sqrt(p (1 - p)), from the proof",
        slack=factor * np.sqrt(p[small] * (1 - p[small])) - h[small],
        floor=roundings(2e-16),
        hypotheses=hypotheses,
        size=1,
        notes="there the constant 2 could be 2 ln 2 = 1.386, reached at p = 1/2",
    )


@claim(
    "razin2020.lem11",
    kind="inequality",
    where="Appendix G.2.2, Lemma 11",
    statement=r"B \succeq 0 \Rightarrow \mathrm{Tr}(A^\top B A) \ge \lambda_1(B)\,\sigma_d(A)^2",
    control={"factor": 1.1},
    control_text="1.1 times the right side",
    best=_best.LEM11,
)
def lem11(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """B = C C^T; A and C searched."""
    yield _printed_lemmas.lem11(factor)
    for d in (1, 2, 3, 4):
        shapes = [(d, d), (d, d)]

        def sides(x: np.ndarray, shapes: Any = shapes) -> tuple[Any, Any]:
            a, c = _matrices(x, shapes)
            left = np.sum((np.swapaxes(c, 1, 2) @ a) ** 2, axis=(1, 2))
            top = np.linalg.svd(c)[1][:, 0] ** 2
            return left, factor * top * np.linalg.svd(a)[1][:, -1] ** 2

        def exactly(x: Sequence[Any], shapes: Any = shapes) -> tuple[Any, Any]:
            a, c = _exact_matrices(x, shapes)
            b = c * c.T
            trace = a.T * b * a
            left = sum(trace[i, i] for i in range(a.rows))
            top = max(mpmath.eigsy(b, eigvals_only=True))
            least = min(mpmath.svd_r(a, compute_uv=False))
            return left, factor * top * least**2

        yield searched_case(
            f"{d}x{d}",
            Inequality(sides, exactly, _plain(shapes, ("A", "C with B = C C^T"))),
            gaussian_points(2 * d * d, sparse=False),
            settings,
            hypotheses=lambda x: {"B = C C^T": ByConstruction("C is what is searched")},
            size=d * d,
            samples=1000,
            starts=1,
            rounds=2,
            notes="equality where A is orthogonal up to scale and B has rank one",
        )


@claim(
    "razin2020.lem12",
    kind="inequality",
    where="Appendix G.2.2, Lemma 12",
    statement=r"\Big\|\prod_l A_l - \prod_l B_l\Big\|_F \le \sum_l \|A_l - B_l\|_F "
    r"\prod_{r\ne l}\max\{\|A_r\|_F, \|B_r\|_F\}",
    control={"factor": 0.9},
    control_text="0.9 times the right side",
    best=_best.LEM12,
)
def lem12(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """Chains of several lengths and shapes, searched."""
    yield _printed_lemmas.lem12(factor)
    chains = [(1, 1), (1, 1, 1), (2, 3, 2), (1, 2, 1, 2)]
    if settings.full:
        chains += [(2, 2, 2, 2), (1, 2, 3, 1, 2)]
    for dims in chains:
        shapes = list(zip(dims[1:], dims[:-1], strict=True))
        count = len(shapes)

        def sides(x: np.ndarray, shapes: Any = shapes, count: int = count) -> tuple[Any, Any]:
            both = _matrices(x, shapes * 2)
            a, b = both[:count], both[count:]
            first, second = a[0], b[0]
            for left, right in zip(a[1:], b[1:], strict=True):
                first, second = left @ first, right @ second
            size = [np.linalg.norm(m, axis=(1, 2)) for m in both]
            most = [np.maximum(size[r], size[count + r]) for r in range(count)]
            total = sum(
                np.linalg.norm(a[l] - b[l], axis=(1, 2))
                * np.prod([most[r] for r in range(count) if r != l], axis=0)
                for l in range(count)
            )
            return factor * total, np.linalg.norm(first - second, axis=(1, 2))

        def exactly(x: Sequence[Any], shapes: Any = shapes, count: int = count) -> tuple[Any, Any]:
            both = _exact_matrices(x, shapes * 2)
            a, b = both[:count], both[count:]
            first, second = a[0], b[0]
            for left, right in zip(a[1:], b[1:], strict=True):
                first, second = left * first, right * second
            most = [max(_size(a[r]), _size(b[r])) for r in range(count)]
            total = mpmath.mpf(0)
            for l in range(count):
                term = _size(a[l] - b[l])
                for r in range(count):
                    term = term * most[r] if r != l else term
                total += term
            return factor * total, _size(first - second)

        names = [f"{letter}_{l + 1}" for letter in "AB" for l in range(count)]
        yield searched_case(
            f"sizes {dims}",
            Inequality(sides, exactly, _plain(shapes * 2, names)),
            gaussian_points(2 * sum(rows * columns for rows, columns in shapes)),
            settings,
            hypotheses=lambda x: {"matching sizes": ByConstruction("those of one chain")},
            size=float(sum(rows * columns for rows, columns in shapes)),
            samples=1000,
            starts=1,
            rounds=2,
        )
