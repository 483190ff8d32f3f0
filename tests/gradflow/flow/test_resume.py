"""A flow that is stopped and goes on is the flow that was never stopped."""

import copy
import pickle

import jax
import numpy as np
import pytest

import gradflow as gf
from gradflow.trajectory import Trajectory

PROBLEM = gf.synthetic.norm_blowup()
MODEL = gf.MatrixProduct((2, 2, 2))
OBJECTIVE = gf.Objective(PROBLEM, MODEL)
START = MODEL.balanced(np.array([[0.3, 0.1], [-0.05, 0.2]]))
TENSOR = gf.Objective(
    gf.synthetic.tensor_completion(jax.random.key(0), (2, 2, 2), 1, 6), gf.CPTensor((2, 2, 2), 2)
)
OF_TENSOR = TENSOR.factorization.gaussian(jax.random.key(1), std=0.3)
NETWORK = gf.Objective(
    gf.LeastSquares([[1.0, 0.5], [0.0, 1.0]], [1.0, -0.5]), gf.DiagonalNetwork(2, 2)
)
RTOL = 1e-8
FLOWS = {
    "factors": (OBJECTIVE, START, {}),
    "product": (OBJECTIVE, START, {}),
    "singular": (OBJECTIVE, START, {}),
    "logdet": (OBJECTIVE, START, {}),
    "ldu": (OBJECTIVE, START, {}),
    "logpolar": (TENSOR, OF_TENSOR, {}),
    "logparameters": (NETWORK, NETWORK.factorization.identity(1e-3), {}),
    "logcolumns": (OBJECTIVE, START, {}),
    "momentum": (OBJECTIVE, START, {"dynamics": gf.MomentumFlow(0.5)}),
    "adam": (OBJECTIVE, START, {"dynamics": gf.AdamFlow(smoothing=0.5)}),
}
TIMES = np.geomspace(0.5, 20.0, 11)


def solved(case, start, horizon, **asked):
    objective, _, more = FLOWS[case]
    if case in gf.coordinates.COORDINATES and not isinstance(start, Trajectory):
        asked["coordinates"] = case
    return gf.solve_flow(objective, start, horizon=horizon, rtol=RTOL, **more, **asked)


LONG = ("logdet", "ldu", "logpolar", "logparameters", "logcolumns", "momentum", "adam")
CASES = [pytest.param(case, marks=pytest.mark.slow) if case in LONG else case for case in FLOWS]


@pytest.fixture(scope="module", name="parts", params=CASES)
def _parts(request):
    """A flow that was stopped ten times, and the same one in one piece."""
    case = request.param
    parts = [solved(case, FLOWS[case][1], TIMES[0])]
    for horizon in TIMES[1:]:
        parts.append(solved(case, parts[-1], horizon))
    return case, parts, solved(case, FLOWS[case][1], TIMES[-1], record=TIMES)


def test_stopped_ten_times_a_flow_is_the_straight_one(parts):
    _, parts, whole = parts
    assert [part.times[0] for part in parts] == [0.0, *TIMES[:-1]]
    assert [part.times[-1] for part in parts] == TIMES.tolist()
    assert parts[-1].stats["coordinates"] == whole.stats["coordinates"]
    found, wanted = (np.concatenate([a.ravel() for a in run.final.values()])
                     for run in (parts[-1], whole))  # fmt: skip
    assert np.linalg.norm(found - wanted) <= 10 * RTOL * np.linalg.norm(wanted)
    losses = [part["loss"][-1] for part in parts]
    atol = 10 * RTOL * whole["loss"][0]
    np.testing.assert_allclose(losses, whole["loss"][1:], rtol=0, atol=atol)


def test_its_parts_are_joined(parts):
    case, parts, whole = parts
    joined = gf.join(*parts)
    assert joined.times[0] == 0.0 and joined.times[-1] == TIMES[-1]
    assert np.all(np.diff(joined.times) > 0)
    assert len(joined) == sum(map(len, parts)) - len(parts) + 1
    assert joined.stats["steps"] == sum(part.stats["steps"] for part in parts)
    assert "resumed_at" not in joined.config and parts[1].config["resumed_at"] == TIMES[0]
    for name, wanted in whole.initial.items():
        np.testing.assert_array_equal(joined.initial[name], wanted)
    at = np.isin(joined.times, TIMES)
    np.testing.assert_allclose(joined["loss"][at], whole["loss"][1:], rtol=0, atol=1e-7)
    assert solved(case, joined, 2 * TIMES[-1]).times[0] == TIMES[-1]


@pytest.fixture(scope="module", name="first")
def _first():
    return solved("factors", START, 2.0)


def test_a_stored_a_pickled_and_a_copied_flow_go_on_alike(first, tmp_path):
    wanted = solved("factors", first, 4.0)
    for again in (
        Trajectory.load(first.save(tmp_path / "first.nc")),
        pickle.loads(pickle.dumps(first)),
        copy.deepcopy(first),
    ):
        found = solved("factors", again, 4.0)
        np.testing.assert_array_equal(found["loss"], wanted["loss"])
        np.testing.assert_array_equal(found.final["W_1"], wanted.final["W_1"])


def test_a_batch_goes_on_each_flow_from_its_own_time(first):
    later = solved("factors", first, 4.0)
    both = gf.solve_flows(OBJECTIVE, [first, later], horizon=8.0, rtol=RTOL)
    assert [flow.times[0] for flow in both] == [2.0, 4.0]
    for one, flow in zip((first, later), both, strict=True):
        alone = solved("factors", one, 8.0)
        np.testing.assert_allclose(flow.final["W_1"], alone.final["W_1"], rtol=1e-12)


def test_times_to_record_and_stopping_losses_are_those_of_the_whole(first):
    record = [1.0, 3.0, 5.0]
    second = gf.solve_flow(OBJECTIVE, first, record=record)
    assert second.times.tolist() == [2.0, 3.0, 5.0]
    low = gf.solve_flow(OBJECTIVE, second, stop_loss=0.05)
    whole = gf.solve_flow(OBJECTIVE, START, coordinates="factors", stop_loss=0.05)
    np.testing.assert_allclose(low.stats["end"], whole.stats["end"], rtol=1e-7)


def test_doubts_are_not_forgotten():
    """A determinant whose sign was lost stays lost; a flow in one piece says so too."""
    objective = gf.Objective(gf.synthetic.norm_blowup(), MODEL)
    asked = {"coordinates": "factors"}
    with pytest.warns(RuntimeWarning, match="the smallest singular value fell|changed its sign"):
        first = gf.solve_flow(objective, MODEL.identity(1e-2), horizon=60.0, **asked)
    second = gf.solve_flow(objective, first, horizon=61.0)
    third = gf.solve_flow(objective, second, horizon=62.0)
    for later in (second, third):
        assert any(w.startswith("before it was taken up at t = 60, ") for w in later.warnings)
    assert sum("taken up at t = 60" in w for w in third.warnings) == len(first.warnings)


@pytest.mark.slow
def test_a_rise_in_parts_loses_its_times_as_the_whole_does():
    """Errors grow 1e10 times from here; in the second half of the rise, 1e5 times."""
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2, 2)))
    start = 1e-30 * np.eye(2)
    with pytest.warns(RuntimeWarning, match="errors grow"):
        whole = gf.solve_flow(objective, start, stop_loss=0.1)
    first = gf.solve_flow(objective, start, stop_loss=0.1, horizon=0.5 * whole.stats["end"])
    assert first.warnings == ()
    with pytest.warns(RuntimeWarning, match="errors grow"):
        rest = gf.solve_flow(objective, first, stop_loss=0.1)
    assert rest.warnings[-1].split(" times")[0] == whole.warnings[-1].split(" times")[0]


OTHER = gf.Objective(gf.synthetic.norm_blowup(2.0), MODEL)
REFUSED = {
    "an earlier horizon": (OBJECTIVE, {"horizon": 1.0}, "horizon = 1.0", "first start"),
    "earlier records": (OBJECTIVE, {"record": [0.5, 2.0]}, "record ends at 2.0", "first start"),
    "another objective": (OTHER, {"horizon": 3.0}, "another objective: its data_sha256", "`final`"),
    "another dynamics": (
        OBJECTIVE, {"horizon": 3.0, "dynamics": gf.AdamFlow(smoothing=0.1)}, "'adam'", "dynamics="),
    "other coordinates": (
        OBJECTIVE, {"horizon": 3.0, "coordinates": "product"}, "'factors'", "leave these away"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_on_is_refused_by_value_and_remedy(case, first):
    objective, asked, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        gf.solve_flow(objective, first, **asked)
    assert value in str(refused.value) and remedy in str(refused.value)


def test_adams_model_goes_on_with_its_own_smoothing():
    adam = {"dynamics": gf.AdamFlow(smoothing=0.5)}
    first = gf.solve_flow(OBJECTIVE, START, horizon=0.5, **adam)
    with pytest.raises(ValueError, match=r"dynamics is .*0\.5.*, not .*0\.25"):
        gf.solve_flow(OBJECTIVE, first, horizon=1.0, dynamics=gf.AdamFlow(smoothing=0.25))


def test_flows_and_descents_do_not_take_up_each_others_time(first):
    run = gf.run_descent(OBJECTIVE, START, gf.optimizers.gd, learning_rate=0.1, max_steps=3)
    with pytest.raises(ValueError, match=r"that of a descent, whose time a flow .* start from its"):
        gf.solve_flow(OBJECTIVE, run, horizon=1.0)
    with pytest.raises(ValueError, match="that of a flow, whose time a descent"):
        gf.run_descent(OBJECTIVE, first, gf.optimizers.gd, learning_rate=0.1, max_steps=3)


def test_only_parts_that_follow_each_other_are_joined(first):
    second = solved("factors", first, 4.0)
    for parts, message in [
        ((), "no trajectory at all"),
        ((second, first), "Part 1 starts at 0.0, but the one before ends at 4.0"),
        ((first, second, second), "Part 2 starts at 2.0, but the one before ends at 4.0"),
        ((first, solved("factors", first, 4.0, observe=["product"])), "Part 1 recorded loss, prod"),
    ]:
        with pytest.raises(ValueError, match=message):
            gf.join(*parts)
    other = solved("factors", solved("factors", MODEL.identity(0.1), 2.0), 4.0)
    with pytest.raises(ValueError, match="does not start from the parameters at which"):
        gf.join(first, other)
    assert gf.join(first).times.tolist() == first.times.tolist()
