"""What a verdict rests on: its grade, read off the numbers that a check compared."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, get_args

import mpmath
import numpy as np
import sympy
from mpmath.libmp import mpf_sign, round_floor, to_float

from gradflow.claims.proofs import outward

if TYPE_CHECKING:
    from gradflow.claims.definition import Case, Confirmation

Grade = Literal[
    "proved",
    "enclosed",
    "exact",
    "50 digits",
    "float64 with a measured floor",
    "float64 with a floor by convention",
]
GRADES: tuple[Grade, ...] = get_args(Grade)
"""From the strongest to the weakest."""

MEANINGS: Mapping[str, str] = {
    "proved": "over everything that the statement speaks of, by algebra or in interval arithmetic, "
    "with what it takes from elsewhere cited; or refuted by one exact point",
    "enclosed": "rigorous enclosures of the cases that were looked at",
    "exact": "rational arithmetic on the cases that were looked at",
    "50 digits": "arithmetic of 50 digits and more on the cases that were looked at",
    "float64 with a measured floor": "the floor found by recomputing more accurately",
    "float64 with a floor by convention": "some floor is a margin that nobody measured",
}

INTERVAL = outward.INTERVAL
_FIFTY = 1e-30
"""A larger floor is not that of 50 digits."""
_NESTED = (list, tuple, mpmath.matrix, sympy.MatrixBase)


def leaves(values: Any) -> Iterator[Any]:
    """The numbers in arrays, matrices and sequences."""
    if isinstance(values, _NESTED):
        for value in values:
            yield from leaves(value)
    elif hasattr(values, "__array__"):  # of NumPy, JAX, pandas
        yield from np.asarray(values).ravel().tolist()
    else:
        yield values


def floats(values: Any) -> np.ndarray:
    """Numbers as floats; of an interval its lower end, with its sign."""
    if hasattr(values, "__array__") and not isinstance(values, _NESTED):
        if np.iscomplexobj(values):
            raise TypeError(
                "Complex numbers have no size and no sign: give their absolute values as residuals."
            )
        return np.asarray(values, float)
    return np.reshape([_as_float(value) for value in leaves(values)], np.shape(values))


def _as_float(value: Any) -> float:
    if not isinstance(value, INTERVAL):
        return float(value)
    low = value._mpi_[0]
    found = to_float(low, rnd=round_floor)
    return found if found or not mpf_sign(low) else mpf_sign(low) * 5e-324


def arithmetic(values: Any) -> Grade:
    """The arithmetic that numbers come from, by their types; the weakest of them.

    Example:
      >>> from fractions import Fraction
      >>> import mpmath
      >>> arithmetic([1, Fraction(1, 3)]), arithmetic([1, mpmath.mpf(1) / 3])
      ('exact', '50 digits')
    """
    found: Grade = weakest([_of_number(value) for value in leaves(values)])
    # A whole number beside intervals is one more interval.
    mixed = found == "exact" and any(isinstance(value, INTERVAL) for value in leaves(values))
    return "enclosed" if mixed else found


def _of_number(value: Any) -> Grade:
    """The arithmetic of one number."""
    if isinstance(value, INTERVAL):
        return "enclosed"
    if isinstance(value, int | Fraction) and not isinstance(value, bool):
        return "exact"
    if isinstance(value, sympy.Basic):
        return "float64 with a measured floor" if value.has(sympy.Float) else "exact"
    return "50 digits" if isinstance(value, mpmath.mpf) else "float64 with a measured floor"


def weakest(grades: Iterable[Grade]) -> Grade:
    """The weakest of some grades; that of plain floats if there is none."""
    return GRADES[max(map(GRADES.index, grades), default=len(GRADES) - 2)]


def grade_of(case: "Case") -> Grade:
    """The grade of one case that is kept."""
    if case.proof is not None:
        return "proved"
    found = arithmetic(case.residual if case.residual is not None else case.slack)
    digits = getattr(case.floor, "digits", None)
    # Numbers of no floor are exact or enclosed; `max(0, x)` of floats is a whole number, too.
    if found in ("exact", "enclosed") and not np.any(case.floors):
        return found
    if found == "50 digits" and np.max(case.floors) <= _FIFTY:
        return found
    found = "float64 with a measured floor"
    if digits:
        return "50 digits"
    measured = digits is None and bool(np.any(np.asarray(case.floor, float) != 0))
    return found if measured else "float64 with a floor by convention"


def grade_of_cases(cases: list["Case"]) -> tuple[Grade, dict[str, int]]:
    """The grade of a verdict that rests on all of some cases, and how many there are of each.

    A proof of the whole statement decides; without one the weakest case does.
    """
    grades: list[Grade] = [grade_of(case) for case in cases]
    count = Counter(grades)
    counts = {str(grade): count[grade] for grade in GRADES if grade in count}
    whole = any(case.proof is not None and case.whole for case in cases)
    return ("proved" if whole else weakest(grades)), counts


def grade_of_refutation(confirmation: "Confirmation", kind: str) -> Grade:
    """The grade of a counterexample: a statement on all is refuted by one exact or enclosed point.

    An approximation is refuted by a threshold that the check chose, which is no proof.
    """
    if not confirmation.compared:
        return "50 digits"
    found = arithmetic(confirmation.compared)
    return "proved" if found in ("exact", "enclosed") and kind != "approximation" else found
