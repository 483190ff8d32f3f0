"""The claims of arora2018: the field through layers, in closed form and by the library."""

import mpmath
import numpy as np
import pytest

from theory_checks.arora2018.potential import by_layers, by_library, closed


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_field_is_the_printed_one(depth):
    w = np.array([0.3, -0.7])
    size = np.linalg.norm(w)
    wanted = size ** (2 - 2 / depth) * (np.array([1, 0]) + (depth - 1) * w[0] * w / size**2)
    with mpmath.workdps(30):
        layers = [float(f) for f in by_layers((mpmath.mpf("0.3"), mpmath.mpf("-0.7")), depth)]
    np.testing.assert_allclose(layers, wanted, rtol=1e-13)
    np.testing.assert_allclose(by_library((0.3, -0.7), depth), wanted, rtol=1e-13)


def test_the_work_by_the_curl():
    """Green: the curl is ||g|| (N - 1)(N - 2) / N s^(1 - 2/N) sin(phi)."""
    s = np.linspace(0.5, 1.0, 20_001)
    middle = (s[1:] + s[:-1]) / 2
    for depth in (2, 3, 5):
        share = (depth - 1) * (depth - 2) / depth
        found = 2 * share * np.sum(middle ** (2 - 2 / depth)) * (s[1] - s[0])
        assert abs(found - float(closed(depth, (mpmath.mpf("0.5"), mpmath.mpf(1))))) < 1e-9
