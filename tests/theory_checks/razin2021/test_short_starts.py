"""Starts at which the best upper bounds of Theorem 2 are nearly met, of both factorisations."""

import numpy as np
import pytest

from gradflow.claims import Settings
from gradflow.claims.oracles import component_cases
from gradflow.claims.oracles.components import spread
from theory_checks.razin2021 import components as razin2021
from theory_checks.razin2022 import components as razin2022


@pytest.mark.parametrize("module", [razin2021, razin2022], ids=["CP", "hierarchical"])
def test_just_above_the_best_share_the_bound_is_kept_and_just_below_it_is_not(module):
    starts = module.short_starts(Settings(seed=3))
    for start in starts:
        (nodes,) = start.points
        (at,) = nodes
        assert spread(nodes) == pytest.approx(1.0, abs=1e-7)
        np.testing.assert_allclose(at.c, module.SHORT, rtol=1e-12)
        assert start.witness(at.c.size - 1)["t"] == 0
        best = at.order ** (-1 / (at.order - 1))
        for share, kept in ((1.02 * best, True), (0.9 * best, False)):
            (case,) = component_cases.enclosed([start], share)
            lowest = float(np.min(case.slack))
            assert lowest > 0 if kept else lowest < -1e-3
    assert len({start.points[0][0].order for start in starts}) == 3
