"""Hidden units that are small when others have risen: right, or told, whatever the model."""

import diffrax
import jax
import numpy as np
import pytest

import gradflow as gf
from gradflow.claims.oracles.high_precision import precise
from gradflow.claims.oracles.taylor import follow_factors
from gradflow.flow.tiny_units import _slope

pytestmark = pytest.mark.filterwarnings("ignore:In this flow")
CELLS = list(np.ndindex(2, 2))
RTOL = 1e-8


def wrong_by(flow, truth):
    """The relative error of the product at the end, in units of rtol."""
    return np.linalg.norm(flow["product"][-1] - truth) / np.linalg.norm(truth) / RTOL


def by_taylor(problem, factors, time):
    """The product at a time, by a series in 300 bits."""
    found = follow_factors(
        problem, [precise(f) for f in factors], None, 140, stop_time=time, bits=300
    )
    rows, columns = problem.shape
    return np.array([[float(found.product[i, j]) for j in range(columns)] for i in range(rows)])


def full(target):
    return gf.MatrixCompletion((2, 2), CELLS, np.ravel(target))


def rise(scale, solver=None):
    """Two modes of unlike speed from a start that is not balanced; where the second one rises."""
    problem = full([[1.0, 0.2], [0.3, 0.25]])
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    start = objective.factorization.gaussian(jax.random.key(3), std=scale)
    time = 1.1 * np.log(1 / scale) / 0.1763
    asked = {"horizon": time, "observe": ["product"], "solver": solver or "auto"}
    flow = gf.solve_flow(objective, start, coordinates="factors", **asked)
    return flow, by_taylor(problem, start, time)


def test_a_late_rise_out_of_a_tiny_start_is_told():
    flow, truth = rise(1e-8)
    assert wrong_by(flow, truth) > 100  # there is something to tell
    (warning,) = flow.warnings
    assert "hidden unit" in warning and "Dopri8" in warning


def test_short_steps_follow_it_and_have_nothing_to_tell():
    flow, truth = rise(1e-8, diffrax.Dopri8())
    assert wrong_by(flow, truth) < 10 and not flow.warnings


def test_what_is_not_small_is_right_and_not_told():
    flow, truth = rise(1e-3)
    assert wrong_by(flow, truth) < 100 and not flow.warnings


def test_symmetric_products_too():
    target = np.array([[1.0, 0.2], [0.2, 0.25]])
    objective = gf.Objective(full(target), gf.SymmetricProduct(2, 2))
    start = 1e-8 * np.random.default_rng(0).normal(size=(2, 2))
    time = 0.55 * np.log(1e8) / 0.2
    asked = {"horizon": time, "observe": ["product"], "coordinates": "factors"}
    flow = gf.solve_flow(objective, (start,), **asked)
    # The product of U^T and U, at twice the speed.
    truth = by_taylor(objective.problem, (start.T, start), 2 * time)
    assert wrong_by(flow, truth) > 100 and "hidden unit" in flow.warnings[0]


@pytest.mark.parametrize(("apart", "told"), [(1e-9, True), (1e-5, False)])
def test_a_small_unbalancedness_that_decides_is_told(apart, told):
    # A balanced start's determinant would vanish for ever; this one's comes back with another sign.
    problem = gf.synthetic.norm_blowup()
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    start = objective.factorization.balanced([[0.1, 0.03], [-0.02, 0.08]])
    rng = np.random.default_rng(1)
    moved = [f + apart * np.linalg.norm(f) * rng.normal(size=(2, 2)) for f in start]
    flow = gf.solve_flow(objective, moved, horizon=300.0, observe=["product"])
    truth = by_taylor(problem, moved, 300.0)
    assert np.linalg.det(truth) < 0 and flow.stats["coordinates"] == "factors"
    assert (wrong_by(flow, truth) > 100) == told == bool(flow.warnings)


def test_what_is_balanced_but_for_less_than_used_to_count_is_not_taken_for_balanced():
    problem = gf.synthetic.norm_blowup()
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    low, high = objective.factorization.balanced([[0.1, 0.03], [-0.02, 0.08]])
    moved = (low + 1e-11 * np.array([[0.3, -0.1], [0.2, 0.5]]), high)
    flow = gf.solve_flow(objective, moved, horizon=300.0, observe=["det_sign"])
    assert flow.stats["coordinates"] == "factors" and flow.warnings
    assert gf.solve_flow(objective, (low, high), horizon=1.0).stats["coordinates"] == "logdet"


def test_a_batch_tells_each_flow_its_own():
    problem = full([[1.0, 0.2], [0.3, 0.25]])
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    model = objective.factorization
    starts = [model.gaussian(jax.random.key(3), std=scale) for scale in (1e-3, 1e-8)]
    asked = {"horizon": 120.0, "observe": ["loss"], "coordinates": "factors"}
    first, second = gf.solve_flows(objective, starts, **asked)
    assert not first.warnings and "hidden unit" in second.warnings[0]


def test_layers_may_be_of_several_widths():
    objective = gf.Objective(full([[1.0, 0.2], [0.3, 0.25]]), gf.MatrixProduct((2, 4, 3, 2)))
    start = objective.factorization.gaussian(jax.random.key(0), std=0.5)
    units = gf.coordinates.FactorCoordinates(objective).units(start)
    assert units is not None and units.shape == (2, 7)
    wanted = [
        np.linalg.svd(np.hstack([a, b.T]))[1] for a, b in zip(start[:-1], start[1:], strict=True)
    ]
    np.testing.assert_allclose(units[0], np.concatenate(wanted), rtol=1e-12)
    np.testing.assert_allclose(units[1], np.concatenate([s / s[0] for s in wanted]), rtol=1e-12)


TINY = np.random.default_rng(0).normal(size=(4, 2)) * [0.3, 0.3e-30]


def tiny_column(horizon, **asked):
    problem = full([[1.0, 0.2], [0.3, 0.25]])
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    asked = {"horizon": horizon, "observe": ["loss"]} | asked
    return gf.solve_flow(objective, (TINY[:2].T, TINY[2:]), **asked)


def test_a_unit_that_starts_below_what_long_steps_see_is_told_or_held_in_logarithms():
    lost, kept = tiny_column(400.0, coordinates="factors"), tiny_column(400.0)
    assert kept.stats["coordinates"] == "logcolumns" and not kept.warnings
    assert lost["loss"][-1] < 1e-3 * kept["loss"][-1]  # there is something to tell
    (warning,) = lost.warnings
    large, small = np.linalg.norm(TINY, axis=0)
    assert f"starts at {small / large:.1e} of the largest" in warning and "logcolumns" in warning


def test_it_is_not_told_of_where_it_cannot_have_risen():
    flow = tiny_column(5.0, coordinates="factors")
    assert not flow.warnings
    assert flow["loss"][-1] == pytest.approx(tiny_column(5.0)["loss"][-1], rel=1e-6)


def sparse(side, observed):
    """A unit of 1e-12 in a completion whose matrix is never formed."""
    rng = np.random.default_rng(0)
    seen = np.unique(rng.integers(0, side, (observed, 2)), axis=0)
    problem = gf.problems.SparseCompletion((side, side), seen, rng.normal(size=len(seen)))
    sizes = 0.3 * np.array([1.0, 1e-12])
    low, high = sizes[:, None] * rng.normal(size=(2, side)), sizes * rng.normal(size=(side, 2))
    return problem, gf.MatrixProduct.of((side, side), 2, hidden=2), (low, high)


def test_of_a_matrix_that_is_never_formed_it_is_told_without_it():
    """80 GB, where it was formed; and "logcolumns", which form it, are no remedy."""
    problem, model, start = sparse(100_000, 3000)
    asked = {"horizon": 1e-3, "rtol": 1e-3, "observe": ["loss"]}
    quiet = gf.solve_flow(gf.Objective(problem, model), start, **asked)
    assert not quiet.warnings and quiet.stats["solver"] == "StiffnessSwitch"
    problem, model, start = sparse(60, 300)
    with pytest.warns(RuntimeWarning, match="a hidden unit starts at"):
        flow = gf.solve_flow(gf.Objective(problem, model), start, horizon=1.0, rtol=1e-5)
    assert flow.warnings[0].endswith("start it larger")
    dense = gf.MatrixCompletion(problem.shape, problem.indices, problem.values)
    factors = model.check(start)
    slopes = [_slope(gf.Objective(each, model), factors) for each in (problem, dense)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-12)
