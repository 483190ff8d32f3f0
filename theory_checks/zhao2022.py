r"""Zhao 2022, Combining Explicit and Implicit Regularization.

The claims, in the order of the paper. Its loss is the sum of squares, without one half.
"""

from collections.abc import Iterator

from theory_checks.claims import Case, Settings, claim
from theory_checks.singular_dynamics import large_cases, small_cases


@claim(
    "zhao2022.eq3",
    kind="identity",
    where="Equation (3), and (10) of Appendix A.4",
    statement=r"\dot\sigma_i = -N(\sigma_i^2)^{\frac{N-1}{N}}\,u_i^\top\nabla_W\mathcal L(W)\,v_i",
    control={"factor": 0.5},
    control_text="N/2 instead of N, as if the loss were the half sum",
)
def eq3(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """The same dynamics with the paper's own loss, depths 1 to 4."""

    def power(depth: int) -> float:
        return (depth - 1) / depth

    yield from small_cases(settings, "sum", power, factor)
    yield from large_cases(settings, "sum", power, factor, (2,) if settings.quick else (2, 3))
