r"""Wang and Basu Roy Chowdhury 2024, Sections 7 and 8: entries, singular values, entropy, ranks."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from gradflow.claims import (
    FIFTY_DIGITS,
    ByConstruction,
    Case,
    Confirmation,
    Corrected,
    Measured,
    Settings,
    claim,
    roundings,
)
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles.high_precision import DIGITS, singular_values_2x2
from gradflow.claims.oracles.search import Inequality, searched_case
from gradflow.claims.proofs.interval import entropy, interval

from ..razin2020._printed_lemmas import entropy_step as entropy_step_proof
from ..razin2020.loss_bounds import (
    FLOATS,
    PRECISE,
    Situation,
    draw,
    flow_case,
    guarded,
    inequality,
    met,
)
from . import _best, _proofs


@claim(
    "wang2024.eq20",
    kind="inequality",
    where="Section 7, Equations (18)-(20)",
    statement=r"|W_{12}-1|, |W_{21}-1|, |W_{22}| \le \sqrt{2\ell};\ \ell < \tfrac12 \Rightarrow "
    r"|W_{11}| \ge \frac{(1-\sqrt{2\ell})^2}{\sqrt{2\ell}} "
    r"= \frac{1}{\sqrt{2\ell}} - 2 + \sqrt{2\ell}",
    control={"factor": 1.1, "share": 0.9},
    control_text="1.1 times the bound of (20), 0.9 sqrt(2 loss) in (18) and (19)",
    best=_best.EQ20,
)
def eq20(settings: Settings, factor: float = 1.0, share: float = 1.0) -> Iterator[Case]:
    """Matrices of positive determinant, searched, and the exact flows."""
    yield _proofs.eq20(factor, share)

    def entry(which: int) -> Any:
        def bound(at: Situation, math: Any) -> tuple[Any, Any]:
            return share * at.s, abs((at.w12 - 1, at.w21 - 1, at.w22)[which])

        return bound

    def corner(at: Situation, math: Any) -> tuple[Any, Any]:
        return abs(at.w11), factor * (1 - at.s) ** 2 / at.s

    for which, name in enumerate(("(18), W_12", "(18), W_21", "(19)")):
        yield searched_case(
            name, inequality(entry(which)), draw(False), settings, hypotheses=met(False), size=4,
            samples=1000, starts=1, rounds=1,
        )  # fmt: skip
    yield searched_case(
        "(20)", inequality(guarded(corner)), draw(False, 0.999), settings, hypotheses=met(True),
        size=4,
    )  # fmt: skip
    yield from flow_case(settings, corner, 0.5)
    s = np.linspace(1e-3, 1, 200)
    yield Case(
        name="the equality in (20)",
        residual=((1 - s) ** 2 / s - (1 / s - 2 + s)) * s,
        floor=roundings(1e-15),
        hypotheses={"0 < sqrt(2 loss) <= 1": ByConstruction("a grid")},
    )


@claim(
    "wang2024.lem6",
    kind="inequality",
    where="Section 8, Lemma 6",
    statement=r"A = \begin{pmatrix}a&b\\c&d\end{pmatrix}:\ \sigma_1^2 \ge a^2+c^2,\ "
    r"\sigma_1^2+\sigma_2^2 = a^2+b^2+c^2+d^2,\ \sigma_2^2 \le b^2+d^2",
    control={"share": 0.9},
    control_text="0.9 (b^2 + d^2)",
    best=_best.LEM6,
)
def lem6(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """Searched over 2x2 matrices."""
    yield _proofs.lem6(share)

    def points(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.normal(size=(count, 4)) * 10 ** rng.uniform(-2, 2, (count, 4))

    def values(x: np.ndarray) -> np.ndarray:
        return np.linalg.svd(x.reshape(-1, 2, 2), compute_uv=False) ** 2

    def exact(x: Sequence[Any]) -> Any:
        return singular_values_2x2(mpmath.matrix([list(x[:2]), list(x[2:])]))

    def plain(x: np.ndarray) -> dict[str, Any]:
        return {"A": x.reshape(2, 2).tolist()}

    for name, made in (
        (
            "sigma_1^2",
            Inequality(
                lambda x: (values(x)[:, 0], x[:, 0] ** 2 + x[:, 2] ** 2),
                lambda x: (exact(x)[0] ** 2, x[0] ** 2 + x[2] ** 2),
                plain,
            ),
        ),
        (
            "sigma_2^2",
            Inequality(
                lambda x: (share * (x[:, 1] ** 2 + x[:, 3] ** 2), values(x)[:, 1]),
                lambda x: (share * (x[1] ** 2 + x[3] ** 2), exact(x)[1] ** 2),
                plain,
            ),
        ),
    ):
        yield searched_case(
            name, made, points, settings, size=4, samples=2000,
            hypotheses=lambda x: {"a 2x2 matrix": ByConstruction("four numbers")},
        )  # fmt: skip
    x = points(np.random.default_rng(settings.seed), 500)
    total = np.sum(x**2, axis=1)
    yield Case(
        name="the sum of squares",
        residual=(np.sum(values(x), axis=1) - total) / total,
        floor=roundings(1e-14),
        hypotheses={"2x2 matrices": ByConstruction("four numbers")},
    )


def _entropy(e: Any) -> Any:
    return -(1 - e) * mpmath.log1p(-e) - e * mpmath.log(e)


_SMALL = [Fraction(1, 10**k) for k in (1, 2, 3, 6, 9, 12)]


@claim(
    "wang2024.entropy_step",
    kind="inequality",
    where="Section 8, the bound of the entropy before the conclusion for the effective rank",
    statement=r"H(1-\epsilon, \epsilon) \le (1-\epsilon)\epsilon \le \epsilon "
    r"\text{ as } \epsilon \to 0",
    control={"factor": 0.9},
    control_text="0.9 of it",
    flaw="The term -epsilon ln epsilon is dropped, and it is the larger one: H / epsilon tends to "
    "infinity. With rho_2 = O(sqrt(loss)) alone the text so proves no more than "
    "erank <= 1 + O(sqrt(loss) ln(1/loss)); (12) itself survives, for rho_2 = O(loss).",
    severity="substance",
    survives="(12) itself, for rho_2 is O(loss) and not only O(sqrt(loss)), as the cited theorem "
    "shows; not this derivation, which gives no more than sqrt(loss) ln(1/loss).",
    corrected=Corrected(
        r"H(1-\epsilon, \epsilon) \le \epsilon(1 + \ln(1/\epsilon)) \le 2\sqrt\epsilon,\quad "
        r"0 < \epsilon \le 1",
        control={"factor": 0.9},
        control_text="0.9 of the first bound",
        best=_best.ENTROPY_STEP,
    ),
)
def entropy_step(settings: Settings, corrected: bool, factor: float = 1.0) -> Iterator[Case]:
    """Powers of ten; corrected also the whole interval, down to 1e-300, and the second bound."""
    top = 1 if corrected else Fraction(1, 10)

    def bound_at(e: Any) -> Any:
        return factor * e * (1 - (mpmath.log(e) if corrected else e))

    for e in _SMALL:
        with mpmath.workdps(DIGITS):
            small = mpmath.mpf(e.numerator) / e.denominator
            bound, h = bound_at(small), _entropy(small)
            slack = float((bound - h) / (bound + h))

        def confirm(k: int, e: Fraction = e, h: Any = h, bound: Any = bound) -> Confirmation:
            gap = entropy(interval(e)) - interval(factor) * interval(e)  # of the last bound
            gap += 0 if corrected else interval(factor) * interval(e) ** 2
            return Confirmation(
                bool(gap > 0) if not corrected else bool(h > bound),
                f"epsilon = {e}: H = {mpmath.nstr(h, 20)} > {mpmath.nstr(bound, 20)}, even "
                f"> epsilon = {float(e):g}: {bool(h > float(e))}",
                () if corrected else (gap,),
            )

        yield Case(
            name=f"epsilon = {e}", slack=[slack], floor=FIFTY_DIGITS,
            hypotheses={f"0 < epsilon <= {top}": ByConstruction("chosen so")}, size=e.denominator,
            confirm=confirm, notes=f"H / epsilon = {mpmath.nstr(h / small, 8)}",
        )  # fmt: skip
    if corrected:
        yield entropy_step_proof(factor)
        yield from _interval_cases(settings, bound_at)


def _interval_cases(settings: Settings, bound_at: Callable[[Any], Any]) -> Iterator[Case]:
    """The entropy below its bound, and e (1 - ln e) below 2 sqrt(e)."""
    points = np.concatenate(
        [np.geomspace(1e-300, 1, 600 if settings.full else 120)[:-1], np.linspace(0.01, 0.999, 60)]
    )
    slack, second = [], []
    with mpmath.workdps(DIGITS):
        exact = [mpmath.mpf(e.numerator) / e.denominator for e in _SMALL]
        for e in [*exact, *(mpmath.mpf(float(v)) for v in points)]:
            slack.append(float((bound_at(e) - _entropy(e)) / bound_at(e)))
            second.append(float(1 - e * (1 - mpmath.log(e)) / (2 * mpmath.sqrt(e))))
    hypotheses = {"0 < epsilon <= 1": ByConstruction("a grid")}
    yield Case(name="H", slack=slack, floor=FIFTY_DIGITS, hypotheses=hypotheses, size=1)
    yield Case(
        name="2 sqrt(epsilon)", slack=second, floor=FIFTY_DIGITS, hypotheses=hypotheses, size=1
    )


_CLOSE = 0.1
"""What counts as close: a distance that the loss of a solution, 0, must make 0 in the end."""


def _distance_cases(first: float) -> Iterator[Case]:
    """The distance in whole numbers, for matrices with a at least 1000 times the other entries."""
    for a, b, c, d in ((1000, 0, 0, 0), (1000, 1, 1, 0), (5000, 5, 5, 0), (10**6, 30, -20, 10)):
        rest = max(abs(b), abs(c), abs(d))
        exact = Fraction(b - 1) ** 2 + Fraction(c - 1) ** 2 + (Fraction(d) - Fraction(1, a)) ** 2
        root = np.sqrt(a)
        u = np.array([[root], [1 / root]])
        gap = np.linalg.norm(np.array([[0, b - 1], [c - 1, d - 1 / a]]))
        # By the matrices themselves; a cancels to the round-off of a.
        direct = np.linalg.norm(np.array([[a, b], [c, d]]) - u @ u.T)
        printed = np.sqrt((b - first) ** 2 + (c - 1) ** 2 + (d - 1 / a) ** 2)

        def confirm(k: int, at: Any = (a, b, c, d), exact: Fraction = exact) -> Confirmation:
            return Confirmation(
                exact > Fraction(1, 100),
                f"A = [[{at[0]}, {at[1]}], [{at[2]}, {at[3]}]], A' = [[{at[0]}, 1], [1, 1/{at[0]}]]"
                f": ||A - A'||^2 = {exact} = {float(exact):.9g}, not small",
                (exact,),
            )

        hypotheses = {"a over max(|b|, |c|, |d|, 1)": Measured(a / max(rest, 1), above=999)}
        yield Case(
            name=f"A = [[{a}, {b}], [{c}, {d}]], distance at most {_CLOSE}",
            slack=[_CLOSE - gap], floor=roundings(1e-14), hypotheses=hypotheses,
            size=rest + a / 1e9,
            confirm=confirm,
        )  # fmt: skip
        yield Case(
            name=f"A = [[{a}, {b}], [{c}, {d}]], the printed distance",
            residual=[(direct - printed) / (1 + direct)], floor=roundings(1e-15 * a, "of a"),
            hypotheses=hypotheses,
            size=1e9,
        )  # fmt: skip


def _loss_cases(settings: Settings, factor: float) -> Iterator[Case]:
    """Searched: 1/W_11 < W_22 / (W_12 W_21) < 2 W_22, so |W_22 - 1/W_11| <= W_22."""
    limit = float(_proofs.LIMIT)

    def bound(at: Situation, math: Any) -> tuple[Any, Any]:
        gap = (at.w12 - 1) ** 2 + (at.w21 - 1) ** 2 + (at.w22 - 1 / at.w11) ** 2
        larger, smaller = factor * at.s, math.sqrt(gap)
        if math is PRECISE:
            return larger, smaller
        return np.where((at.s <= limit) & (at.w11 > 0), larger, np.nan), smaller

    def points(rng: np.random.Generator, count: int) -> np.ndarray:
        x = draw(False, 0.999 * limit)(rng, count)
        x[:, 2] = np.abs(x[:, 2])
        return x

    def hypotheses(x: np.ndarray) -> dict[str, Met]:
        at = Situation(x.T, FLOATS)
        return met(False)(x) | {
            "loss at most 3/2 - sqrt(2): sqrt(2 loss) over its limit": Measured(
                float(np.max(at.s / limit)), below=1 + 1e-12
            ),
            "W_11 > 0": Measured(float(np.min(at.w11)), above=0),
        }

    yield searched_case(
        "matrices of positive determinant", inequality(bound), points, settings,
        hypotheses=hypotheses, size=4,
        notes="for W_11 < 0 the same with W_11 (1, 1/W_11)^T (1, 1/W_11)",
    )  # fmt: skip


@claim(
    "wang2024.irank_proof",
    kind="inequality",
    where="Section 8, the rank-one matrix for the infimal rank",
    statement=r"a > 0,\ a \gg b, c, d \Rightarrow A' = uu^\top,\ u = [a^{1/2}, a^{-1/2}]^\top "
    r"\text{ is close to } A:\ \|A-A'\|_F^2 = (b-1)^2+(c-1)^2+(d-a^{-1})^2",
    control={"first": 1.1},
    control_text="(b - 1.1)^2 instead of (b - 1)^2",
    flaw="A large a does not bring u u^T near A: its entries beside a are 1, so that b and c must "
    "be near 1 and d near 0, which is what a small loss means. That a = W_11 is positive is "
    "assumed too, while det W > 0 allows W_11 to tend to minus infinity.",
    severity="missing hypothesis",
    survives="(13): where it is used, A is W at a small loss, so that b and c are near 1 and d "
    "near 0; for a < 0 take -u u^T with u = (|a|^(1/2), -|a|^(-1/2)).",
    readings={
        "a large against b, c, d, as printed": "fails",
        "A = W with W_11 > 0 and a small loss, as it is used": "holds",
    },
    corrected=Corrected(
        r"\det W > 0,\ W_{11} > 0,\ \ell(W) \le \tfrac32 - \sqrt2 \Rightarrow "
        r"\|W - uu^\top\|_F \le \sqrt{2\ell(W)}",
        control={"factor": 0.9},
        control_text="0.9 sqrt(2 loss)",
        best=_best.IRANK_PROOF,
    ),
)
def irank_proof(
    settings: Settings, corrected: bool, first: float = 1.0, factor: float = 1.0
) -> Iterator[Case]:
    """Printed, the distance where a is large; corrected, where the loss is small."""
    if corrected:
        yield _proofs.irank_proof(factor)
        yield from _loss_cases(settings, factor)
    else:
        yield from _distance_cases(first)
