r"""Zhao 2022, Theorem 2: gradient flow with the ratio penalty R = ||W||_* / ||W||_F."""

from collections.abc import Iterator
from fractions import Fraction

import mpmath
import numpy as np

from gradflow.claims import ByConstruction, Case, Confirmation, Corrected, Settings, claim
from gradflow.claims.oracles import differences
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles.high_precision import DIGITS
from gradflow.claims.oracles.singular_values import motion

from . import _proofs
from ._runs import FAR, SHARE
from .gradient_flow import apply, flow_case, preconditioner, recorded
from .ratio_gradient import printed_gradient, ratio_gradient

WEIGHTS = (0.1, 1.0)
"""Lambda: the largest of the paper's range, and one at which the penalty is felt early."""


def _flows(
    settings: Settings,
) -> Iterator[tuple[str, int, float, tuple[differences.Clusters, differences.Clusters]]]:
    """Penalised flows: depths 1 to 3 (5 in full), square and not, every entry or some observed."""
    for depth in (1, 2, 3, 4, 5) if settings.full else (1, 2, 3):
        for shape, observed in (((2, 2), 4), ((4, 3), 10)):
            for weight in WEIGHTS:
                at = (settings.seed, shape, depth, weight, observed)
                name = f"{shape[0]}x{shape[1]}, depth {depth}, lambda = {weight:g}"
                yield name, depth, weight, (recorded(*at, False), recorded(*at, True))


def _product_cases(settings: Settings, printed: bool, share: float = 1.0) -> Iterator[Case]:
    """Equation (8), relative to the penalty's part of the velocity."""
    for name, depth, weight, found in _flows(settings):

        def penalty(
            w: np.ndarray, _: np.ndarray, n: int, printed: bool = printed, weight: float = weight
        ) -> np.ndarray:
            formula = printed_gradient if printed else ratio_gradient
            return -weight * share * apply(preconditioner(w, n), formula(w))

        def right(w: np.ndarray, g: np.ndarray, n: int, penalty=penalty) -> np.ndarray:
            return -apply(preconditioner(w, n), g) + penalty(w, g, n)

        def size_of(w: np.ndarray, g: np.ndarray, n: int, penalty=penalty) -> np.ndarray:
            both = [penalty(w, g, n, p) for p in (False, True)]
            return max(both, key=lambda x: float(np.linalg.norm(x)))

        case = flow_case(name, found, depth, right, size_of)
        if case is not None:
            yield case


@claim(
    "zhao2022.thm2.W",
    kind="approximation",
    where="Theorem 2, Equation (8)",
    statement=r"\mathrm{vec}(\dot W) \approx -P_W\left(\mathrm{vec}(\nabla_W\mathcal L) + \lambda"
    r"\frac{\mathrm{vec}(UV^\top-U\tilde\Sigma V^\top)}{\|W\|_F^2}\right),\quad "
    r"\tilde\Sigma = \frac{\|W\|_*}{\|W\|_F}\Sigma",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the penalty's part: {FAR}",
    accuracy=0.1,
    flaw="It inserts the gradient (12), which lacks the factor ||W||_F of U V^T and is right only "
    "where ||W||_F = 1.",
    severity="constant",
    survives="The form, and what is read from it: P_W acts on a spectral term beside the gradient "
    "of the loss. The weight of U V^T is off by the factor ||W||_F.",
    readings={
        "any W": "fails",
        "||W||_F = 1": "holds",
    },
    corrected=Corrected(
        kind="identity",
        where="Theorem 2, Equation (8), corrected",
        statement=r"\sigma_{\min}(W) > 0 \Rightarrow "
        r"\mathrm{vec}(\dot W) = -P_W\left(\mathrm{vec}(\nabla_W\mathcal L) + \lambda"
        r"\frac{\mathrm{vec}(\|W\|_F\,UV^\top-U\tilde\Sigma V^\top)}{\|W\|_F^2}\right),\quad "
        r"\tilde\Sigma = \frac{\|W\|_*}{\|W\|_F}\Sigma",
        control={"printed": True},
        control_text="the penalty's gradient as printed",
    ),
)
def thm2_w(
    settings: Settings, corrected: bool, share: float = 1.0, printed: bool = False
) -> Iterator[Case]:
    """The error relative to the penalty's part, as it is the penalty that (8) adds to (4).

    No regime is named in the paper. The printed error vanishes where ||W||_F = 1 only; relative to
    the whole velocity it is as small as lambda makes it, which says nothing about the penalty.
    Corrected, (8) is an identity as long as all singular values are positive.
    """
    if corrected:
        yield _proofs.penalised_product(printed)
    else:
        yield _still_case()
    yield from _product_cases(settings, printed or not corrected, share)


def _still_case() -> Case:
    """W = 2 (1x1), fitted: the ratio is constant, so nothing moves."""
    w, weight = Fraction(2), Fraction(1)
    moved = weight * (1 - w) / w**2

    def confirm(_: int) -> Confirmation:
        return Confirmation(
            moved != 0,
            f"W = 2 (1x1), fitted, lambda = 1, N = 1: the ratio is 1 for every W != 0, so nothing "
            f"moves; (8) gives dW/dt = -(1/4)(1 - 2) = {-moved}",
            (moved,),
        )

    return Case(
        name="1x1, W = 2, fitted",
        residual=1.0,
        hypotheses={
            "the loss gradient vanishes": ByConstruction("W is observed and fits: the loss is 0"),
            "lambda >= 0": ByConstruction("lambda = 1"),
        },
        size=1,
        confirm=confirm,
    )


def printed_push(s: np.ndarray, depth: int) -> np.ndarray:
    """Equation (7)'s penalty term over lambda."""
    norm = np.sqrt(np.sum(s**2))
    return -depth / norm**2 * (1 - np.sum(s) / norm) * s ** ((3 * depth - 2) / 2)


def push(s: np.ndarray, depth: int) -> np.ndarray:
    """The penalty's part of d sigma_r/dt over lambda: (3) with dR/d sigma_r for the gradient."""
    norm = np.sqrt(np.sum(s**2))
    return -depth / norm * s ** (2 - 2 / depth) * (1 - np.sum(s) * s / norm**2)


def _value_cases(
    settings: Settings, printed: bool, share: float = 1.0, only: int | None = None
) -> Iterator[Case]:
    """D sigma_r/dt minus (3) against the penalty's term, relative to the largest of the terms."""
    for name, depth, weight, found in _flows(settings):
        if only is not None and depth != only:
            continue
        gaps, scales, errors = [], [], []
        for part in found:
            m = motion(part)
            turn = np.where(m.s < 0, -1.0, 1.0)
            s, slope, along = np.abs(m.s), m.slope * turn, m.along * turn
            measured = slope + depth * s ** (2 - 2 / depth) * along
            terms = [np.array([f(row, depth) for row in s]) for f in (push, printed_push)]
            gaps.append(measured - share * weight * terms[int(printed)])
            scales.append(weight * np.max(np.abs(terms), axis=(0, 2))[:, None])
            errors.append(m.error)
        floor = (errors[0] + 2 * np.abs(gaps[0] - gaps[1])) / scales[0] + 1e-13
        residual = np.abs(gaps[0]) / scales[0]
        yield Case(
            name=name,
            residual=residual.ravel(),
            floor=floor.ravel(),
            hypotheses={"balanced start": runs.balanced_start(found[0].flow)},
            size=float(found[0].product[0, 0].size) + 1,
            notes=f"largest error {np.max(residual):.1e} of the penalty's part",
        )


def _fitted_case(depth: int, share: float = 1.0) -> Case:
    """W = diag(4, 3) with a vanishing loss gradient and lambda = 1: only the penalty acts."""
    with mpmath.workdps(DIGITS):
        s = [mpmath.mpf(4), mpmath.mpf(3)]
        true = [-depth * x ** (2 - mpmath.mpf(2) / depth) * (1 - 7 * x / 25) / 5 for x in s]
        power = mpmath.mpf(3 * depth - 2) / 2
        found = [-share * depth * (1 - mpmath.mpf(7) / 5) * x**power / 25 for x in s]
        gap = max(abs(a - b) for a, b in zip(true, found, strict=True))
        largest = max(abs(x) for x in (*true, *found))
        shown = [
            ", ".join(str(mpmath.nstr(x, 20 if depth == 1 else 6)) for x in side)
            for side in (true, found)
        ]

    def confirm(_: int) -> Confirmation:
        return Confirmation(
            bool(gap > mpmath.mpf(10) ** -30),
            f"W = diag(4, 3), fitted, lambda = 1, N = {depth}, ||W||_F = 5, ||W||_* = 7: the "
            f"penalty moves the singular values at ({shown[0]}), printed ({shown[1]})"
            + (": even the sign of the second is wrong" if true[1] * found[1] < 0 else ""),
        )

    return Case(
        name=f"W = diag(4, 3), fitted, depth {depth}",
        residual=float(gap / largest),
        hypotheses={
            "the loss gradient vanishes": ByConstruction("W is observed and fits: the loss is 0"),
            "lambda >= 0": ByConstruction("lambda = 1"),
        },
        size=4 + (depth == 1),
        confirm=confirm,
    )


@claim(
    "zhao2022.thm2.sv",
    kind="approximation",
    where="Theorem 2, Equation (7)",
    statement=r"\dot\sigma_r \approx \dot\sigma_r^{GF} - \frac{\lambda N}{\|W\|_F^2}"
    r"\left(1-\frac{\|W\|_*}{\|W\|_F}\right)\sigma_r^{\frac{3N-2}{2}}",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the penalty's part: {FAR}",
    accuracy=0.1,
    flaw="Besides (12), sigma_r is taken out of the bracket 1 - (||W||_*/||W||_F) sigma_r though "
    "it stands in its second term only, and the exponent's denominator is 2 instead of N; as "
    "printed the penalty makes all singular values grow.",
    severity="substance",
    survives="That the penalty's part has a power of sigma_r that rises with depth, that of (3), "
    "and depends on the whole spectrum. Not its direction (as printed all values grow, where the "
    "penalty shrinks small ones and lets large ones grow) nor the exponent that is compared, "
    "(3N-2)/2.",
    corrected=Corrected(
        kind="identity",
        where="Theorem 2, Equation (7), corrected",
        statement=r"\sigma_{\min}(W) > 0 \Rightarrow \dot\sigma_r = \dot\sigma_r^{GF} - "
        r"\frac{\lambda N}{\|W\|_F}\,\sigma_r^{2-\frac2N}"
        r"\left(1-\frac{\|W\|_*}{\|W\|_F^2}\,\sigma_r\right)",
        control={"printed": True},
        control_text="as printed",
    ),
)
def thm2_sv(
    settings: Settings, corrected: bool, share: float = 1.0, printed: bool = False
) -> Iterator[Case]:
    """The error relative to the penalty's part, along flows and where only the penalty acts.

    Corrected, (7) is an identity: values above ||W||_F^2/||W||_* grow, those below shrink.
    """
    if corrected:
        yield _proofs.penalised_values(printed)
    else:
        for depth in (2, 1, 3):
            yield _fitted_case(depth, share)
    yield from _value_cases(settings, printed or not corrected, share)


@claim(
    "zhao2022.eq28",
    kind="approximation",
    where="Equation (28)",
    statement=r"N=1:\ \dot\sigma_r \approx -u_r^\top\nabla_W\mathcal L\,v_r - "
    r"\frac{\lambda}{\|W\|_F^2}\left(1-\frac{\|W\|_*}{\|W\|_F}\right)\sigma_r^{\frac12}",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the penalty's part: {FAR}",
    accuracy=0.1,
    flaw="It is (7) at N = 1, with its faults; the root of sigma_r has no counterpart.",
    severity="substance",
    survives="That a singular value's motion depends on its own size even without depth: it does, "
    "by sigma_r ||W||_*/||W||_F^2. Not the printed direction: as printed, all values grow.",
    corrected=Corrected(
        kind="identity",
        where="Equation (28), corrected",
        statement=r"N=1,\ \sigma_{\min}(W) > 0:\ \dot\sigma_r = -u_r^\top\nabla_W\mathcal L\,v_r - "
        r"\frac{\lambda}{\|W\|_F}\left(1-\frac{\|W\|_*}{\|W\|_F^2}\,\sigma_r\right)",
        control={"printed": True},
        control_text="as printed",
    ),
)
def eq28(
    settings: Settings, corrected: bool, share: float = 1.0, printed: bool = False
) -> Iterator[Case]:
    """Depth 1, along flows and where only the penalty acts."""
    if corrected:
        yield _proofs.penalised_values(printed)
    else:
        yield _fitted_case(1, share)
    yield from _value_cases(settings, printed or not corrected, share, only=1)
