"""Graded columns of U U^T and W_2 W_1 against series in 300 bits and flows column by column."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.coordinates import LogColumnCoordinates
from gradflow.ode import LinearlyImplicitExtrapolation
from tests.gradflow.flow.test_hidden_units import by_taylor, wrong_by
from tests.gradflow.saddles.log_scaled import run
from tests.gradflow.saddles.problems import product, symmetric

SYMMETRIC = np.array([[1.0, 0.2], [0.2, 0.25]])
SKEW = np.array([[1.0, 0.2], [0.3, 0.25]])


def full(target):
    return gf.MatrixCompletion(target.shape, list(np.ndindex(target.shape)), target.ravel())


@pytest.mark.parametrize("scale", [1e-3, 1e-8, 1e-12])
def test_late_rises_out_of_tiny_starts_are_right(scale):
    objective = gf.Objective(full(SYMMETRIC), gf.SymmetricProduct(2, 2))
    start = scale * np.random.default_rng(0).normal(size=(2, 2))
    time = 0.55 * np.log(1 / scale) / 0.2
    flow = gf.solve_flow(objective, (start,), horizon=time, observe=["product"])
    assert flow.stats["coordinates"] == "logcolumns" and not flow.warnings
    # The product of U^T and U, at twice the speed.
    assert wrong_by(flow, by_taylor(objective.problem, (start.T, start), 2 * time)) < 10


@pytest.mark.parametrize("scale", [1e-3, 1e-8])
def test_unbalanced_layers_too(scale):
    objective = gf.Objective(full(SKEW), gf.MatrixProduct((2, 2, 2)))
    start = objective.factorization.gaussian(jax.random.key(3), std=scale)
    time = 1.1 * np.log(1 / scale) / 0.1763
    flow = gf.solve_flow(objective, start, horizon=time, observe=["product"])
    assert flow.stats["coordinates"] == "logcolumns" and not flow.warnings
    assert wrong_by(flow, by_taylor(objective.problem, start, time)) < 10
    moved = [b @ b.T - a.T @ a for a, b in ((flow.final["W_2"], flow.final["W_1"]), start[::-1])]
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-7)


@pytest.mark.parametrize("scale", [1.0, pytest.param(1e-7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-5])
def test_what_is_unbalanced_decides_a_blow_up_however_little_it_is(apart, scale):
    """The determinant comes back with another sign when it has fallen to what is unbalanced.

    With apart = 0 that is the rounding of the factors, which a flow in factors loses, and one of
    balanced coordinates leaves out.
    """
    problem = gf.synthetic.norm_blowup()
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    start = objective.factorization.balanced(scale * np.array([[0.1, 0.03], [-0.02, 0.08]]))
    rng = np.random.default_rng(1)
    moved = [f + apart * np.linalg.norm(f) * rng.normal(size=(2, 2)) for f in start]
    asked = {"horizon": 300.0, "observe": ["product"], "coordinates": "logcolumns"}
    flow, truth = gf.solve_flow(objective, moved, **asked), by_taylor(problem, moved, 300.0)
    assert np.linalg.det(truth) < 0 and wrong_by(flow, truth) < 10 and not flow.warnings


@pytest.mark.parametrize(
    ("pose", "seed", "alpha"), [(symmetric, 4, 1e-28), (symmetric, 7, 1e-60), (product, 3, 1e-120)]
)
def test_times_of_jumps_are_those_of_a_flow_column_by_column(pose, seed, alpha):
    posed = pose(seed)
    losses = gf.saddle_path(posed.objective, posed.start).losses
    goals = (losses[:-1] + losses[1:]) / 2
    times, _ = run(posed.operator, posed.loss, posed.q, np.log(alpha), goals, 1e4)
    start = tuple(alpha**0.5 * factor for factor in posed.start)
    for goal, time in zip(goals, times, strict=True):
        asked = {"stop_loss": goal, "observe": ["loss"], "coordinates": "logcolumns"}
        flow = gf.solve_flow(posed.objective, start, **asked)
        assert flow.times[-1] == pytest.approx(time, rel=1e-8)


def modes(scales, horizon, **asked):
    """A full observation of diag(0.2, 1, 0.5) from a diagonal start: each mode is logistic."""
    target = np.array([0.2, 1.0, 0.5])
    objective = gf.Objective(full(np.diag(target)), gf.SymmetricProduct(3, 3))
    start = (jnp.diag(jnp.asarray(scales)),)
    flow = gf.solve_flow(objective, start, horizon=horizon, observe=["product"], **asked)
    growth = np.exp(-4 * target * flow.times[:, None])
    first = np.asarray(scales) ** 2
    truth = target * first / (first + (target - first) * growth)
    return flow, np.abs(np.diagonal(flow["product"], axis1=1, axis2=2) / truth - 1)


def test_sizes_that_cross_begin_anew_and_keep_every_mode():
    flow, errors = modes([1e-20, 1e-30, 1e-26], 60.0)
    assert flow.stats["charts"] >= 2  # the second overtakes the first, and the third
    assert np.max(errors) < 1e-6
    # Zeros are zeros: what is one by symmetry stays one.
    assert np.all(flow["product"][:, ~np.eye(3, dtype=bool)] == 0)


def test_in_factors_the_small_modes_are_lost():
    _, errors = modes([1e-20, 1e-30, 1e-26], 60.0, coordinates="factors")
    assert np.max(errors) > 1e-2


def test_singular_values_keep_their_digits():
    objective = gf.Objective(full(np.diag([0.2, 1.0, 0.5])), gf.SymmetricProduct(3, 3))
    start = (jnp.diag(jnp.array([1e-20, 1e-30, 1e-26])),)
    flow = gf.solve_flow(objective, start, horizon=1e-3, observe=["singular_values"])
    np.testing.assert_allclose(flow["singular_values"][0], [1e-40, 1e-52, 1e-60], rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (3, 1), (4, 4)])
def test_factors_are_those_of_the_start(shape):
    model = gf.SymmetricProduct(*shape)
    objective = gf.Objective(full(np.eye(shape[0])), model)
    u = 1e-4 * np.random.default_rng(1).normal(size=shape)
    u[:, 0] *= 1e-6
    coordinates, y = LogColumnCoordinates.encode(objective, gf.GradientFlow(), (jnp.asarray(u),))
    np.testing.assert_allclose(coordinates.factors(y)[0], u, rtol=1e-12, atol=1e-18)
    # Its velocity is that of the factors.
    moved = jax.jvp(coordinates.factors, (y,), (coordinates.velocity(y),))[1][0]
    (slope,) = objective.gradient((jnp.asarray(u),))
    np.testing.assert_allclose(moved, -slope, atol=1e-12 * np.max(np.abs(slope)))


def test_a_column_of_zeros_stays_one():
    objective = gf.Objective(full(SYMMETRIC), gf.SymmetricProduct(2, 2))
    start = (jnp.array([[1e-6, 0.0], [2e-6, 0.0]]),)
    flow = gf.solve_flow(objective, start, horizon=50.0, observe=["product"])
    assert flow.stats["coordinates"] == "logcolumns" and not flow.warnings
    assert np.all(flow.final["W_1"][:, 1] == 0)
    assert np.linalg.matrix_rank(flow["product"][-1]) == 1


@pytest.mark.parametrize("angle", [1e-8, 3e-12])
def test_columns_that_are_almost_parallel_keep_every_digit(angle):
    """In float64 an angle is known to 1e-16 / angle, and what is unbalanced along it to less."""
    q, moved = np.random.default_rng(0).normal(size=(2, 4))
    columns = 1e-3 * np.stack([q, q + angle * moved], 1)
    start, time = (columns[:2].T, columns[2:]), np.log(1e3 / angle) / 0.1763
    objective = gf.Objective(full(SKEW), gf.MatrixProduct((2, 2, 2)))
    asked = {"horizon": time, "observe": ["product"], "coordinates": "logcolumns"}
    flow = gf.solve_flow(objective, start, **asked)
    assert wrong_by(flow, by_taylor(objective.problem, start, time)) < 1 and not flow.warnings


def test_what_is_unbalanced_in_a_far_smaller_column_is_kept():
    """Once the first column has risen the second grows at a constant rate."""
    objective = gf.Objective(full(SKEW), gf.MatrixProduct((2, 2, 2)))
    slowest = np.linalg.svd(SKEW)[1][1]
    columns = 1e-3 * np.random.default_rng(1).normal(size=(4, 2))

    def until(apart):
        start = columns * [1.0, apart]
        asked = {"stop_loss": slowest**2 / 4, "observe": ["loss"], "coordinates": "logcolumns"}
        return gf.solve_flow(objective, (start[:2].T, start[2:]), **asked).times[-1]

    near = until(1e-20)
    for far in (140, 250):
        expected = (far - 20) * np.log(10) / slowest
        assert until(10.0**-far) - near == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="what couples them"):
        until(1e-290)


def test_exactly_dependent_rows_stay_so():
    objective = gf.Objective(full(SYMMETRIC), gf.SymmetricProduct(2, 3))
    start = (1e-3 * jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]),)
    coordinates, y = LogColumnCoordinates.encode(objective, gf.GradientFlow(), start)
    assert y.logs.shape == (1,)  # one direction, and none of round-off that would rise
    np.testing.assert_allclose(coordinates.factors(y)[0], start[0], rtol=1e-14)


def test_a_start_of_any_size():
    objective = gf.Objective(full(SYMMETRIC), gf.SymmetricProduct(2, 2))
    starts = [gf.LogScaled(np.eye(2), -scale) for scale in (2000.0, 4000.0)]
    flows = [gf.solve_flow(objective, start, stop_loss=1e-3) for start in starts]
    ends = [flow.times[-1] for flow in flows]
    for flow in flows:  # of a product that is no number, too
        assert flow["effective_rank"][0] == pytest.approx(2.0, abs=1e-12)
    slowest = np.linalg.eigvalsh(SYMMETRIC)[0]
    assert ends[1] - ends[0] == pytest.approx(2000 / (4 * slowest), rel=1e-9)


def test_it_goes_on_from_where_it_ended():
    posed = symmetric(4)
    start = tuple(1e-14 * factor for factor in posed.start)
    first = gf.solve_flow(posed.objective, start, horizon=30.0, observe=["product"])
    second, whole = (
        gf.solve_flow(posed.objective, at, horizon=400.0, observe=["product"])
        for at in (first, start)
    )
    assert second.stats["coordinates"] == "logcolumns"
    np.testing.assert_allclose(second["product"][-1], whole["product"][-1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("model", "penalty", "start", "said"),
    [
        (gf.MatrixProduct((2, 2, 2, 2)), None, None, "MatrixProduct of depth 2, not"),
        (gf.SymmetricProduct(2, 2), gf.WeightDecay(1e-3), None, "without a penalty"),
        (gf.SymmetricProduct(2, 2), None, (jnp.full((2, 2), 1e-6),), "linearly dependent"),
        (gf.SymmetricProduct(2, 2), None, (jnp.zeros((2, 2)),), "all columns are zero"),
    ],
)
def test_what_they_cannot_hold_they_refuse(model, penalty, start, said):
    objective = gf.Objective(full(SYMMETRIC), model, penalty)
    start = model.identity(1e-6) if start is None else start
    with pytest.raises(ValueError, match=said):
        gf.solve_flow(objective, start, horizon=1.0, coordinates="logcolumns")


@pytest.mark.parametrize(("tiny", "taken"), [(1.0, "factors"), (1e-12, "logcolumns")])
def test_a_start_that_is_not_tiny_is_followed_in_factors_unless_a_column_is(tiny, taken):
    objective = gf.Objective(full(SYMMETRIC), gf.SymmetricProduct(2, 2))
    start = (jnp.array([[0.1, 0.03], [0.05, -0.1]]) * jnp.array([1.0, tiny]),)
    flow = gf.solve_flow(objective, start, horizon=60.0, observe=["product"])
    assert flow.stats["coordinates"] == taken
    if taken == "factors":
        assert "no column is tiny" in flow.stats["coordinates_reason"]
    else:
        # The product of U^T and U, at twice the speed.
        truth = by_taylor(objective.problem, (start[0].T, start[0]), 2 * 60.0)
        assert wrong_by(flow, truth) < 10
    assert not flow.warnings


@pytest.mark.parametrize("time", [100.0, 140.0])
def test_a_middle_column_that_grows_by_far_the_most_takes_few_steps(time):
    """What it grows by beside the others is above 1e17: shears are their round-off by then."""
    objective = gf.Objective(
        full(np.random.default_rng(2).normal(size=(3, 3))), gf.MatrixProduct((3, 3, 3))
    )
    w1, w2 = np.random.default_rng(11).normal(size=(2, 3, 3))
    sizes = np.array([0.3, 1e-30, 1e-60])
    start = (sizes[:, None] * w1, sizes * w2)
    flow = gf.solve_flow(objective, start, horizon=time, observe=["product"], max_steps=1000)
    assert flow.stats["coordinates"] == "logcolumns" and not flow.warnings
    assert flow.outcome is gf.Outcome.REACHED_HORIZON
    assert wrong_by(flow, by_taylor(objective.problem, start, time)) < 1


@pytest.mark.parametrize("small", [None, 1e-30])
def test_more_columns_than_rows_may_be_dependent_too(small):
    """All of a plane, but for round-off: the flow keeps it, and a third direction is none."""
    rng = np.random.default_rng(0)
    u = 1e-3 * rng.normal(size=(3, 2)) @ rng.normal(size=(2, 5))
    if small is not None:  # below that round-off
        u[:, 4] = small * rng.normal(size=3)
    objective = gf.Objective(full(np.diag([1.0, 0.6, 0.35])), gf.SymmetricProduct(3, 5))
    with pytest.raises(ValueError, match="linearly dependent"):
        gf.solve_flow(objective, (u,), horizon=1.0, coordinates="logcolumns")
    # Zeros are exact, and a column above round-off makes a direction of its own.
    u[2] = 0.0
    known = np.concatenate([u[:, :4], 1e-5 * rng.normal(size=(3, 1))], 1)
    for start in (u, known):
        _, y = LogColumnCoordinates.encode(objective, gf.GradientFlow(), (jnp.asarray(start),))
        flow = gf.solve_flow(objective, (start,), horizon=1e-3, coordinates="logcolumns")
        assert flow.final["log_sizes"].shape == y.logs.shape == (2 if start is u else 3,)


@pytest.mark.parametrize("seed", [11, 12])
def test_six_columns_of_two_layers_far_apart_take_few_steps(seed):
    """Stabilised steps grind where shears make the Jacobian far from normal: 0.01 to t = 9.6."""
    target = np.random.default_rng(6).normal(size=(5, 4))
    objective = gf.Objective(full(target), gf.MatrixProduct((4, 6, 5)))
    sizes = np.array([1, 1e-3, 1e-12, 1e-18, 1e-24, 1e-40])
    columns = np.random.default_rng(seed).normal(size=(9, 6)) * sizes
    start = columns[:4].T, columns[4:]
    flow = gf.solve_flow(objective, start, horizon=40.0, observe=["product"], max_steps=300)
    assert flow.stats["coordinates"] == "logcolumns" and not flow.warnings
    assert flow.outcome is gf.Outcome.REACHED_HORIZON
    assert wrong_by(flow, by_taylor(objective.problem, start, 40.0)) < 0.1


def test_what_shrinks_does_not_hold_up_what_grows():
    """Mirror images fall as fast as modes rise, and what they keep of the start is round-off."""
    target = np.random.default_rng(6).normal(size=(5, 4))
    objective = gf.Objective(full(target), gf.MatrixProduct((4, 6, 5)))
    columns = 1e-6 * np.random.default_rng(11).normal(size=(9, 6))
    start = columns[:4].T, columns[4:]
    asked = {"horizon": 24.0, "observe": ["product"], "coordinates": "logcolumns"}
    flow = gf.solve_flow(
        objective, start, max_steps=300, **asked, solver=LinearlyImplicitExtrapolation()
    )
    assert flow.outcome is gf.Outcome.REACHED_HORIZON  # 431 and more where O was led to round-off
    assert wrong_by(flow, by_taylor(objective.problem, start, 24.0)) < 10
