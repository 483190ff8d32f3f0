r"""Wang and Basu Roy Chowdhury 2024: Theorems 1 and 2, Lemmas 4 and 5 (Sections 5 to 7).

Theorem 1 is printed without depth at least 2 and without balancedness; both are needed.
"""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from gradflow.claims import (
    ByConstruction,
    Case,
    Confirmation,
    Convention,
    Corrected,
    Measured,
    Settings,
    claim,
)
from gradflow.claims.oracles import taylor
from gradflow.claims.oracles.flows import balanced
from gradflow.claims.oracles.high_precision import (
    DIGITS,
    precise,
    product_velocity,
    show,
    singular_values_2x2,
    svd,
)
from gradflow.claims.oracles.norms import SCHATTEN, Norm
from gradflow.claims.oracles.singular_values import large_cases, small_cases
from gradflow.factorizations.starts import balanced_factors

from ..arora2019 import product_flow as arora2019
from ..arora2019._proofs import value_flow
from ..razin2020 import theorem1 as razin2020
from ..razin2020.lemma6 import witness_cases
from . import _best, _proofs
from .free_flows import UNBALANCED, free_cases, unbalanced_end

FROBENIUS = next(norm for norm in SCHATTEN if norm.name == "Schatten-2")


_WHERE = (
    "from balanced starts, to which Section 6 restricts the flow, at depth at least 2, which "
    "Lemma 5 asks for"
)
_READINGS = {
    "any depth and start, as printed": "fails",
    "depth at least 2 and the balanced start of Section 6": "holds",
}
_FLAW = (
    "Theorem 1 asks neither for depth at least 2 nor for a balanced start, but its proof keeps "
    "det W > 0 by Lemma 5, which asks for the first and needs both: at depth 1, or from "
    "W_1 = 4 I, W_2 = I/4, the determinant changes its sign and the flow ends at a finite solution."
)
_BALANCED = r"L \ge 2,\ \text{balanced start},\ \det W(0) > 0 \Rightarrow "


@claim(
    "wang2024.thm1.norm",
    kind="inequality",
    where="Section 5, Theorem 1, Equation (11)",
    statement=r"\det W(0) > 0 \Rightarrow \|W(t)\| \ge \frac{a}{\sqrt{\ell(t)}} - b,\quad "
    r"a > 0, b \text{ depend on the norm only}",
    control={"power": 0.6},
    control_text="a / loss^0.6 instead of a / sqrt(loss)",
    flaw=_FLAW,
    severity="missing hypothesis",
    survives=f"The bound as the notes go on to prove it: {_WHERE}.",
    readings=_READINGS,
    corrected=Corrected(
        _BALANCED
        + r"\|W(t)\| \ge a/\sqrt{\ell(t)} - b \text{ with } a, b \text{ of razin2020, (8)}",
        control={"power": 0.6},
        control_text="a / loss^0.6 instead of a / sqrt(loss)",
        best=_best.THM1_NORM,
    ),
)
def thm1_norm(settings: Settings, corrected: bool, power: float = 0.5) -> Iterator[Case]:
    """With the constants of razin2020, and with a far smaller a and a far larger b.

    Corrected, the flows and norms on which razin2020's Theorem 1 is checked.
    """
    if corrected:
        yield from razin2020.thm1_norm.function(settings, power=power)
        return
    yield _proofs.theorem1_case()
    for a, b in ((FROBENIUS.a, FROBENIUS.b), (1e-3, 1e3)):

        def bound(
            w: Any, loss: Any, norm: Norm = FROBENIUS, a: float = a, b: float = b
        ) -> tuple[Any, Any]:
            return norm.precisely(w), a / loss ** mpmath.mpf(power) - b

        cases = free_cases(
            bound, f"||W||_F against {a:.4g} / sqrt(loss) - {b:g}", f"a = {a:.3g}, b = {b:g}"
        )
        # At t = 10 the loss is not yet small enough for the weaker constants.
        yield from (case for case in cases if b < 1e3 or "t = 10" not in case.name)


@claim(
    "wang2024.thm1.erank",
    kind="inequality",
    where="Section 5, Theorem 1, Equation (12)",
    statement=r"\det W(0) > 0 \Rightarrow \mathrm{erank}(W(t)) \le \inf_S\mathrm{erank} + "
    r"c_1\sqrt{\ell(t)}",
    control={"power": 0.6},
    control_text="loss^0.6 instead of sqrt(loss)",
    flaw=_FLAW,
    severity="missing hypothesis",
    survives=f"The bound {_WHERE}, by the proof of the work that is cited; that of the notes stops "
    "at sqrt(loss) ln(1/loss) (their entropy bound is wrong).",
    readings=_READINGS,
    corrected=Corrected(
        _BALANCED + r"\mathrm{erank}(W(t)) \le 1 + \tfrac{2\sqrt{12}}{\ln 2}\sqrt{\ell(t)}",
        control={"constant": 0.9},
        control_text="0.9 sqrt(loss), 10% below the best constant, 1; powers up to 0.9 would hold",
        best=_best.THM1_ERANK,
    ),
)
def thm1_erank(
    settings: Settings, corrected: bool, power: float = 0.5,
    constant: float = razin2020.RankSides.CONSTANT,
) -> Iterator[Case]:  # fmt: skip
    """With razin2020's constant and with 1000; corrected, on the flows of its Theorem 1."""
    if corrected:
        yield from razin2020.thm1_erank.function(settings, constant=constant)
        return
    yield _proofs.theorem1_case()
    for c_1 in (razin2020.RankSides.CONSTANT, 1000.0):

        def bound(w: Any, loss: Any, c_1: float = c_1) -> tuple[Any, Any]:
            first, second = singular_values_2x2(w)
            q = second / (first + second)
            rank = mpmath.exp(-q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q))
            return 1 + c_1 * loss ** mpmath.mpf(power), rank

        yield from free_cases(bound, f"1 + {c_1:.4g} sqrt(loss) against erank", f"c_1 = {c_1:.4g}")


@claim(
    "wang2024.thm1.irank",
    kind="inequality",
    where="Section 5, Theorem 1, Equation (13)",
    statement=r"\det W(0) > 0 \Rightarrow D(W(t), \mathcal M_1) \le c_2\sqrt{\ell(t)}",
    control={"power": 0.6},
    control_text="loss^0.6 instead of sqrt(loss)",
    flaw=_FLAW,
    severity="missing hypothesis",
    survives=f"The bound {_WHERE}, by the proof of the work that is cited; the notes only make it "
    "plausible, as they say.",
    readings=_READINGS,
    corrected=Corrected(
        _BALANCED + r"D(W(t), \mathcal M_1) \le 3\sqrt2\,\sqrt{\ell(t)}",
        control={"constant": 1.27},
        control_text="1.27 sqrt(loss), 10% below the best constant, sqrt(2)",
        best=_best.THM1_IRANK,
    ),
)
def thm1_irank(
    settings: Settings,
    corrected: bool,
    power: float = 0.5,
    constant: float = razin2020.DistanceSides.CONSTANT,
) -> Iterator[Case]:
    """With razin2020's constant and with 1000; corrected, on the flows of its Theorem 1."""
    if corrected:
        yield from razin2020.thm1_irank.function(settings, constant=constant)
        return
    yield _proofs.theorem1_case()
    for c_2 in (razin2020.DistanceSides.CONSTANT, 1000.0):

        def bound(w: Any, loss: Any, c_2: float = c_2) -> tuple[Any, Any]:
            return c_2 * loss ** mpmath.mpf(power), singular_values_2x2(w)[1]

        yield from free_cases(bound, f"{c_2:.4g} sqrt(loss) against s_2", f"c_2 = {c_2:.4g}")


@claim(
    "wang2024.thm2",
    kind="identity",
    where="Section 6, Theorem 2, Equation (14)",
    statement=r"\dot W = -\sum_{j=1}^L [WW^\top]^{\frac{j-1}{L}}\,\nabla\ell(W)\,"
    r"[W^\top W]^{\frac{L-j}{L}}",
    control={"shift": 0.1},
    control_text="exponents 0.1 + (j-1)/L instead of (j-1)/L",
)
def thm2(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """The flows of arora2019's Lemma 3; the printed sum's index i is meant as j."""
    cases = arora2019.lem3.function(settings, shift=shift)
    # Quick: the proof, and depths 1 to 3, of three shapes each.
    yield from cases if settings.full else itertools.islice(cases, 10)


@claim(
    "wang2024.lem4",
    kind="identity",
    where="Section 6, Lemma 4, Equation (16)",
    statement=r"\dot\sigma_j = -L\,(\sigma_j^2)^{1-1/L}\,"
    r"\langle\nabla\ell(W), u_jv_j^\top\rangle",
    control={"shift": 0.1},
    control_text="exponent 1.1 - 1/L instead of 1 - 1/L",
)
def lem4(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """Signed singular values followed along the exact flows at 2x2; 100x100 in full."""
    yield value_flow(shift)

    def power(depth: int) -> float:
        return 1 - 1 / depth + shift

    yield from small_cases(settings, "half_sum", power, 1.0)
    if settings.full:
        yield from large_cases(settings, "half_sum", power, 1.0, (2, 3))


def _unbalanced_determinant() -> Case:
    """Lemma 5's first half from W_1 = 4 I, W_2 = I/4."""
    with mpmath.workprec(taylor.BITS):
        end = unbalanced_end(1e-14)
        whole = abs(end.product[0, 0] * end.product[1, 1]) + abs(
            end.product[0, 1] * end.product[1, 0]
        )
        slack = float(end.det / whole)
        entries = [mpmath.nstr(v, 12) for v in end.product]

    return Case(
        name="depth 2, W_1 = 4 I, W_2 = I/4 (not balanced), the determinant",
        slack=[slack],
        floor=Convention(1e-25, "Taylor series in 66 digits", 66),
        hypotheses={
            "L >= 2": Measured(len(UNBALANCED), above=1),
            "det W(0) > 0": Measured(float(mpmath.det(UNBALANCED[1] * UNBALANCED[0])), above=0),
        },
        size=3,  # graver than the exponents
        confirm=lambda _: Confirmation(
            bool(end.det < 0),
            f"W_1 = 4 I, W_2 = I/4, det W(0) = 1 > 0: at t = {mpmath.nstr(end.time, 8)} W = "
            f"{entries} (row by row), det {mpmath.nstr(end.det, 8)}",
            (_proofs.unbalanced_flow(Fraction(9, 8))[1].det,),
        ),
    )


def _off(sides: Callable[[], list[tuple[Any, Any, Any]]], digits: int) -> list[float]:
    """How far two sides are apart, relative to the largest, in so many digits."""
    with mpmath.workdps(digits):
        found = sides()
        scale = max(abs(rate) for _, rate, _ in found)
        return [float(abs(rate - formula) / scale) for _, rate, formula in found]


_DIAGONAL = np.diag([9.0, 4.0])
"""W_1 = W_2 = diag(3, 2): at (9) its second value moves at the rate -32, exactly."""


@claim(
    "wang2024.lem5",
    kind="identity",
    where="Section 7, Lemma 5 and its proof",
    statement=r"L \ge 2,\ d = d',\ \det W(0) > 0 \Rightarrow \det W(t) > 0;\quad "
    r"\dot\sigma_j = g\,\sigma_j^{2\alpha},\ \alpha = 2(1 - 1/L),\ "
    r"g = -L\langle\nabla\ell(W), u_jv_j^\top\rangle",
    control={"stretch": 1.1},
    control_text="sigma^(2.2 alpha)",
    flaw="Two things. (sigma^2)^(1 - 1/L) is sigma^alpha with alpha = 2 (1 - 1/L), not "
    "sigma^(2 alpha), so 2 alpha should read alpha in the equation, in sigma^(1 - 2 alpha) and in "
    "the solution: a misprint, for the case alpha = 1 is printed correctly and the argument is the "
    "same. But (16), from which it starts, is that of balanced factors, and the lemma does "
    "not ask for them: from W_1 = 4 I, W_2 = I/4 the determinant changes its sign.",
    severity="missing hypothesis",
    survives="The lemma and its proof from balanced starts, which Theorem 2 before it asks for; "
    "the exponents 2 alpha for alpha are a misprint.",
    readings={
        "any start, as printed": "fails",
        "the balanced start of Theorem 2": "holds, with alpha for 2 alpha",
    },
    corrected=Corrected(
        r"L \ge 2,\ d = d',\ \text{balanced start},\ \det W(0) > 0 \Rightarrow \det W(t) > 0;"
        r"\quad \dot\sigma_j = g\,|\sigma_j|^\alpha,\ \alpha = 2(1 - 1/L),\ "
        r"g = -L\langle\nabla\ell(W), u_jv_j^\top\rangle",
        control={"stretch": 1.1},
        control_text="sigma^(1.1 alpha)",
        resolution=1e-2,
    ),
)
def lem5(settings: Settings, corrected: bool, stretch: float = 1.0) -> Iterator[Case]:
    """The chain rule's d sigma/dt against g sigma^(2 alpha), or sigma^alpha; `stretch` times that.

    Also the determinant: as printed from a start that is not balanced, corrected in 66 digits as
    for razin2020's Lemma 6.
    """
    yield _proofs.lem5(stretch) if corrected else _unbalanced_determinant()
    factor = stretch * (1 if corrected else 2)
    rng = np.random.default_rng(settings.seed)
    starts = [_DIAGONAL]
    while len(starts) < (40 if settings.full else 8):
        w = rng.normal(size=(2, 2))
        if np.linalg.det(w) > 0.05:
            starts.append(w)
    for index, w in enumerate(starts):
        for depth in (2, 3, 4):

            def sides(w: np.ndarray = w, depth: int = depth) -> list[tuple[Any, Any, Any]]:
                """Value, its true rate and the formula's."""
                true = precise(w)
                grad = mpmath.matrix([[0, true[0, 1] - 1], [true[1, 0] - 1, true[1, 1]]])
                u, s, v = svd(true)
                moved, along = u.T * product_velocity(true, grad, depth) * v, u.T * grad * v
                power = factor * 2 * (1 - mpmath.mpf(1) / depth)
                return [(s[r], moved[r, r], -depth * along[r, r] * s[r] ** power) for r in range(2)]

            residual, again = (_off(sides, digits) for digits in (DIGITS, DIGITS + 20))
            moved = [2 * abs(a - b) for a, b in zip(residual, again, strict=True)]
            factors = balanced_factors(w, (2,) * (depth + 1))

            def confirm(k: int, sides: Any = sides, w: Any = w, depth: int = depth) -> Confirmation:
                with mpmath.workdps(DIGITS):
                    value, rate, formula = sides()[k]
                    return Confirmation(
                        bool(abs(rate - formula) > mpmath.mpf(10) ** -30),
                        f"L = {depth}, W = {show(w)}, balanced factors, sigma = "
                        f"{mpmath.nstr(value, 12)}: the chain rule gives d sigma/dt = "
                        f"{mpmath.nstr(rate, 20)}, the formula {mpmath.nstr(formula, 20)}",
                    )

            yield Case(
                name=f"L = {depth}, W = {show(w, 6)}",
                residual=residual,
                floor=np.maximum(moved, 10.0 ** (3 - DIGITS)),
                hypotheses={
                    "L >= 2": Measured(depth, above=1),
                    "d = d'": ByConstruction("square matrices"),
                    "balanced": balanced(factors, 1e-14),
                    "det W > 0": Measured(float(np.linalg.det(w)), above=0),
                },
                size=4 + index + depth / 10,
                confirm=confirm,
            )
    if corrected:
        for depth in (2, 3, 4) if settings.full else (2,):
            yield from witness_cases(depth)
