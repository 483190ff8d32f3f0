"""Flattenings of outer products have the rank that is claimed, and bound distances from below."""

import numpy as np
import pytest

from gradflow.baselines._flattenings import koszul_flattenings, unfoldings
from tests.gradflow.baselines.test_cp_als import low_rank

RNG = np.random.default_rng(0)


def all_of(w):
    return [*unfoldings(w), *(koszul_flattenings(w) if w.ndim == 3 else ())]


@pytest.mark.parametrize(("order", "count"), [(2, 1), (3, 3), (4, 7)])
def test_every_way_to_part_the_axes_is_there_once(order, count):
    ways = [flat.axes for flat in unfoldings(RNG.normal(size=(2,) * order))]
    assert len(set(ways)) == len(ways) == count
    assert all(0 in axes and len(axes) < order for axes in ways)


@pytest.mark.parametrize("shape", [(5, 4, 6), (7, 3, 3), (3, 4, 2, 3)])
@pytest.mark.parametrize("rank", [1, 2])
def test_terms_have_the_rank_that_is_claimed(shape, rank):
    w = low_rank(shape, rank)
    for flat in all_of(w):
        values = flat.singular_values
        numerical = int(np.sum(values > 1e-10 * values[0]))
        assert numerical == min(rank * flat.term_rank, len(values))
        assert flat.least_rank(1e-12) <= rank


def test_koszul_flattenings_reach_beyond_the_axes():
    w = low_rank((8, 8, 8), 12)
    assert max(flat.least_rank(1e-6) for flat in unfoldings(w)) == 8
    assert max(flat.least_rank(1e-6) for flat in koszul_flattenings(w)) == 12
    border = low_rank((3, 3, 3), 5)
    assert max(flat.least_rank(1e-9) for flat in koszul_flattenings(border)) == 5


@pytest.mark.parametrize("shape", [(5, 4, 3), (3, 4, 2, 3)])
def test_no_tensor_of_few_terms_is_nearer_than_the_bound(shape):
    """At the noise itself the bound is nearly met: no factor is missing in it."""
    for rank in (1, 2, 3):
        near, noise = low_rank(shape, rank, seed=rank), 1e-3 * RNG.normal(size=shape)
        for flat in all_of(near + noise):
            assert flat.distance(rank) <= np.sum(noise**2)


def test_all_of_a_tensor_counts_in_the_bound_by_no_terms():
    w = RNG.normal(size=(5, 4, 3))
    for flat in all_of(w):
        assert flat.distance(0) <= np.sum(w**2) * (1 + 1e-12)
    whole = [f for f in all_of(w) if f.power == 0 or (f.axes, f.power) == ((0,), 2)]
    for flat in whole:
        np.testing.assert_allclose(flat.distance(0), np.sum(w**2), rtol=1e-12)


def test_an_allowance_of_zero_proves_no_more_than_the_singular_values():
    w = RNG.normal(size=(5, 4, 3))
    for flat in all_of(w):
        assert flat.least_rank(0.0) * flat.term_rank < len(flat.singular_values) + flat.term_rank
