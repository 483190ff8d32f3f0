"""What saxe2014's checks rest on, against other computations."""

import numpy as np
import pytest

from theory_checks.saxe2014._networks import aligned_start, data, follow, velocity
from theory_checks.saxe2014.modes import logistic, passing, runs
from theory_checks.saxe2014.random_start import SCALES, seen


def test_the_velocity_is_minus_the_gradient_of_the_loss():
    rng = np.random.default_rng(0)
    given = data(rng, (3, 4), np.array([2.0, 1.0]))
    factors = [rng.normal(size=shape) for shape in ((3, 4), (2, 3), (3, 2))]

    def loss(ws):
        return np.sum((given.y - ws[2] @ ws[1] @ ws[0] @ given.x) ** 2) / 2

    for k, moved in enumerate(velocity(factors, given)):
        for at in np.ndindex(moved.shape):
            ends = [[w.copy() for w in factors] for _ in range(2)]
            ends[0][k][at] += 1e-5
            ends[1][k][at] -= 1e-5
            slope = (loss(ends[0]) - loss(ends[1])) / 2e-5
            assert moved[at] == pytest.approx(-slope, rel=1e-7, abs=1e-7)


def test_data_are_whitened_and_have_the_strengths_asked_for():
    given = data(np.random.default_rng(1), (4, 3), np.array([3.0, 1.0, 0.5]))
    assert np.allclose(np.linalg.svd(given.y @ given.x.T, compute_uv=False)[:3], [3.0, 1.0, 0.5])
    assert given.whitened and np.linalg.norm(given.y) > np.linalg.norm(given.y @ given.x.T)


def test_a_mode_without_neurons_does_not_start():
    rng = np.random.default_rng(2)
    given = data(rng, (2, 2), np.array([2.0, 1.0]))
    run = follow("", given, aligned_start(rng, given, 1, [np.array([0.1])] * 2), 4.0)
    assert run.strengths(np.array([4.0])).shape == (1, 1)
    (end,) = run.strengths(np.array([4.0]))
    assert end == pytest.approx(logistic(np.array([4.0]), np.array([0.01]), given.s[:1]))
    assert all(run.aligned.values())


def test_what_is_not_aligned_is_noticed():
    rng = np.random.default_rng(3)
    given = data(rng, (2, 2), np.array([2.0, 1.0]))
    start = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    assert not follow("", given, start, 1.0).aligned["singular vectors of Sigma"]


def test_half_of_a_mode_by_hand():
    (run, *_) = runs(0, False)
    a0, s = run.strengths(np.zeros(1))[0], run.given.s
    assert np.allclose(passing(run, np.array([0.5]))[0], np.log(s / a0 - 1) / (2 * s), rtol=1e-9)


def test_plain_projections_miss_a_mode_by_a_time_that_stays():
    found = seen(0, 0.5, 2)
    assert np.allclose(found.plain, found.plain[0], rtol=1e-2)
    assert found.errors[-1] < 1e-3 * found.plain[-1]
    assert np.allclose(found.errors / np.array(SCALES), found.errors[0] / SCALES[0], rtol=1e-2)
