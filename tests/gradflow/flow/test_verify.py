"""How many digits of a flow can be trusted, by its witnesses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.flow import FlowOptions, Verification, Witness
from gradflow.flow.setup import prepare_flow
from gradflow.flow.verification import END, relative_difference
from gradflow.flow.witnesses import _portable, _tolerance
from gradflow.trajectory import Outcome, Trajectory

OBJECTIVE = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
START = OBJECTIVE.factorization.identity(0.1)


@pytest.fixture(scope="module", name="good")
def _good():
    return gf.flow.verify(
        OBJECTIVE, START, stop_loss=1e-3, record=[1.0, 3.0], observe=["loss", "log_abs_det"]
    )


def test_a_good_flow_is_trusted(good):
    assert good.trajectory.outcome is Outcome.REACHED_LOSS
    assert [(one.what, one.coordinates, one.rtol) for one in good.witnesses] == [
        ("tighter", "logdet", 1e-10),
        ("other coordinates", "ldu", 1e-8),
    ]
    assert good.doubts == () and good.counted == good.witnesses
    assert set(good.digits) == {"loss", "log_abs_det", END}
    assert min(good.digits.values()) >= 7 and min(good.digits_at_end.values()) >= 7
    for one in good.witnesses:
        assert one.outcome is Outcome.REACHED_LOSS and one.warnings == ()
        np.testing.assert_array_equal(one.times, good.trajectory.times)
        assert all(values.shape == one.times.shape for values in one.differences.values())


def test_it_prints_a_line_an_observable(good):
    first, *lines = str(good).splitlines()
    assert first == "A flow in coordinates 'logdet', rtol 1e-08, reached the loss"
    assert lines == good.table().splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["loss", "log_abs_det", END]
    assert "from tighter (logdet, rtol 1e-10)" in lines[0]


def test_a_verification_is_immutable(good):
    with pytest.raises(dataclasses.FrozenInstanceError):
        good.trajectory = None
    with pytest.raises(dataclasses.FrozenInstanceError):
        good.witnesses[0].end = 0.0


@pytest.mark.filterwarnings("ignore:In this flow the determinant:RuntimeWarning")
def test_a_lost_determinant_leaves_no_digit():
    model = gf.MatrixProduct((3, 3, 3))
    found = gf.flow.verify(
        gf.Objective(gf.synthetic.norm_blowup(shape=(3, 3)), model),
        model.random_balanced(jax.random.key(4), 0.1),
        horizon=80.0,
        coordinates="factors",
        record=[20.0, 40.0, 80.0],
        observe=["loss", "log_abs_det", "det_sign"],
    )
    assert [one.coordinates for one in found.witnesses] == ["factors", "ldu"]
    assert [one.coordinates for one in found.counted] == ["ldu"]
    assert found.digits["log_abs_det"] <= 1 and found.digits["det_sign"] == 0
    assert END not in found.digits  # the horizon is the same for all
    assert "changed its sign" in found.doubts[0] and "not counted" in found.doubts[-1]
    assert str(found).splitlines()[1].startswith("But in the flow as asked, the determinant")


def test_columns_are_no_witness_of_a_balance_up_to_rounding():
    """They follow what rounding left of it, and the determinant comes back with another sign."""
    problem = gf.synthetic.norm_blowup(shape=(3, 3))
    objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=2))
    start = objective.factorization.random_balanced(jax.random.key(4), 0.1)
    asked = {"horizon": 80.0, "observe": ["loss", "log_abs_det"]}
    found = gf.flow.verify(objective, start, **asked)
    assert [one.coordinates for one in found.witnesses] == ["ldu", "factors"]
    assert found.digits["log_abs_det"] >= 7
    columns = gf.flow.verify(objective, start, coordinates="logcolumns", **asked)
    assert [one.coordinates for one in columns.witnesses] == ["logcolumns", "factors"]
    ends = [one.trajectory["log_abs_det"][-1] for one in (columns, found)]
    assert abs(ends[0] - ends[1]) > 10


def test_where_no_other_coordinates_hold_the_start_this_is_said():
    objective = gf.Objective(
        gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)), penalty=gf.WeightDecay(0.1)
    )
    found = gf.flow.verify(objective, (jnp.eye(2),), horizon=1.0, record=[0.5], observe=["loss"])
    assert [one.what for one in found.witnesses] == ["tighter"]
    assert "no other coordinates" in found.doubts[0]
    assert found.digits["loss"] >= 7


REFUSED = {
    "no stop": ({}, "at least one"),
    "horizon": ({"horizon": -1.0}, "above 0, but it is -1.0"),
    "rtol": ({"horizon": 1.0, "rtol": 1e-20}, "give 1e-12 or more"),
    "times": ({"record": [2.0, 1.0]}, "rising"),
    "observable": ({"horizon": 1.0, "observe": ["rank"]}, "known are"),
    "coordinates": ({"horizon": 1.0, "coordinates": "polar"}, "'polar'"),
    "start": ({"horizon": 1.0, "start": np.eye(3)}, "(3, 3)"),
    "float32": ({"horizon": 1.0, "start": (np.eye(2, dtype=np.float32),) * 2}, "gradflow.astype"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_as_by_a_flow(case):
    asked, said = REFUSED[case]
    for call in (gf.flow.verify, gf.solve_flow):
        with pytest.raises(ValueError) as refusal:
            call(OBJECTIVE, **({"start": START} | asked))
        assert said in str(refusal.value)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="did you mean 'horizon'"):
        gf.flow.verify(OBJECTIVE, START, horizn=1.0)


def test_starts_as_other_coordinates_take_them():
    w = np.eye(2)
    assert _portable(OBJECTIVE, {"W": w}) is w
    named = _portable(OBJECTIVE, {"W_1": w, "W_2": 2 * w})
    np.testing.assert_array_equal(named, [w, 2 * w])
    assert _portable(OBJECTIVE, {"log_pivots": w, "L": w}) is None
    assert _portable(OBJECTIVE, gf.LogScaled(w, -9.0)) is None
    assert _portable(OBJECTIVE, START) is START


DIFFERENCES = [
    ("loss", 1.0, 1.1, 1 / 11),
    ("loss", 1e-300, 2e-300, 0.5),
    ("product", [[3e200, 0], [0, 4e200]], [[3e200, 0], [0, 3e200]], 0.2),
    ("log_abs_det", -1e-3, 1e-3, 2e-3),
    ("log_abs_det", -1000.0, -1001.0, 1 / 1001),
    ("det_sign", 1.0, -1.0, 2.0),
    ("loss", 0.0, 0.0, 0.0),
    ("loss", 0.0, 1e-300, 1.0),
    ("log_abs_det", -np.inf, -np.inf, 0.0),
    ("log_abs_det", -np.inf, -40.0, np.inf),
    ("loss", np.nan, 1.0, np.inf),
]


@pytest.mark.parametrize(("name", "one", "other", "wanted"), DIFFERENCES)
def test_relative_differences(name, one, other, wanted):
    assert relative_difference(name, one, other) == pytest.approx(wanted, rel=1e-12)
    assert relative_difference(name, other, one) == pytest.approx(wanted, rel=1e-12)


def recorded(times, loss, outcome=Outcome.REACHED_LOSS, warnings=()):
    return Trajectory(
        times=times, observables={"loss": loss}, final={}, initial={}, outcome=outcome,
        stats={"end": times[-1], "coordinates": "factors", "warnings": list(warnings)},
        config={"rtol": 1e-8},
    )  # fmt: skip


def test_records_are_compared_at_the_same_times_and_ends_with_each_other():
    flow = recorded([0.0, 1.0, 2.0, 4.0], [8.0, 4.0, 2.0, 1.0])
    other = recorded([0.0, 2.0, 3.9], [8.0, 2.05, 1.0])
    one = Witness.of("tighter", "ldu", flow, other)
    np.testing.assert_array_equal(one.times, [0.0, 2.0, 4.0])
    np.testing.assert_allclose(one.differences["loss"], [0.0, 0.05 / 2.05, 0.0], rtol=1e-12)
    assert one.end == pytest.approx(0.025)
    found = Verification(flow, (one,))
    assert found.digits == {"loss": 1, END: 1} and found.digits_at_end == {"loss": 15, END: 1}


def test_a_witness_with_warnings_counts_only_where_there_is_no_better():
    flow = recorded([0.0, 1.0], [2.0, 1.0])
    bad = recorded([0.0, 1.0], [2.0, 1.5], Outcome.DIVERGED, ["it is bad"])
    good = recorded([0.0, 1.0], [2.0, 1.0 + 9e-10])
    witnesses = [Witness.of("tighter", "factors", flow, each) for each in (bad, good)]
    both = Verification(flow, tuple(witnesses))
    assert both.digits["loss"] == 9
    assert any("diverged" in doubt for doubt in both.doubts)
    assert any("it is bad" in doubt for doubt in both.doubts)
    alone = Verification(flow, (witnesses[0],))
    assert alone.digits["loss"] == 0 and "not counted" not in str(alone)


def test_a_first_digit_in_common_may_be_chance():
    # A loss that is round-off alone: 5e-31 and 5.3e-31, where 1e-80 is right.
    flow, other = (recorded([0.0, 1.0], [2.0, end]) for end in (5e-31, 5.3e-31))
    assert Verification(flow, (Witness.of("tighter", "ldu", flow, other),)).digits["loss"] == 0


@pytest.mark.parametrize(
    ("rtol", "what", "other"),
    [(1e-6, "tighter", 1e-8), (1e-12, "tighter", 1e-13), (2e-13, "rougher", 2e-11)],
)
def test_tolerances_of_a_witness(rtol, what, other):
    options = FlowOptions(horizon=1.0, rtol=rtol, atol=1e-9)
    flow = prepare_flow(OBJECTIVE, START, options)
    made = _tolerance(flow, options, START)
    assert made.what == what and made.options.rtol == pytest.approx(other)
    assert made.options.atol == pytest.approx(1e-9 * other / rtol)
