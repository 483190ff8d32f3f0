"""The claims of gunasekar2017: commuting flows in closed form."""

import mpmath
import numpy as np

from theory_checks.gunasekar2017.conjecture import one_equation
from theory_checks.li2021._problems import Posed
from theory_checks.li2021.phase1 import flow


def test_one_equation_by_hand():
    """Of W_11 + 2 W_22 = 1 the flow keeps W = alpha diag(z, z^2): a quadratic equation."""
    trace, least = one_equation((1, 2), 1, 8)
    with mpmath.workdps(40):
        alpha = mpmath.mpf(10) ** -8
        z = (mpmath.sqrt(1 + 8 / alpha) - 1) / 4
        assert abs(trace - alpha * (z + z**2)) < 1e-30 and least == 0.5


def test_the_end_is_that_of_a_flow():
    posed = Posed("one", np.array([np.diag([1.0, 2.0])]), np.array([1.0]), np.eye(2))
    w = flow(posed, 0.1 * np.eye(2), 0.0, np.array([40.0]))[0]
    assert abs(np.trace(w) - float(one_equation((1, 2), 1, 2)[0])) < 1e-9
