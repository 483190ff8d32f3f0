"""What gidel2019's checks rest on, against other computations."""

import numpy as np

from theory_checks.gidel2019.descent import descend, errors, recur
from theory_checks.gidel2019.sequence import decay, growth, reduced_rank
from theory_checks.saxe2014._networks import aligned_start, data


def test_descents_of_matrices_keep_their_frames():
    rng = np.random.default_rng(0)
    given = data(rng, (2, 2), np.array([2.0, 1.0]))
    start = aligned_start(rng, given, 2, [np.array([0.2, 0.3])] * 2)
    one, two = descend(given, start, 0.1, 30)[-1]
    w = recur(np.array([0.2, 0.3]), given.s, 0.1, 30)[-1]
    assert np.allclose(given.u.T @ two @ one @ given.v, np.diag(w**2), atol=1e-13)


def test_one_step_by_hand():
    found = recur(np.array([1.0]), np.array([3.0]), 0.1, 1)
    assert np.allclose(found[:, 0], [1.0, 1.2])


def test_the_error_of_eulers_method_is_of_the_first_order():
    found, constant, _ = errors(0)
    gaps = np.abs(found - constant / 2).max(axis=(1, 2))
    assert gaps[0] > 8 * gaps[1] > 64 * gaps[2]


def test_small_steps_grow_as_the_flow_does():
    s = np.array([2.0, 0.5])
    for rate in (growth, decay):
        assert np.array_equal(rate(s, 0.0), s)
        assert np.allclose(rate(s, 1e-6), s, rtol=1e-5)


def test_reduced_rank_regression_fits_best_of_its_rank():
    rng = np.random.default_rng(1)
    given = data(rng, (3, 4), np.array([3.0, 2.0, 1.0]))
    best = np.sum((given.y - reduced_rank(given, 1) @ given.x) ** 2)
    others = rng.normal(size=(200, 3, 1)) @ rng.normal(size=(200, 1, 4))
    assert np.all(np.sum((given.y - others @ given.x) ** 2, axis=(1, 2)) > best)
    # The rest of Sigma and what no linear map reaches are left.
    assert np.isclose(best, 2.0**2 + 1.0**2 + np.sum(given.y**2) - 14.0)
