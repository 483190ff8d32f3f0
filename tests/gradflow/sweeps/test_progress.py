"""What is shown while cells are in flight."""

import functools
import io
import os
import threading
import time

import pytest
from rich.console import Console

from gradflow import sweeps
from gradflow.sweeps import heartbeat
from gradflow.sweeps import progress as live
from gradflow.sweeps.heartbeat import in_flight
from tests.gradflow.sweeps.own import OWN, QUICK, names_of
from tests.helpers import status

pytestmark = pytest.mark.usefixtures("keep_environment")


def test_output_that_is_no_terminal_has_plain_lines(copy, capsys, monkeypatch):
    monkeypatch.setattr(live, "_PLAIN", 0.0)
    monkeypatch.setattr(live, "_LOOK", 600.0)
    for name in names_of():
        (copy / "own.sweep" / f"{name}.nc").unlink()
    sweeps.run("own.sweep", out=copy, jobs=1, with_flow=True, **QUICK | {"show": True})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "own.sweep: 8 cells, 4 are there"
    assert [line.split(",")[0] for line in lines[1:5]] == [f"{k}/8 cells" for k in range(5, 9)]
    assert "about" in lines[1] and "\x1b" not in "".join(lines)


def test_a_run_of_this_process_is_told_of_while_it_goes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(live, "_PLAIN", 0.0)
    some = {"rates": (0.1,), "seeds": (0, 1), "pause": 2.0, **QUICK}
    sweeps.run("own.sweep", out=tmp_path, jobs=1, **some | {"show": True})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("0/2 cells") and "[seed 0: " in line for line in lines)
    assert lines[-1].startswith("2/2 cells")


def test_a_terminal_has_a_bar(tmp_path, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(
        live, "console", functools.partial(Console, file=terminal, force_terminal=True, width=100)
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
