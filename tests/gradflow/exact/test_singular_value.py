"""One singular value: quadrature in long arithmetic, plateaus, limits."""

from typing import Any

import mpmath
import numpy as np
import pytest

from gradflow import exact
from gradflow.exact.singular_value import value_and_gap


def integral(function, points) -> Any:
    return mpmath.quad(function, points)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(
    ("start", "target"),
    [(1e-6, 2.0), (0.3, 0.5), (5.0, 2.0), (1e5, 0.7), (0.2, -1.0), (40.0, -0.1)],
)
def test_times_are_those_of_quadrature_in_long_arithmetic(depth, start, target):
    with mpmath.workdps(30):
        begin, s, n = map(mpmath.mpf, (start, target, depth))
        ends = [begin + (max(s, 0) - begin) * mpmath.mpf(f) for f in (0.01, 0.5, 0.95)]
        for end in ends:
            time: Any = integral(
                lambda y: mpmath.exp(y) ** (2 / n - 1) / (n * 3 * (s - mpmath.exp(y))),
                mpmath.linspace(mpmath.log(begin), mpmath.log(end), 4),
            )
            value, gap = value_and_gap(float(time), start, target, depth, 3.0)
            # One rounding of the time moves the value by eps times this; the start's two roundings
            # as much again, or more where the time is short.
            felt = 1 + float(time * 3 * n * end ** (1 - 2 / n) * abs(s - end))
            assert abs(value / float(end) - 1) < 3e-15 * felt
            assert abs(gap - float(s - end)) < 3e-15 * felt * float(end) + 3e-15 * abs(target)
            if target > 0:
                share = float(end / s)
                found = exact.time_to_share(share, start, target, depth, rate=3.0)
                assert abs(found / float(time) - 1) < 1e-12


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_the_gap_keeps_its_digits_and_ends_are_reached(depth):
    """Deep in the tail the gap falls by exp(-N rate s^p t), s = 1, and it never is round-off."""
    t = np.array([30.0, 31.0, 200.0])
    for start in (0.1, 3.0):
        gap = value_and_gap(t, start, 1.0, depth, 1.0)[1]
        np.testing.assert_allclose(gap[1:] / gap[0], np.exp(-depth * (t[1:] - t[0])), rtol=1e-12)
    for start, target in ((0.1, 1.0), (3.0, 1.0), (1.0, 1.0), (0.1, 0.0), (0.1, -2.0)):
        late, end = exact.singular_value_flow(np.array([1e300, np.inf]), start, target, depth)
        wanted = target if depth == 1 else max(target, 0.0)
        assert end == wanted
        np.testing.assert_allclose(late, wanted, atol=1e-100)
    assert exact.singular_value_flow(0.0, 0.3, 1.0, depth) == pytest.approx(0.3, rel=1e-14)


def test_the_plateau_has_its_length():
    """What the formula leaves out is a constant, so its share falls as the plateau grows."""
    for depth in (3, 4):
        starts = np.array([1e-6, 1e-9, 1e-12])
        found = exact.time_to_share(0.5, starts, 2.0, depth)
        plateau = starts ** (2 / depth - 1) / ((depth - 2) * 2.0)
        off = np.abs(found / plateau - 1)
        np.testing.assert_allclose(off[1:] / off[:-1], 1000.0 ** (2 / depth - 1), rtol=0.1)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_constant_gradient_is_the_limit_of_a_far_target(depth):
    """rate (target - sigma) tends to the push as the target goes far away: error 1 / target."""
    t, push = np.array([0.3, 2.0]), 0.4
    wanted = exact.constant_gradient_flow(t, 0.05, push, depth)
    off = [
        np.abs(exact.singular_value_flow(t, 0.05, far, depth, rate=push / far) - wanted)
        for far in (1e4, 1e5)
    ]
    np.testing.assert_allclose(off[0] / off[1], 10, rtol=1e-2)
    if depth > 2:
        escape = 0.05 ** (2 / depth - 1) / ((depth - 2) * push)
        near = exact.constant_gradient_flow(escape * np.array([0.999, 1.001]), 0.05, push, depth)
        assert np.isfinite(near[0]) and np.isinf(near[1])


def test_equation_11_between_two_singular_values():
    """sigma_1^(-1/3) - alpha sigma_2^(-1/3) stays, at depth 3, under any common push."""
    t, alpha = np.linspace(0, 2, 9), 0.7
    first = exact.constant_gradient_flow(t, 0.02, alpha, 3)
    second = exact.constant_gradient_flow(t, 0.03, 1.0, 3)
    kept = first ** (-1 / 3) - alpha * second ** (-1 / 3)
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)


def test_no_size_of_a_start_overflows():
    """Towards 0, where the solution is (begin^-p + p N rate t)^(-1/p): powers had given 0."""
    for depth, begin, t in (
        (3, 1e-300, 1.0),
        (4, 1e-240, 1e300),
        (3, 1e300, 1e-200),
        (5, 1e250, 0.0),
    ):
        found = exact.singular_value_flow(t, begin, 0.0, depth)
        with mpmath.workdps(50):
            p = 2 - mpmath.mpf(2) / depth
            wanted = (mpmath.mpf(begin) ** -p + p * depth * mpmath.mpf(t)) ** (-1 / p)
        assert float(found) == pytest.approx(float(wanted), rel=1e-12)
    huge = exact.singular_value_flow(1e150, 1e200, 0.0, 2)
    assert float(huge) == pytest.approx(5e-151, rel=1e-12)
    still = exact.constant_gradient_flow([np.inf, 1.0], 1e-3, 0.0, 3)
    np.testing.assert_array_equal(still, 1e-3)  # had been NaN at infinity


@pytest.mark.parametrize(
    ("start", "target", "name"), [(np.inf, 1.0, "start"), (0.1, np.nan, "target")]
)
def test_what_is_not_finite_is_refused(start, target, name):
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        exact.singular_value_flow(1.0, start, target, 3)
