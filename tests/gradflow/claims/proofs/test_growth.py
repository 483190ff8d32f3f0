"""Bounds of the largest eigenvalue of a field's Jacobian over boxes."""

from fractions import Fraction

import numpy as np
import pytest

from gradflow.claims.proofs.growth import log_norm, positive_definite


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
