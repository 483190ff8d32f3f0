import numpy as np
import pytest

from gradflow.claims.oracles.differences import STENCIL, clustered, derivative
from gradflow.claims.oracles.extrapolation import extrapolate


def test_a_power_law_in_geometric_times_gives_its_limit_exactly():
    t = 10.0 ** np.arange(6)
    found = extrapolate(3.0 + 2.0 * t ** (-1 / 3))
    assert found.value == pytest.approx(3.0, abs=1e-12)


def test_the_error_bounds_a_law_with_a_second_term():
    t = 10.0 ** np.arange(2, 9)
    found = extrapolate(t ** (-1 / 3) + 0.7 * t ** (-2 / 3))
    assert abs(found.value) <= found.error < 1e-2


def test_constant_values_are_their_own_limit():
    assert extrapolate(np.ones(5)).value == 1.0


def test_too_few_values_are_refused():
    with pytest.raises(ValueError, match="at least 4"):
        extrapolate(np.ones(3))


def test_difference_quotient_has_order_six_and_an_honest_error():
    def at(step):
        found = derivative(np.exp(step * STENCIL), step)
        return abs(found.value - 1.0), found.error

    (coarse, error), (fine, _) = at(0.2), at(0.1)
    assert 5.8 < np.log2(coarse / fine) < 6.2
    assert coarse < error


def test_clusters_must_not_overlap():
    with pytest.raises(ValueError, match="too close"):
        clustered([1.0, 1.001], 1e-3)
