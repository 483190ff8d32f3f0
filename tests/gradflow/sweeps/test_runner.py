"""Runs: every cell once, what fails costs no other."""

import concurrent.futures
import contextlib
import functools
import json
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from gradflow import sweeps
from gradflow.sweeps import progress as live
from gradflow.sweeps import runner
from gradflow.sweeps import worker as workers
from gradflow.sweeps.store import Corrupt, Store
from gradflow.sweeps.worker import Task
from tests.gradflow.sweeps.own import OWN, QUICK, command, names_of, own_experiment
from tests.gradflow.sweeps.test_store import contents

pytestmark = pytest.mark.usefixtures("keep_environment")


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
