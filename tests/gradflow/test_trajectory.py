"""Trajectories: immutable, the same after storing and reading, clear about other files."""

import json
import math
from pathlib import Path

import numpy as np
import optax
import pytest
import xarray as xr

import gradflow as gf
from gradflow._util.provenance import describe, fingerprint
from gradflow.trajectory import FORMAT, Outcome, Trajectory, named_factors

OBJECTIVE = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 3, 2)))
FACTORS = gf.factorizations.balanced_factors(np.diag([0.5, 0.2]), (2, 3, 2))


@pytest.fixture(scope="module", name="flow")
def _flow():
    return gf.solve_flow(
        OBJECTIVE, FACTORS, horizon=2.0, coordinates="factors", observe=["product", "factors"]
    )


@pytest.fixture(scope="module", name="descent")
def _descent():
    return gf.run_descent(
        OBJECTIVE, FACTORS, optax.sgd, learning_rate=0.1, max_steps=20, observe=["product"]
    )


def by_hand(**changes):
    parts = {
        "times": [0.0, 0.5],
        "observables": {"loss": [2.0, 1.0], "pair": [[1.0, 2.0], [3.0, 4.0]]},
        "final": {"W_1": np.eye(2)},
        "initial": {"W_1": np.zeros((2, 2))},
        "outcome": Outcome.REACHED_LOSS,
        "stats": {"steps": np.int64(3)},
        "config": {"kind": "flow", "sizes": (2, 2), "rate": np.float64(0.1), "none": None},
    }
    return Trajectory(**(parts | changes))


def assert_same(a, b):
    assert a.outcome is b.outcome
    assert dict(a.stats) == dict(b.stats)
    assert dict(a.config) == dict(b.config)
    assert a.times.dtype == b.times.dtype
    np.testing.assert_array_equal(a.times, b.times)
    for part in ("observables", "initial", "final", "state"):
        left, right = getattr(a, part), getattr(b, part)
        assert list(left) == list(right)
        for name in left:
            assert left[name].dtype == right[name].dtype
            np.testing.assert_array_equal(left[name], right[name])


# Immutable


@pytest.mark.parametrize("name", ["times", "outcome", "config", "anything"])
def test_attributes_can_not_be_set_or_deleted(flow, name):
    with pytest.raises(AttributeError, match=f"immutable; cannot set '{name}'"):
        setattr(flow, name, None)
    with pytest.raises(AttributeError, match=f"immutable; cannot delete '{name}'"):
        delattr(flow, name)


def test_arrays_and_mappings_can_not_be_changed(flow):
    for array in (flow.times, flow["loss"], flow.final["W_1"], flow.initial["W_2"]):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    for mapping in (flow.observables, flow.final, flow.initial, flow.stats, flow.config):
        with pytest.raises(TypeError):
            mapping["new"] = 1


def test_it_does_not_see_later_changes_of_what_it_was_made_from():
    times, config = np.zeros(2), {"kind": "flow"}
    made = by_hand(times=times, config=config)
    times[:] = 7
    config["kind"] = "other"
    assert made.times.tolist() == [0, 0]
    assert made.config["kind"] == "flow"


# Access


def test_observables_by_name(flow):
    assert flow["product"].shape == (len(flow), 2, 2)
    with pytest.raises(KeyError, match="'rank' was not recorded; recorded are loss, product"):
        flow["rank"]


def test_length_is_the_number_of_records(flow):
    assert len(flow) == flow.times.size == flow["loss"].size


def test_it_shows_what_happened(flow, descent):
    assert "Trajectory(flow," in repr(flow)
    assert "times to 2" in repr(flow)
    assert "reached the horizon" in repr(flow)
    assert "iterations to 20" in repr(descent)
    assert "ran out of steps" in repr(descent)


def test_configuration_becomes_plain_values():
    made = by_hand()
    assert made.config == {"kind": "flow", "sizes": [2, 2], "rate": 0.1, "none": None}
    assert type(made.config["rate"]) is float
    assert made.stats == {"steps": 3}


def test_every_outcome_is_different():
    assert len({outcome.value for outcome in Outcome}) == len(Outcome) == 9


# As a data set


def test_to_xarray_has_time_and_everything_else(flow):
    data = flow.to_xarray()
    np.testing.assert_array_equal(data["time"], flow.times)
    assert data["loss"].dims == ("time",)
    assert data["product"].dims == ("time", "product:0", "product:1")
    assert data["factors_1"].shape == (len(flow), 3, 2)
    assert "time" not in data["final:W_1"].dims
    np.testing.assert_array_equal(data["final:W_2"], flow.final["W_2"])
    np.testing.assert_array_equal(data["initial:W_1"], flow.initial["W_1"])
    assert data.attrs["outcome"] == "REACHED_HORIZON"
    assert json.loads(data.attrs["stats"]) == dict(flow.stats)


def test_the_full_configuration_is_in_the_attributes(flow, descent):
    for run, keys in [
        (flow, {"coordinates", "solver", "rtol", "atol", "horizon", "stop_loss", "stop_gradient",
                "max_steps"}),
        (descent, {"optimizer", "learning_rate", "max_steps", "stop_loss"}),
    ]:  # fmt: skip
        stored = json.loads(run.to_xarray().attrs["config"])
        assert stored == dict(run.config)
        assert keys | {"kind", "objective", "dtype", "observe", "versions", "device"} <= set(stored)
        assert stored["objective"]["data_sha256"] == fingerprint(OBJECTIVE.problem)
        assert {"gradflow", "jax", "numpy"} <= set(stored["versions"])


# Stored and read


@pytest.mark.parametrize("kind", ["flow", "descent"])
def test_what_is_stored_is_read_back_equal(kind, request, tmp_path):
    run = request.getfixturevalue(kind)
    path = run.save(tmp_path / "run.nc")
    assert path == tmp_path / "run.nc"
    assert [file.name for file in tmp_path.iterdir()] == ["run.nc"]
    assert_same(Trajectory.load(path), run)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "observables": {
                "loss": [math.nan, math.inf],
                "flag": [True, False],
                "none": np.zeros((2, 0)),
            }
        },
        {"observables": {"loss": np.array([1, 2], np.float32), "count": [1, 2]}},
        {"times": [0, 7], "final": {"y": np.array(3.0)}},
        {
            "stats": {"end": 0.1 + 0.2},
            "config": {"kind": "flow", "text": "µ\n'\"", "deep": {"a": [1]}},
        },
    ],
    ids=["odd values", "precisions", "iterations and a scalar", "text and fractions"],
)
def test_unusual_values_survive_storing(changes, tmp_path):
    made = by_hand(**changes)
    assert_same(Trajectory.load(made.save(tmp_path / "run.nc")), made)


def test_storing_replaces_what_was_there(flow, descent, tmp_path):
    flow.save(tmp_path / "run.nc")
    descent.save(str(tmp_path / "run.nc"))
    assert_same(Trajectory.load(tmp_path / "run.nc"), descent)


def test_a_failure_leaves_what_was_there_and_nothing_else(flow, descent, tmp_path, monkeypatch):
    path = flow.save(tmp_path / "run.nc")

    def broken(number):
        raise OSError("disk full")

    monkeypatch.setattr("gradflow._util.files.os.fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        descent.save(path)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["run.nc"]
    assert_same(Trajectory.load(path), flow)


def test_an_interruption_leaves_nothing_behind(flow, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("gradflow._util.files.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        flow.save(tmp_path / "run.nc")
    assert not list(tmp_path.iterdir())


def test_a_stored_file_is_readable_by_others_as_any_new_file_is(flow, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert flow.save(tmp_path / "run.nc").stat().st_mode == plain.stat().st_mode


def test_a_missing_folder_is_named(flow, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone does not exist; create it first"):
        flow.save(tmp_path / "gone" / "run.nc")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.nc"):
        Trajectory.load(tmp_path / "gone.nc")


def test_files_of_another_kind_are_refused(flow, tmp_path):
    path = tmp_path / "run.nc"
    whole = flow.save(path).read_bytes()
    other = xr.Dataset({"a": ("x", [1.0])})
    contents = {
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("not a trajectory"),
        "cut off": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "another data set": lambda: other.to_netcdf(path, engine="h5netcdf"),
        "unknown outcome": lambda: (
            flow.to_xarray().assign_attrs(outcome="WON").to_netcdf(path, engine="h5netcdf")
        ),
        "broken attributes": lambda: (
            flow.to_xarray().assign_attrs(config="{").to_netcdf(path, engine="h5netcdf")
        ),
    }
    for write in contents.values():
        path.unlink(missing_ok=True)
        write()
        with pytest.raises(ValueError, match=r"run\.nc is not a trajectory .*is the path right"):
            Trajectory.load(path)


# Formats of earlier and of later versions

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.mark.parametrize("kind", ["flow", "descent"])
def test_files_of_the_first_format_are_read(kind):
    run = Trajectory.load(GOLDEN / f"{kind}-format-1.nc")
    assert run.config["kind"] == kind
    assert run["loss"][0] == run["loss"].max() and np.all(np.isfinite(run.final["W_2"]))
    assert run.state == {}
    if kind == "flow":  # a flow needs nothing else to go on
        objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
        assert gf.solve_flow(objective, run, horizon=3.0).times[0] == run.times[-1] == 2.0


def test_files_name_their_format_and_later_ones_are_refused(flow, tmp_path):
    data, path = flow.to_xarray(), tmp_path / "run.nc"
    assert data.attrs["Conventions"] == f"gradflow-trajectory-{FORMAT}"
    for name in (None, "gradflow-trajectory-1", f"gradflow-trajectory-{FORMAT}"):
        stored = data.copy()
        stored.attrs = {k: v for k, v in data.attrs.items() if k != "Conventions"}
        stored.attrs |= {"Conventions": name} if name else {}
        stored.to_netcdf(path, engine="h5netcdf")
        assert_same(Trajectory.load(path), flow)
    data.assign_attrs(Conventions="gradflow-trajectory-99").to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match=r"format 99, .* reads formats up to 2: update gradflow"):
        Trajectory.load(path)


# What a run is described by


def test_a_fingerprint_sees_values_shapes_and_precisions():
    a = np.arange(4.0)
    prints = [fingerprint(t) for t in (a, a.reshape(2, 2), a.astype(np.float32), a + 1e-15, (a, a))]
    assert len(set(prints)) == 5
    assert fingerprint(a) == fingerprint(np.arange(4.0))
    assert fingerprint(a[::2]) == fingerprint(np.array([0.0, 2.0]))


def test_a_description_names_problem_and_factorization():
    found = describe(OBJECTIVE)
    assert found["problem"] == "MatrixCompletion"
    assert found["shape"] == [2, 2]
    assert found["observations"] == 3
    assert found["loss_convention"] == "half_sum"
    assert found["has_truth"] is False
    assert found["factorization"] == "MatrixProduct"
    assert found["factor_shapes"] == [[3, 2], [2, 3]]


def test_factors_are_numbered_from_one():
    assert list(named_factors((np.eye(2), np.eye(3)))) == ["W_1", "W_2"]
