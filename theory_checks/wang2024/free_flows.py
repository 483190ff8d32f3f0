"""Wang and Basu Roy Chowdhury 2024: two flows that Theorem 1 does not exclude."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import mpmath

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Confirmation, Convention, Measured
from gradflow.claims.oracles import taylor

UNBALANCED = [mpmath.eye(2) * 4, mpmath.eye(2) / 4]
"""W_1 and W_2 of a start that is not balanced."""


@cache
def unbalanced_end(stop_loss: float) -> taylor.Witness:
    """Depth 2 from W_1 = 4 I, W_2 = I/4 (so W(0) = I), by Taylor series in 66 digits."""
    return taylor.follow_factors(gf.synthetic.norm_blowup(), UNBALANCED, stop_loss, tail=120)


def depth_one(t: Any) -> Any:
    """W(t) at depth 1 from W(0) = I: ((1, 1 - e^-t), (1 - e^-t, e^-t)), and the loss 3/2 e^-2t."""
    e = mpmath.exp(-t)
    return mpmath.matrix([[1, 1 - e], [1 - e, e]]), 3 * e**2 / 2


Bound = Callable[[Any, Any], tuple[Any, Any]]
"""From W and the loss, in mpmath, to (larger, smaller)."""


def free_cases(bound: Bound, text: str, name: str) -> Iterator[Case]:
    """A bound at the ends of the two flows."""
    with mpmath.workprec(taylor.BITS):
        far = unbalanced_end(1e-14)
        moments = [
            (
                "depth 2, W_1 = 4 I, W_2 = I/4 (not balanced)", UNBALANCED[1] * UNBALANCED[0],
                far.product, far.loss, far.time, 4,
            ),
            *(
                (
                    f"depth 1, W(0) = I, t = {t}", depth_one(mpmath.mpf(0))[0],
                    *depth_one(mpmath.mpf(t)), mpmath.mpf(t), 5,
                )
                for t in (10, 30)
            ),
        ]  # fmt: skip
        for label, first, w, loss, time, size in moments:
            larger, smaller = bound(w, loss)

            def confirm(
                k: int, w: Any = w, loss: Any = loss, time: Any = time, label: str = label,
                larger: Any = larger, smaller: Any = smaller,
            ) -> Confirmation:  # fmt: skip
                entries = [mpmath.nstr(v, 12) for v in w]
                return Confirmation(
                    bool(larger < smaller),
                    f"{label}: det W(0) = 1 > 0, and at t = {mpmath.nstr(time, 8)} W = {entries} "
                    f"(row by row), det {mpmath.nstr(mpmath.det(w), 8)}, loss "
                    f"{mpmath.nstr(loss, 8)}: {text}: {mpmath.nstr(larger, 12)} < "
                    f"{mpmath.nstr(smaller, 12)}. W has a finite limit of determinant -1 while the "
                    "loss falls exponentially, so that no other constants do better",
                )  # fmt: skip

            yield Case(
                name=f"{label}, {name}",
                slack=[float((larger - smaller) / (abs(larger) + abs(smaller)))],
                floor=Convention(1e-25, "50 digits, quadrature and series included", 50),
                hypotheses={
                    "det W(0) > 0": Measured(float(mpmath.det(first)), above=0),
                    "gradient flow of (7) for (9) over a factorisation (8)": ByConstruction(
                        "a Taylor series of its equations, or its closed form at depth 1"
                    ),
                },
                size=size,
                confirm=confirm,
            )
