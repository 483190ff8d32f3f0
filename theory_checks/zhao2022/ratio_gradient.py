r"""Zhao 2022, the gradient of the ratio penalty (Equation (12)).

R = ||W||_* / ||W||_F. By the quotient rule

    grad R = (||W||_F U V^T - (||W||_* / ||W||_F) W) / ||W||_F^2
           = (U V^T - (||W||_* / ||W||_F^2) W) / ||W||_F,
    dR/d sigma_r = (1 - ||W||_* sigma_r / ||W||_F^2) / ||W||_F,

while the paper lacks the factor ||W||_F of U V^T in the first line. R does not change with the
scale of W, so <W, grad R> = 0; for (12) it is (||W||_*/||W||_F^2)(1 - ||W||_F).
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradflow.claims import Case, Confirmation, Corrected, Measured, Settings, claim
from gradflow.claims.oracles import differences

from . import _proofs
from ._rational import exact, plain


def ratio(w: np.ndarray) -> float:
    """||W||_* / ||W||_F."""
    s = np.linalg.svd(w, compute_uv=False)
    return float(np.sum(s) / np.sqrt(np.sum(s**2)))


def printed_gradient(w: np.ndarray) -> np.ndarray:
    """Equation (12)."""
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    norm = np.sqrt(np.sum(s**2))
    return (u @ vt - np.sum(s) / norm * w) / norm**2


def ratio_gradient(w: np.ndarray) -> np.ndarray:
    """The gradient of R where all singular values are positive."""
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    norm = np.sqrt(np.sum(s**2))
    return (u @ vt - np.sum(s) / norm**2 * w) / norm


def _matrices(settings: Settings, unit_norm: bool) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(settings.seed)
    shapes = [(2, 2), (3, 2), (4, 4), (3, 5)] + ([(20, 20)] if settings.full else [])
    for shape in shapes:
        for kind in ("generic", "repeated values"):
            for scale in (0.1, 1.0, 10.0):
                w = rng.normal(size=shape)
                if kind == "repeated values":
                    u, _, vt = np.linalg.svd(w, full_matrices=False)
                    w = u @ np.diag([2.0] + [1.0] * (min(shape) - 1)) @ vt
                w = w / np.linalg.norm(w) if unit_norm else scale * w
                yield f"{shape[0]}x{shape[1]}, {kind}, norm {np.linalg.norm(w):.2g}", w


def _gradient_cases(
    settings: Settings, corrected: bool, unit_norm: bool = False, share: Fraction = Fraction(1)
) -> Iterator[Case]:
    """A formula for grad R against difference quotients of R along random directions."""
    yield from () if unit_norm else _exact_gradients(corrected, share)
    for name, w in _matrices(settings, unit_norm):
        rng = np.random.default_rng(settings.seed + 1)
        norm = np.linalg.norm(w)
        formula = float(share) * (ratio_gradient if corrected else printed_gradient)(w)
        residual, floor = [], []
        smallest = np.linalg.svd(w, compute_uv=False)[-1]
        for _ in range(4):
            direction = rng.normal(size=w.shape)
            direction *= norm / np.linalg.norm(direction)
            step = 1e-2 * smallest / norm
            values = np.array([ratio(w + k * step * direction) for k in range(-3, 4)])
            slope = differences.derivative(values, step)
            scale = norm * (np.linalg.norm(formula) + np.linalg.norm(ratio_gradient(w)))
            residual.append(abs(slope.value - np.sum(formula * direction)) / scale)
            floor.append(slope.error / scale + 1e-14)
        yield Case(
            name=name,
            residual=residual,
            floor=floor,
            hypotheses={
                "all singular values are positive": Measured(float(smallest / norm), above=1e-6)
            }
            | ({"||W||_F = 1": Measured(float(abs(norm - 1)), below=1e-14)} if unit_norm else {}),
            size=w.size + 10,
        )


def _exact_gradients(corrected: bool, share: Fraction) -> Iterator[Case]:
    """Diagonal matrices with a rational Frobenius norm."""
    for diagonal in ([2], [4, 3], [3, 4, 12]):
        s = exact(diagonal)
        norm = {1: Fraction(2), 2: Fraction(5), 3: Fraction(13)}[len(diagonal)]
        true = (1 - sum(s) * s / norm**2) / norm
        found = (true if corrected else (1 - sum(s) * s / norm) / norm**2) * share
        gap = max(abs(true - found))

        def confirm(
            _: int, s: np.ndarray = s, true: np.ndarray = true, found: np.ndarray = found,
            norm: Fraction = norm, gap: Fraction = gap,
        ) -> Confirmation:  # fmt: skip
            return Confirmation(
                gap > 0,
                f"W = diag{plain(s)}, ||W||_F = {norm}, ||W||_* = {sum(s)}: the diagonal of the "
                f"gradient is {plain(true)}, printed {plain(found)}",
                (true, found),
            )  # fmt: skip

        yield Case(
            name=f"diag{diagonal}",
            residual=gap / (max(*abs(true), *abs(found)) or 1),
            hypotheses={"all singular values are positive": Measured(float(min(s)), above=0)},
            size=len(diagonal) ** 2,
            confirm=confirm,
        )


@claim(
    "zhao2022.eq12",
    kind="algebra",
    where="Equation (12)",
    statement=r"\nabla_W\frac{\|W\|_*}{\|W\|_F} = \frac1{\|W\|_F^2}"
    r"\left(UV^\top - \frac{\|W\|_*}{\|W\|_F}U\Sigma V^\top\right)",
    control={"share": Fraction(9, 10)},
    control_text="0.9 of the right side",
    flaw="The quotient rule multiplies the gradient U V^T of ||W||_* by ||W||_F; this factor is "
    "left out, the second term is right, so that (12) is right only where ||W||_F = 1.",
    severity="constant",
    survives="The two terms and their signs, U V^T against a multiple of W, hence the reading as a "
    "spectrally shifted and scaled W; the weight of U V^T is off by the factor ||W||_F.",
    readings={
        "any W": "fails",
        "||W||_F = 1": "holds",
    },
    corrected=Corrected(
        where="Equation (12), corrected",
        statement=r"\sigma_{\min}(W) > 0 \Rightarrow "
        r"\nabla_W\frac{\|W\|_*}{\|W\|_F} = \frac1{\|W\|_F^2}"
        r"\left(\|W\|_F\,UV^\top - \frac{\|W\|_*}{\|W\|_F}U\Sigma V^\top\right)",
        control={"corrected": False},
        control_text="as printed",
    ),
)
def eq12(settings: Settings, corrected: bool, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Norms from 0.1 to 10 and more, repeated singular values, rectangular matrices.

    For a 1x1 matrix the ratio is constant, and the printed (12) gives (1 - w) / w^2.
    """
    yield _proofs.eq12(corrected, share)
    yield from _gradient_cases(settings, corrected, share=share)
    if corrected:
        return
    for case in _gradient_cases(settings, corrected, unit_norm=True):
        worst = float(np.max(case.violation))
        yield Case(**{
            **vars(case), "counts": False, "confirm": None, "name": f"{case.name} (unit norm)",
            "notes": f"with ||W||_F = 1 the relative residual is {worst:.1e}",
        })  # fmt: skip
