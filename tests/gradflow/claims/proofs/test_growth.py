"""Bounds of the largest eigenvalue of a field's Jacobian over boxes."""

from fractions import Fraction

import numpy as np
import pytest

from gradflow.claims.proofs.growth import Dual, _frobenius, log_norm, positive_definite


def coupled(x):
    """The flow down (x y - 1)^2 / 2."""
    r = x[0] * x[1] - 1
    return [-r * x[1], -r * x[0]]


def jacobian(x, y):
    return -np.array([[y * y, 2 * x * y - 1], [2 * x * y - 1, x * x]])


def test_growth_is_bounded_by_the_largest_eigenvalue():
    points = np.array([[1.0, 0.5], [0.25, -3.0]])
    found = log_norm(coupled, points, np.zeros((2, 2)))
    for bound, point in zip(found, points, strict=True):
        true = np.linalg.eigvalsh(jacobian(*point))[-1]
        assert true <= bound < true + 1e-6


def test_a_box_is_covered_and_one_that_is_too_small_is_not():
    middle, radius = np.array([[1.0, 0.5]]), np.array([[0.1, 0.05]])
    rng = np.random.default_rng(0)
    inside = middle + radius * rng.uniform(-1, 1, (500, 2))
    inside[:4] = middle + radius * [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    largest = max(np.linalg.eigvalsh(jacobian(*x))[-1] for x in inside)
    (bound,), (small,) = (log_norm(coupled, middle, share * radius) for share in (1, 0.1))
    assert small < largest <= bound < largest + 1


def test_constants_that_are_rounded_are_covered():
    third = Fraction(1, 3)
    (bound,) = log_norm(lambda x: [x[0] * third + third], np.array([[1.0]]), np.zeros((1, 1)))
    assert third <= Fraction(bound) < third + Fraction(1, 10**6)


def test_leading_minors():
    assert positive_definite([[2, 1], [1, 2]]) and not positive_definite([[1, 2], [2, 1]])


def test_a_jacobian_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="not symmetric"):
        log_norm(lambda x: [x[1], -x[0]], np.ones((1, 2)), np.zeros((1, 2)))


def dual(x):
    return Dual(*(np.full((1, 1), float(y)) for y in (x, 0, 1, 0)))


def holds(found, value, slope):
    """Whether both are in the intervals, exactly."""
    value_, radius, slopes, radii = (
        Fraction(float(y[0, 0])) for y in (found.value, found.radius, found.slopes, found.radii)
    )
    return abs(value - value_) <= radius and abs(slope - slopes) <= radii


@pytest.mark.parametrize("size", [1.0, 3e-155, 1e-170, 2e-308, 5e-324])
def test_what_underflows_is_covered(size):
    x, small = dual(size), Fraction(1, 10**400)
    exact = Fraction(size)
    assert holds(x * x, exact**2, 2 * exact)
    assert holds(x * x * x, exact**3, 3 * exact**2)
    assert holds(x + small, exact + small, 1) and holds(x * small, exact * small, small)
    assert holds(x * x + x * Fraction(1, 3), exact**2 + exact / 3, 2 * exact + Fraction(1, 3))


@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e-300, 1e200])
@pytest.mark.parametrize("n", [1, 3, 40])
def test_the_norm_of_radii_is_bounded_closely(n, scale):
    spread = scale * np.random.default_rng(n).uniform(0.5, 1, (20, n, n))
    for one, bound in zip(spread, _frobenius(spread), strict=True):
        true = sum(Fraction(x) ** 2 for x in one.ravel().tolist())
        assert true <= Fraction(float(bound)) ** 2 <= true * (1 + Fraction(1, 10**9))
