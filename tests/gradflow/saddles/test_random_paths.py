"""A hundred random problems of each kind against real flows.

From 1e-20 and 1e-60; diagonal networks of depth 3 from 3e-7 and 8e-10, where times are as long
already, and deep products from 1e-12 and 1e-30: from 1e-60 plateaus take 1e19 and more of the
fastest time scale, beyond what a flow in float64 can tell apart. From 1e-30 some take 1e16 beside a
saddle, where rounding of what stands still makes a flow's times wrong by up to 3e-4 of them, by how
it was compiled: such times are not compared.
"""

import os
from collections import Counter

import numpy as np
import pytest

from gradflow.saddles import saddle_path
from tests.gradflow.saddles.log_scaled import run
from tests.gradflow.saddles.problems import (
    deep,
    deep_times,
    diagonal,
    diagonal_times,
    product,
    symmetric,
)

SEED = int(os.environ.get("GRADFLOW_RANDOM_PATHS_SEED", "1000"))
COUNT = int(os.environ.get("GRADFLOW_RANDOM_PATHS", "100"))
SURE = 0.3
"""Errors that are claimed to be less are compared."""
LONGEST = 3000.0
"""Flows that take longer, in time scales of their start, are left out."""
RESOLVED = 1e15
"""Deep products: in units of the first rate; beyond, float64 is no reference for a second jump."""


def columns(make, seed, log_alpha):
    """(claimed, found) errors of one problem's times, and how its path ended."""
    posed = make(seed)
    path = saddle_path(posed.objective, posed.start)
    wanted = path.times(log_alpha=log_alpha)
    claimed = path.predicted_error(log_alpha=log_alpha)
    kept = (claimed < SURE) & (wanted * path.rates[0, 0] < LONGEST)
    jumps = int(np.argmin([*kept, False]))
    if jumps == 0:
        return path, claimed[:0], claimed[:0]
    goals = (path.losses[:jumps] + path.losses[1 : jumps + 1]) / 2
    end = 1.2 * wanted[jumps - 1] + 20 / path.rates[0, 0]
    found, _ = run(posed.operator, posed.loss, posed.q, log_alpha, goals, end)
    found = np.pad(found, (0, jumps - len(found)), constant_values=np.inf)
    return path, claimed[:jumps], np.abs(found - wanted[:jumps])


def entries(depth, seed, log_alpha):
    """The same of diagonal networks."""
    posed = diagonal(seed, depth)
    path = saddle_path(posed.objective, posed.start)
    wanted = path.times(log_alpha=log_alpha)
    claimed = path.predicted_error(log_alpha=log_alpha)
    goals = (path.losses[:-1] + path.losses[1:]) / 2
    found = diagonal_times(posed, log_alpha, goals, 1.1 * wanted[-1] + 50)
    kept = (claimed < SURE) & np.isfinite(path.offsets)
    return path, claimed[kept], np.abs(found - wanted)[kept]


def deeper(seed, log_alpha):
    """The same of balanced products of depth 3 and 4, where errors are compared with times.

    A flow's times are right to its rtol of 1e-8, which at the smallest alpha is more than is
    claimed.
    """
    posed = deep(seed)
    path = saddle_path(posed.objective, posed.w)
    wanted = path.times(log_alpha=log_alpha)
    claimed = path.predicted_error(log_alpha=log_alpha)
    resolved = wanted * path.rates[0, 0] < RESOLVED
    resolved[:1] = True  # beside 0 nothing stands still
    jumps = int(np.argmin([*((claimed < SURE * wanted) & resolved), False]))
    goals = (path.losses[:jumps] + path.losses[1 : jumps + 1]) / 2
    found = deep_times(posed, log_alpha, goals)
    return path, claimed[:jumps] + 1e-8 * found, np.abs(found - wanted[:jumps])


KINDS = {
    "symmetric": (lambda seed, log: columns(symmetric, seed, log), (-46.0, -138.2)),
    "product": (lambda seed, log: columns(product, seed, log), (-46.0, -138.2)),
    "deep": (deeper, (-27.6, -69.0)),
    "diagonal 2": (lambda seed, log: entries(2, seed, log), (-46.0, -138.2)),
    "diagonal 3": (lambda seed, log: entries(3, seed, log), (-15.0, -21.0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_times_are_as_predicted_or_flagged(kind):
    compare, logs = KINDS[kind]
    ends, compared, seen, ratios = Counter(), 0, 0, []
    for seed in range(SEED, SEED + COUNT):
        path, claimed, found = compare(seed, logs[seed // 2 % 2])
        ends[path.outcome.name] += 1
        compared, seen = compared + len(found), seen + len(path.taus)
        ratios.extend(found / claimed)
        assert np.all(found < claimed), (seed, path, claimed, found)
    print(f"{kind}, seeds {SEED} to {SEED + COUNT - 1}: {dict(ends)}; {compared} of {seen} times")
    print(f"error / claimed: median {np.median(ratios):.2g}, largest {np.max(ratios):.2g}")
    assert compared > seen / 3
