import concurrent.futures
import contextlib
import dataclasses
import errno
import functools
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from rich.console import Console

from gradflow import sweeps
from gradflow.cli import main
from gradflow.sweeps import commands, heartbeat, runner
from gradflow.sweeps import progress as live
from gradflow.sweeps import registry as catalogue
from gradflow.sweeps import store as stores
from gradflow.sweeps import worker as workers
from gradflow.sweeps.experiment import items_of
from gradflow.sweeps.heartbeat import in_flight
from gradflow.sweeps.registry import known
from gradflow.sweeps.store import Corrupt, NoSpace, Store, Unwritable
from gradflow.sweeps.worker import Task
from tests.gradflow.sweeps.test_store import contents, full_disk

OWN = Path(__file__).with_name("own_sweep.py")
QUICK = {"scale": "quick", "module": OWN, "show": False}
RATES, SEEDS = (0.1, 0.05), (0, 1)  # of the quick grid


@pytest.fixture(autouse=True)
def keep_environment(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The quick grid with its flows, computed in this process; not to be changed."""
    out = tmp_path_factory.mktemp("done")
    report = sweeps.run("own.sweep", out=out, jobs=1, with_flow=True, **QUICK)
    return out, report


@pytest.fixture
def copy(done, tmp_path):
    """A copy of it, to be changed."""
    shutil.copytree(done[0], tmp_path / "out")
    return tmp_path / "out"


def status(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


def command(name, out, *arguments):
    return status(name, "own.sweep", "--module", OWN, "--scale", "quick", "--out", out, *arguments)


def own_experiment():
    return sweeps.find("own.sweep", OWN)


def names_of(**changes):
    experiment = own_experiment()
    grid = dataclasses.replace(experiment.grid("quick", "paper"), **changes)
    return {experiment.name(item) for item in items_of(experiment, grid, "float64")}


def test_a_run_does_every_cell_and_flow_once(done):
    out, report = done
    assert (report.done, report.there, report.failures, report.notes) == (8, 0, {}, [])
    store = Store(out / "own.sweep")
    assert len(store.names()) == 8
    assert store.checkpoints() == set()
    assert not list((store.folder / "live").iterdir())
    (line,) = (store.folder / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["done"] == 8


def test_two_processes_give_the_bits_of_one(done, tmp_path):
    report = sweeps.run("own.sweep", out=tmp_path, jobs=2, **QUICK)
    assert (report.done, report.failures) == (4, {})
    here, there = contents(done[0] / "own.sweep"), contents(tmp_path / "own.sweep")
    assert set(there) == names_of()
    assert there == {name: here[name] for name in there}


def test_a_second_run_computes_nothing(copy):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.nc")}
    report = sweeps.run("own.sweep", out=copy, jobs=1, with_flow=True, **QUICK)
    assert (report.done, report.there) == (0, 8)
    assert before == {path: path.stat().st_mtime_ns for path in copy.rglob("*.nc")}


def test_only_what_was_deleted_is_computed_again(copy, done):
    (copy / "own.sweep" / f"{min(names_of())}.nc").unlink()
    report = sweeps.run("own.sweep", out=copy, jobs=1, with_flow=True, **QUICK)
    assert (report.done, report.there) == (1, 7)
    assert contents(copy / "own.sweep") == contents(done[0] / "own.sweep")


def test_a_damaged_file_is_set_aside_noted_and_computed_again(copy, done, capsys):
    name = min(names_of())
    path = copy / "own.sweep" / f"{name}.nc"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Corrupt, match=r"delete it and run again"):
        sweeps.load("own.sweep", scale="quick", out=copy, module=OWN)
    assert command("compare", copy) == 2
    assert f"{name}.nc" in capsys.readouterr().err
    assert command("run", copy, "--jobs", 1) == 0
    told = capsys.readouterr().out
    assert f"It is now {name}.corrupt and is computed again" in told
    assert "1 cells done" in told and "3 were there already" in told
    assert path.with_suffix(".corrupt").is_file()
    assert contents(copy / "own.sweep") == contents(done[0] / "own.sweep")


def test_a_crash_in_one_cell_costs_no_other(tmp_path, capsys):
    words = ("--rates", 0.1, "--seeds", 0, 1, 2, "--failing", 1, "--jobs", 1)
    assert command("run", tmp_path, *words) == 1
    told = capsys.readouterr().out
    assert "Failed: seed 1" in told
    assert "Traceback" in told and "RuntimeError: the cell of seed 1 fails" in told
    assert "2 cells done" in told and "1 failed" in told
    assert Store(tmp_path / "own.sweep").names() == names_of(rates=(0.1,), seeds=(0, 2))
    assert not list(tmp_path.glob("own.sweep/live/*"))


def test_a_file_that_a_cell_misses_is_that_cells_failure(tmp_path, monkeypatch):
    def finish(self, cell, run):
        if cell.seed == 0:
            Path("nowhere/at/all").read_text()
        return {}

    monkeypatch.setattr(type(own_experiment()), "finish", finish)
    report = sweeps.run("own.sweep", out=tmp_path, jobs=1, **QUICK)
    assert report.done == 2 and len(report.failures) == 2
    assert all("FileNotFoundError" in text for text in report.failures.values())


MISUSE = [
    (("--rates", -1), {"rates": (-1.0,)}, "rates must be above 0, but one is -1.0"),
    (("--jobs", 0), {"jobs": 0}, "jobs must be at least 1, but it is 0"),
    (("--batch", 0), {"batch": 0}, "batch must be at least 1, but it is 0"),
    (
        ("--protocol", "code"),
        {"protocol": "code"},
        "own.sweep has no protocol 'code'; it has paper",
    ),
]


@pytest.mark.parametrize("words, options, message", MISUSE)
def test_misuse_is_refused_before_any_work(words, options, message, tmp_path, capsys):
    assert command("run", tmp_path, *words) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match=message):
        sweeps.run("own.sweep", out=tmp_path, **QUICK, **options)
    assert not list(tmp_path.rglob("*.nc"))


def test_an_unknown_field_of_the_grid_is_refused(tmp_path, capsys):
    assert command("run", tmp_path, "--speeds", 1) == 2
    assert "--speeds" in capsys.readouterr().err
    with pytest.raises(ValueError, match="has no field 'speeds'; it has rates, seeds, steps"):
        sweeps.run("own.sweep", out=tmp_path, speeds=(1,), **QUICK)
    assert not list(tmp_path.iterdir())


def test_an_unknown_experiment_is_refused_with_near_ones(tmp_path, capsys):
    assert status("run", "own.sweap", "--module", OWN, "--out", tmp_path) == 2
    assert "did you mean own.sweep" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"no experiment 'razin2020\.fig9'; did you mean razin"):
        sweeps.run("razin2020.fig9", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_module_that_is_not_there(tmp_path, capsys):
    assert status("run", "own.sweep", "--module", tmp_path / "none.py") == 2
    assert "there is no file" in capsys.readouterr().err


def test_a_grid_field_named_as_an_option_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(catalogue, "_KNOWN", dict(known()))  # mine.sweep goes when the test ends
    module = tmp_path / "mine.py"
    text = OWN.read_text(encoding="utf-8").replace("own.sweep", "mine.sweep")
    module.write_text(text.replace("failing: tuple", "batch: tuple"), encoding="utf-8")
    assert status("run", "mine.sweep", "--module", module, "--out", tmp_path) == 2
    assert "which would take their place: batch; rename the fields" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize("id", sorted(known()))
def test_every_grid_field_can_be_set_on_the_command_line(id):
    for protocol in (experiment := known()[id]).protocols:
        names = {field.name for field in dataclasses.fields(experiment.grid("paper", protocol))}
        assert not names & commands.taken()


def test_a_device_that_is_not_there(tmp_path, capsys):
    assert command("run", tmp_path, "--device", "gpu") == 2
    assert "There is no gpu here that JAX can use" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.nc"))


def test_an_output_folder_that_cannot_be_written_to(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert command("run", tmp_path / "file", "--jobs", 1) == 2
    assert "choose another with --out" in capsys.readouterr().err
    with pytest.raises(Unwritable):
        sweeps.run("own.sweep", out=tmp_path / "file", jobs=1, **QUICK)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_an_output_folder_without_permission(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert command("run", tmp_path, "--jobs", 1) == 2
    assert "choose another with --out" in capsys.readouterr().err
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_stops_the_run_and_costs_nothing(tmp_path, capsys, monkeypatch):
    whole, saved = stores.whole_file, []

    def fills_up(path):
        saved.append(path)
        return whole(path) if len(saved) <= 2 else full_disk(path)

    with monkeypatch.context() as patch:
        patch.setattr(stores, "whole_file", fills_up)
        assert command("run", tmp_path, "--jobs", 1) == 2
    told = capsys.readouterr().err
    assert "is full; free some space and run again. What was finished is kept." in told
    assert len(saved) == 3
    store = Store(tmp_path / "own.sweep")
    assert store.names() == {path.stem for path in saved[:2]}
    assert command("run", tmp_path, "--jobs", 1) == 0
    assert "2 cells done" in capsys.readouterr().out
    assert store.names() == names_of()


def test_a_checkpoint_that_fills_the_disk_stops_the_run_too(tmp_path, monkeypatch):
    def finish(self, cell, run):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(own_experiment()), "finish", finish)
    with pytest.raises(NoSpace, match="free some space and run again"):
        sweeps.run("own.sweep", out=tmp_path, jobs=1, **QUICK)
    assert isinstance(pickle.loads(pickle.dumps(NoSpace("full"))), NoSpace)


def test_flows_stand_beside_descents_in_one_table(done):
    results = sweeps.load("own.sweep", scale="quick", out=done[0], module=OWN)
    assert len(results) == 8 and results.missing == 0
    table = results.table
    assert table["method"].value_counts().to_dict() == {"own": 4, "flow": 4}
    assert set(table["outcome"]) == {"REACHED_LOSS"}
    wanted = {"rate", "seed", "precision", "iterations", "final_loss", "completion_error"}
    assert wanted <= set(table) and table["seconds"].gt(0).all()
    assert (table["final_loss"] < 1.01e-12).all()
    assert results.values("rate") == sorted(RATES)
    some = results.where(rate=0.1, method="flow")
    assert [cell.seed for cell, _ in some] == list(SEEDS)
    assert all("final:W_1" in data for _, data in some)
    assert len(results.where(rate=0.3)) == 0
    # Descent at a small rate ends where the flow does, to the order of the rate.
    ends = [results.where(seed=0, rate=0.05, method=m).cells[0]["completion_error"].item()
            for m in ("own", "flow")]  # fmt: skip
    np.testing.assert_allclose(*ends, rtol=0.2)
    data = results.to_xarray()
    assert data.sizes == {"cell": 8}
    np.testing.assert_array_equal(data["rate"], table["rate"])
    without = sweeps.load(
        "own.sweep", scale="quick", out=done[0], module=OWN, with_flow=False, seeds=(0, 7)
    )
    assert len(without) == 2 and without.missing == 2


def test_the_command_lists_shows_draws_and_compares(done, copy, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert status("list", "experiments", "--module", OWN, "--out", copy) == 0
    told = capsys.readouterr().out
    assert "own.sweep" in told and "quick 4/4, paper 4/15" in told and "razin2020.fig1" in told
    assert status("status", "own", "--module", OWN, "--out", copy) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "own.sweep" in line]
    assert [row[:4] for row in rows] == [
        ["own.sweep", "quick", "4/4", "0"],
        ["own.sweep", "paper", "4/15", "0"],
    ]
    assert command("plot", copy, "--file", copy / "a.svg") == 0
    assert "<svg" in (copy / "a.svg").read_text()
    assert command("compare", copy, "--csv", copy / "a.csv", "--markdown", copy / "a.md") == 0
    told = capsys.readouterr().out
    assert "completes the matrix" in told and "yes" in told
    assert len((copy / "a.csv").read_text().splitlines()) == 9
    written = (copy / "a.md").read_text().splitlines()
    assert written[0].startswith("| the paper | printed |") and "completes the matrix" in written[2]
    assert command("plot", copy, "--file", copy / "none" / "a.svg") == 2
    assert "does not exist; create it first" in capsys.readouterr().err
    assert command("compare", copy / "empty") == 2
    assert "`gradflow run own.sweep --scale quick` computes them" in capsys.readouterr().err
    plt.close("all")


def test_an_experiment_of_ones_own_with_its_grid_changed(tmp_path, capsys):
    words = ("--rates", 0.3, "--seeds", 4, 5, "--steps", 300, "--jobs", 1)
    assert command("run", tmp_path, *words) == 0
    told = capsys.readouterr().out
    assert "own.sweep: 2 cells\n" in told and "2/2 cells" in told
    assert Store(tmp_path / "own.sweep").names() == names_of(rates=(0.3,), seeds=(4, 5), steps=300)
    assert (tmp_path / "own.sweep-quick.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "own.sweep-quick.pdf").read_bytes()[:4] == b"%PDF"
    assert command("run", tmp_path, *words, "--help") == 0
    told = capsys.readouterr().out
    assert "--rates" in told and "Learning rates" in told


def test_float32_is_another_cell(tmp_path):
    report = sweeps.run(
        "own.sweep", out=tmp_path, jobs=1, precision="float32", rates=(0.1,), seeds=(0,), **QUICK
    )
    assert report.done == 1
    results = sweeps.load("own.sweep", out=tmp_path, module=OWN, precision="float32",
                               scale="quick")  # fmt: skip
    assert len(results) == 1 and results.cells[0]["loss"].dtype == np.float32
    assert not Store(tmp_path / "own.sweep").names() & names_of()


def test_output_that_is_no_terminal_has_plain_lines(copy, capsys, monkeypatch):
    monkeypatch.setattr(live, "_PLAIN", 0.0)
    for name in names_of():
        (copy / "own.sweep" / f"{name}.nc").unlink()
    sweeps.run("own.sweep", out=copy, jobs=1, with_flow=True, **QUICK | {"show": True})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "own.sweep: 8 cells, 4 are there"
    assert [line.split(",")[0] for line in lines[1:5]] == [f"{k}/8 cells" for k in range(5, 9)]
    assert "about" in lines[1] and "\x1b" not in "".join(lines)


def test_a_terminal_has_a_bar(tmp_path, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(
        live, "Console", functools.partial(Console, file=terminal, force_terminal=True, width=100)
    )
    beat = heartbeat.Heartbeat(tmp_path, "a1", "rate 0.1")
    with live.Display("own.sweep", 4, 1, tmp_path, True) as display:
        display.update(1, 1)
        display.live.refresh()
    beat.end()
    told = terminal.getvalue()
    assert "3/4" in told and "1 failed" in told and "rate 0.1" in told


def test_cells_in_flight_are_seen(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    folder, seen = tmp_path / "own.sweep", []
    some = {"rates": (0.1,), "seeds": (0, 1), "pause": 3.0, **QUICK}
    run = threading.Thread(
        target=sweeps.run, args=("own.sweep",), kwargs={"out": tmp_path, "jobs": 1, **some}
    )
    run.start()
    while run.is_alive() and not seen:
        seen = in_flight(folder)
        time.sleep(0.02)
    assert [note["label"] for note in seen] == ["seed 0"]
    assert seen[0]["worker"].endswith(str(os.getpid()))
    assert status("status", "--module", OWN, "--out", tmp_path) == 0
    assert "seed" in capsys.readouterr().out
    run.join()
    assert in_flight(folder) == [] and not list((folder / "live").iterdir())


def test_a_run_that_tells_nothing_still_shows_that_it_is_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "_RENEWED", 0.05)
    beat = heartbeat.Heartbeat(tmp_path, "a1", "rate 0.1")
    beat(7, 0.5)
    (first,) = in_flight(tmp_path)
    time.sleep(0.5)
    (second,) = in_flight(tmp_path)
    assert second["time"] > first["time"]
    assert (second["iteration"], second["loss"]) == (7, 0.5)
    beat.end()
    time.sleep(0.2)
    assert in_flight(tmp_path) == [] and not list((tmp_path / "live").iterdir())


class FalsePool:
    """An executor whose process dies of some tasks, together with all that are going."""

    def __init__(self, deadly):
        self.deadly, self.broken, self.going = deadly, False, []
        self.lock = threading.Lock()

    def submit(self, function, task):
        with self.lock:
            if self.broken:
                raise BrokenProcessPool
            future = concurrent.futures.Future()
            self.going.append(future)
        deadly = task.labels[0] in self.deadly
        action = self.die if deadly else functools.partial(self.finish, future, task)
        threading.Timer(0.01 if deadly else 0.03, action).start()
        return future

    def finish(self, future, task):
        with self.lock:
            if not future.done():
                future.set_result(workers.Done(dict.fromkeys(task.names)))

    def die(self):
        with self.lock:
            self.broken = True
            for future in self.going:
                if not future.done():
                    future.set_exception(BrokenProcessPool())


@pytest.mark.parametrize("deadly", [{"3"}, {"0", "1", "2"}, {"0", "9", "19"}, set()])
def test_only_the_tasks_that_kill_their_workers_are_given_up(deadly, monkeypatch):
    @contextlib.contextmanager
    def pool(*_):
        yield FalsePool(deadly), 4

    monkeypatch.setattr(runner, "_pool", pool)
    tasks = [Task("a", None, b"", (str(k),), (str(k),), "", "cpu") for k in range(20)]
    report, display = runner.Report(), live.Display("a", 20, 0, Path(), False)
    runner._do_all(tasks, "cpu", 4, None, report, display)
    assert set(report.failures) == deadly
    assert all("died 3 times" in text for text in report.failures.values())
    assert report.done == 20 - len(deadly)
    assert bool(report.notes) == bool(deadly)


@pytest.fixture
def as_on_an_accelerator(tmp_path, monkeypatch):
    """A function that does cells as a worker with an accelerator would: together."""
    monkeypatch.setattr(workers, "set_up", lambda device: None)

    def do(**changes):
        experiment = own_experiment()
        grid = dataclasses.replace(experiment.grid("quick", "paper"), **changes)
        items = items_of(experiment, grid, "float64")
        names = tuple(experiment.name(item) for item in items)
        labels = tuple(f"seed {item.cell.seed}" for item in items)
        task = Task("own.sweep", str(OWN), pickle.dumps(items), names, labels, str(tmp_path), "gpu")
        return dict(zip(names, items, strict=True)), workers.do(task), Store(tmp_path)

    return do


def batch_size(data):
    return json.loads(data.attrs["provenance"])["batch_size"]


def assert_close(data, other):
    assert data.attrs["item"] == other.attrs["item"]
    assert data["iterations"] == other["iterations"]
    for name in ("loss", "singular_values", "final:W_1", "final:W_2"):
        # Rounding of a batch against one run, over some hundred iterations.
        np.testing.assert_allclose(data[name], other[name], rtol=1e-9, atol=1e-14)


def test_a_batch_gives_what_single_runs_give(as_on_an_accelerator, done):
    items, finished, store = as_on_an_accelerator()
    assert set(finished.failures.values()) == {None}
    single = Store(done[0] / "own.sweep")
    for name in items:
        assert batch_size(store.load(name)) == 4 and batch_size(single.load(name)) == 1
        assert_close(store.load(name), single.load(name))
    assert store.checkpoints() == set() and in_flight(store.folder) == []


def test_a_bad_cell_of_a_batch_costs_no_other(as_on_an_accelerator):
    items, finished, store = as_on_an_accelerator(seeds=(0, 1, 2), failing=(2,), steps=500)
    bad = {name for name, item in items.items() if item.cell.seed == 2}
    assert {name for name, text in finished.failures.items() if text} == bad
    assert all("seed 2 fails" in finished.failures[name] for name in bad)
    assert store.names() == set(items) - bad


def test_a_cell_without_a_start_costs_no_other_of_its_batch(as_on_an_accelerator, monkeypatch):
    kind = type(own_experiment())
    work = kind.work

    def bad(self, cell, precision):
        if cell.seed == 1:
            raise RuntimeError("no start")
        return work(self, cell, precision)

    monkeypatch.setattr(kind, "work", bad)
    _, finished, store = as_on_an_accelerator()
    assert sum(text is None for text in finished.failures.values()) == 2
    assert [batch_size(store.load(name)) for name in store.names()] == [2, 2]


def test_a_flow_beside_what_is_no_descent_is_refused_clearly(tmp_path, monkeypatch):
    monkeypatch.setattr(
        type(own_experiment()),
        "work",
        lambda self, cell, precision: sweeps.Computation(lambda: {"a": cell.rate}),
    )
    report = sweeps.run("own.sweep", out=tmp_path, jobs=1, with_flow=True, **QUICK)
    assert report.done == 4 and len(report.failures) == 4
    assert all("leave --with-flow away" in text for text in report.failures.values())
    cells = contents(tmp_path / "own.sweep").values()
    assert {array[3] for numbers, _ in cells for array in numbers.values()} == {
        np.float64(rate).tobytes() for rate in RATES
    }


@pytest.mark.slow
def test_four_devices_in_one_process_change_nothing(done, tmp_path):
    code = (
        "import jax, pathlib, sys; from gradflow import sweeps; assert len(jax.devices()) == 4; "
        "sweeps.run('own.sweep', scale='quick', module=pathlib.Path(sys.argv[1]), "
        "out=pathlib.Path(sys.argv[2]), jobs=1)"
    )
    flags = f"--xla_force_host_platform_device_count=4 {os.environ['XLA_FLAGS']}"
    subprocess.run(
        [sys.executable, "-c", code, OWN, tmp_path],
        env={**os.environ, "XLA_FLAGS": flags}, check=True, timeout=600,
    )  # fmt: skip
    single, store = Store(done[0] / "own.sweep"), Store(tmp_path / "own.sweep")
    assert store.names() == names_of()
    for name in store.names():
        assert_close(store.load(name), single.load(name))
