r"""Razin and Cohen 2020: entries and singular values from the loss (Lemmas 18, 19, 25, 26, (51)).

All of them hold at every time of a flow whose determinant has the sign of z z'. Every matrix of
that sign is the product at time 0 of such a flow, so they are statements on single matrices, and
that is how they are searched: w_11 = (det + w_12 w_21) / w_22 with any determinant of that sign.
Below, s stands for sqrt(2 loss).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mpmath
import numpy as np

from gradflow.claims import ByConstruction, Case, Confirmation, Measured, Settings, claim, roundings
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles.high_precision import DIGITS, Real, singular_values_2x2
from gradflow.claims.oracles.search import Draw, Inequality, searched_case
from gradflow.claims.proofs.interval import interval

from . import _best, _printed
from ._enclosed import PERTURBED_FLOWS, along, entry_and_loss
from .theorem1 import along_flows, exact_loss, exact_product, theorem1_hypotheses

Bound = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
"""From (|w_11|, s, both singular values, (z, z', epsilon)) to (larger, smaller)."""


class Situation:
    """A matrix, the observations and what the bounds are made of, for floats and for mpmath.

    Search coordinates are (w_12 - z, w_21 - z', w_22, log |det|, z, z', epsilon), the last three
    only where they are free.
    """

    def __init__(self, x: Any, math: Any):
        self.free = len(x) > 4
        one = x[0] * 0 + 1
        self.z, self.z2, self.eps = (x[4], x[5], x[6]) if self.free else (one, one, 0 * one)
        self.w12, self.w21, self.w22 = self.z + x[0], self.z2 + x[1], x[2]
        self.sign = math.sign(self.z * self.z2)
        self.det = self.sign * math.exp(x[3])
        self.w11 = (self.det + self.w12 * self.w21) / self.w22
        self.s = math.sqrt(x[0] ** 2 + x[1] ** 2 + (self.w22 - self.eps) ** 2)
        square = self.w11**2 + self.w12**2 + self.w21**2 + self.w22**2
        size = abs(self.det)
        with np.errstate(over="ignore"):
            root = math.sqrt((square - 2 * size) * (square + 2 * size))
        self.first = math.sqrt((square + root) / 2)
        self.second = size / self.first

    def matrix(self) -> list[list[float]]:
        """W as plain numbers."""
        return [[float(self.w11), float(self.w12)], [float(self.w21), float(self.w22)]]


class _Floats:
    sign, minimum = np.sign, np.minimum

    @staticmethod
    def exp(x: Any) -> Any:
        return np.exp(np.clip(x, -300, 300))

    @staticmethod
    def sqrt(x: Any) -> Any:
        return np.sqrt(np.maximum(x, 0))


class _Precise:
    sign, minimum = mpmath.sign, min

    @staticmethod
    def exp(x: Any) -> Any:
        return mpmath.exp(min(max(x, -300), 300))

    @staticmethod
    def sqrt(x: Any) -> Any:
        return mpmath.sqrt(max(x, 0))


FLOATS: Any = _Floats
PRECISE: Any = _Precise


def inequality(bound: Callable[[Situation, Any], tuple[Any, Any]]) -> Inequality:
    """A bound as something to search."""

    def plain(x: np.ndarray) -> dict[str, Any]:
        at = Situation(x, FLOATS)
        found: dict[str, Any] = {"W": at.matrix(), "det": float(at.det), "s": float(at.s)}
        if at.free:
            found |= {"z": float(at.z), "z'": float(at.z2), "epsilon": float(at.eps)}
        return found

    def exactly(x: Sequence[Any]) -> tuple[Any, Any]:
        return bound(Situation(x, PRECISE), PRECISE)

    return Inequality(
        sides=lambda x: bound(Situation(x.T, FLOATS), FLOATS), exactly=exactly, plain=plain
    )


def draw(free: bool, below: float | None = None) -> Draw:
    """Random points; with `below`, s is at most that share of its limit min(|z|, |z'|)."""

    def points(rng: np.random.Generator, count: int) -> np.ndarray:
        step = rng.normal(size=(count, 3)) * 10 ** rng.uniform(-4, 1.5, (count, 1))
        z = np.ones((count, 3)) * [1, 1, 0]
        if free:
            z = rng.choice([-1, 1], (count, 3)) * 10 ** rng.uniform(-1, 1, (count, 3))
            z[:, 2] *= 10 ** rng.uniform(-4, 0.5, count) * (rng.uniform(size=count) < 0.8)
        if below is not None:
            limit = below * np.min(np.abs(z[:, :2]), axis=1, keepdims=True)
            length = np.linalg.norm(step, axis=1, keepdims=True)
            step *= np.minimum(1, limit / length)
        step[:, 2] += z[:, 2]
        log_det = rng.uniform(-30, 5, (count, 1))
        return np.concatenate([step, log_det, z] if free else [step, log_det], axis=1)

    return points


def met(below: bool) -> Callable[[np.ndarray], dict[str, Met]]:
    """The hypotheses, read off the points."""

    def hypotheses(x: np.ndarray) -> dict[str, Met]:
        at = Situation(x.T, FLOATS)
        product = at.z * at.z2
        found: dict[str, Met] = {
            "det W has the sign of z z'": Measured(
                float(np.min(at.det * np.sign(product))), above=0
            ),
            "z and z' are not 0": Measured(float(np.min(np.abs(product))), above=0),
        }
        if below:
            limit = np.minimum(np.abs(at.z), np.abs(at.z2))
            found["sqrt(2 loss) over min(|z|, |z'|)"] = Measured(
                float(np.max(at.s / limit)), below=1
            )
        return found

    return hypotheses


def guarded(bound: Callable[[Situation, Any], tuple[Any, Any]]) -> Any:
    """No number where the loss is too large, so that the search stays within the hypothesis."""

    def sides(at: Situation, math: Any) -> tuple[Any, Any]:
        larger, smaller = bound(at, math)
        if math is FLOATS:
            inside = at.s < np.minimum(np.abs(at.z), np.abs(at.z2))
            return np.where(inside, larger, np.nan), smaller
        return larger, smaller

    return sides


def flow_case(
    settings: Settings, bound: Callable[[Situation, Any], tuple[Any, Any]], below: float
) -> Iterator[Case]:
    """A bound of the plain problem (z = z' = 1, epsilon = 0) along the exact flows."""
    for name, depth, pair in along_flows(settings):
        chosen = np.flatnonzero(pair.tight["loss"][: pair.common] < below)

        def sides(run: Any, k: int) -> tuple[Any, Any]:
            return bound(_recorded(*exact_product(run, k)), PRECISE)

        slack, floor = [], []
        with mpmath.workdps(DIGITS):
            for k in chosen:
                at = [sides(run, int(k)) for run in (pair.tight, pair.coarse)]
                slack_k = [(big - small) / (abs(big) + abs(small)) for big, small in at]
                slack.append(float(slack_k[0]))
                floor.append(float(abs(slack_k[0] - slack_k[1])) + 1e-14)

        def confirm(at: int, run: Any = pair.tight, chosen: Any = chosen) -> Confirmation:
            with mpmath.workdps(DIGITS):
                w, det = exact_product(run, int(chosen[at]))
                larger, smaller = bound(_recorded(w, det), PRECISE)
                return Confirmation(
                    bool(larger < smaller and det > 0),
                    f"at W = {run['product'][chosen[at]].tolist()}, det = {mpmath.nstr(det, 8)}: "
                    f"{mpmath.nstr(larger, 20)} < {mpmath.nstr(smaller, 20)}",
                )

        yield Case(
            name=name,
            slack=slack,
            floor=floor,
            hypotheses=theorem1_hypotheses(pair.tight, depth)
            | {"the loss": Measured(float(np.max(pair.tight["loss"][chosen])), below=below)},
            size=4,
            confirm=confirm,
        )


def _recorded(w: Any, det: Real) -> Situation:
    """The situation at a record of a flow of the plain problem."""
    at = Situation([mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(1), mpmath.mpf(0)], PRECISE)
    at.w11, at.w12, at.w21, at.w22, at.det = w[0, 0], w[0, 1], w[1, 0], w[1, 1], det
    at.s = mpmath.sqrt(2 * exact_loss(w))
    at.first, at.second = singular_values_2x2(w)
    return at


@claim(
    "razin2020.lem18",
    kind="inequality",
    where="Appendix G.5, Lemma 18",
    statement=r"\ell < \tfrac12 \Rightarrow |w_{11}| > \frac{(1-\sqrt{2\ell})^2}{\sqrt{2\ell}} "
    r"= \frac1{\sqrt{2\ell}} - 2 + \sqrt{2\ell}",
    control={"factor": 1.1},
    control_text="1.1 times the bound",
    best=_best.LEM18,
)
def lem18(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """Matrices of positive determinant, searched, and the exact flows."""
    yield _printed.lem18(factor)
    yield from along(lambda at: entry_and_loss(at, factor))

    def bound(at: Situation, math: Any) -> tuple[Any, Any]:
        return abs(at.w11), factor * (1 - at.s) ** 2 / at.s

    yield searched_case(
        "matrices of positive determinant", inequality(guarded(bound)), draw(False, 0.999),
        settings, hypotheses=met(True), size=4,
        notes="to leading order the bound is sharp; the term -2 is not (razin2020.lem18.sharp)",
    )  # fmt: skip
    yield from flow_case(settings, bound, 0.5)
    s = np.linspace(1e-3, 1, 500)
    yield Case(
        name="the printed equality",
        residual=((1 - s) ** 2 / s - (1 / s - 2 + s)) * s,
        floor=roundings(1e-15),
        hypotheses={"0 < s <= 1": ByConstruction("a grid")},
    )


@claim(
    "razin2020.lem19",
    kind="inequality",
    where="Appendix G.5, Lemma 19, Equations (32) and (33)",
    statement=r"\sigma_1 \ge |w_{11}| - \sqrt{2\ell},\ \sigma_2 \le 3\sqrt{2\ell};\ "
    r"\ell < \tfrac12 \Rightarrow \sigma_1 \ge \frac1{\sqrt{2\ell}} - 2",
    control={"constant": 0.9, "push": 1.1},
    control_text="0.9 instead of 3 in (32), 1.1 / sqrt(2 loss) in (33)",
    best=_best.LEM19,
)
def lem19(settings: Settings, constant: float = 3.0, push: float = 1.0) -> Iterator[Case]:
    """The three bounds, searched over matrices, and the last two along the exact flows."""
    yield _printed.lem19(constant, push)
    yield from along(lambda at: (at.first, at.entry - at.s), label="sigma_1 and w_11")
    yield from along(lambda at: (interval(constant) * at.s, at.second), label="sigma_2")
    yield from along(lambda at: (at.first, interval(push) / at.s - 2), label="sigma_1 and the loss")

    def first(at: Situation, math: Any) -> tuple[Any, Any]:
        return at.first, abs(at.w11) - at.s

    def second(at: Situation, math: Any) -> tuple[Any, Any]:
        return constant * at.s, at.second

    def third(at: Situation, math: Any) -> tuple[Any, Any]:
        return at.first, push / at.s - 2

    for name, bound, below in (
        ("sigma_1 and w_11", first, None),
        ("sigma_2", second, None),
        ("sigma_1 below loss 1/2", third, 0.999),
    ):
        yield searched_case(
            name,
            inequality(guarded(bound) if below else bound),
            draw(False, below),
            settings,
            hypotheses=met(below is not None),
            size=4,
            notes="sigma_2 <= sqrt(2 loss) (razin2020.thm1.irank.sharp): W and its projection onto "
            "S (determinant -1) are joined by a segment of that length"
            if name == "sigma_2"
            else "",
        )
    yield from flow_case(settings, second, np.inf)
    yield from flow_case(settings, third, 0.5)


@claim(
    "razin2020.lem25",
    kind="inequality",
    where="Appendix G.8, Lemma 25",
    statement=r"\ell < \tfrac12\min\{z^2, z'^2\} \Rightarrow |w_{11}| > "
    r"\frac{(|z|-\sqrt{2\ell})(|z'|-\sqrt{2\ell})}{|\epsilon|+\sqrt{2\ell}} \ge "
    r"\frac{|z||z'|}{|\epsilon|+\sqrt{2\ell}} - (|z|+|z'|)",
    control={"factor": 1.1},
    control_text="1.1 times the middle term",
    best=_best.LEM25,
)
def lem25(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """Both inequalities, searched over matrices and observations."""
    yield _printed.lem25(factor)
    yield from along(lambda at: entry_and_loss(at, factor), PERTURBED_FLOWS)

    def first(at: Situation, math: Any) -> tuple[Any, Any]:
        middle = (abs(at.z) - at.s) * (abs(at.z2) - at.s) / (abs(at.eps) + at.s)
        return abs(at.w11), factor * middle

    def second(at: Situation, math: Any) -> tuple[Any, Any]:
        middle = (abs(at.z) - at.s) * (abs(at.z2) - at.s) / (abs(at.eps) + at.s)
        right = abs(at.z * at.z2) / (abs(at.eps) + at.s) - (abs(at.z) + abs(at.z2))
        return middle, right

    for name, bound in (("w_11 and the middle", first), ("the middle and the right", second)):
        yield searched_case(
            name, inequality(guarded(bound)), draw(True, 0.999), settings,
            hypotheses=met(True), size=4,
        )  # fmt: skip


@claim(
    "razin2020.lem26",
    kind="inequality",
    where="Appendix G.8, Lemma 26, Equations (49) and (50)",
    statement=r"\sigma_1 \ge \tfrac1{\sqrt2}|w_{11}| - \sqrt{2\ell},\ \sigma_2 \le 4|\epsilon| + "
    r"\Big(4+\tfrac{\sqrt{|z||z'|}}{\min\{|z|,|z'|\}}\Big)\sqrt{2\ell};\ "
    r"\ell < \tfrac12\min\{z^2,z'^2\} \Rightarrow \sigma_2 \le 4|\epsilon| + 4\sqrt{2\ell}",
    control={"constant": 0.9, "extra": 0.0},
    control_text="0.9 instead of 4, and no square root term",
    best=_best.LEM26,
)
def lem26(settings: Settings, constant: float = 4.0, extra: float = 1.0) -> Iterator[Case]:
    """The three bounds, searched over matrices and observations."""
    yield _printed.lem26(constant, extra)
    yield from along(
        lambda at: (
            interval(constant) * (at.epsilon + at.s) + interval(extra) * at.ratio * at.s, at.second
        ),
        PERTURBED_FLOWS, "sigma_2 at any loss",
    )  # fmt: skip

    def first(at: Situation, math: Any) -> tuple[Any, Any]:
        return at.first, abs(at.w11) / math.sqrt(abs(at.z) * 0 + 2) - at.s

    def second(at: Situation, math: Any) -> tuple[Any, Any]:
        least = math.minimum(abs(at.z), abs(at.z2))
        slope = constant + extra * math.sqrt(abs(at.z * at.z2)) / least
        return constant * abs(at.eps) + slope * at.s, at.second

    def third(at: Situation, math: Any) -> tuple[Any, Any]:
        return constant * (abs(at.eps) + at.s), at.second

    sharp = "sigma_2 <= |epsilon| + sqrt(2 loss) at every loss (razin2020.thm2.irank.sharp)"
    for name, bound, below, notes in (
        ("sigma_1 and w_11", first, None, ""),
        ("sigma_2 at any loss", second, None, sharp),
        ("sigma_2 at a small loss", third, 0.999, sharp),
    ):
        yield searched_case(
            name, inequality(guarded(bound) if below else bound), draw(True, below), settings,
            hypotheses=met(below is not None), size=4, notes=notes,
        )  # fmt: skip
