"""A listing is read from a file while the sources are the same."""

import json
import math
import os
import shutil
import subprocess
import sys
import time

import pytest

from gradflow import catalogue as module
from gradflow.catalogue import catalogue
from gradflow.commands import COMMANDS
from gradflow.shell_completion import _SCRIPTS
from gradflow.sweeps import layout
from tests.helpers import status


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    catalogue()
    (file,) = (tmp_path / "gradflow").glob("catalogue-*.json")
    return file


def test_what_is_kept_is_what_is_made(place):
    assert catalogue() == module._made(None)
    ids = {one.id for one in catalogue().claims}
    assert {"razin2020.thm1.norm", "arora2019.thm3"} <= ids
    fig1 = next(one for one in catalogue().experiments if one.id == "razin2020.fig1")
    assert len(fig1.cells["paper"]) == 128


def test_it_is_made_anew_only_where_a_source_has_changed(place, monkeypatch):
    made = []
    whole = module._made
    monkeypatch.setattr(module, "_made", lambda file: made.append(file) or whole(file))
    catalogue()
    assert made == []
    monkeypatch.setattr(module, "_stamp", lambda files: "another")
    catalogue()
    assert made == [None]


def test_every_change_of_a_source_is_noticed(tmp_path):
    source, other = tmp_path / "a.py", tmp_path / "b.py"
    source.write_text("x = 1\n")
    stamps = [module._stamp([source])]
    os.utime(source, (1, 1))
    stamps.append(module._stamp([source]))
    source.write_text("x = 12\n")
    os.utime(source, (1, 1))
    stamps.append(module._stamp([source]))
    other.touch()
    stamps.append(module._stamp([source, other]))
    assert len(set(stamps)) == 4 and stamps[-1] == module._stamp([source, other])


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"stamp": 1}'])
def test_a_damaged_file_is_made_anew(place, damage):
    place.write_text(damage)
    assert catalogue().claims
    assert json.loads(place.read_text())["claims"]


def test_a_listing_imports_neither_jax_nor_sympy(place):
    asks = "import sys; from gradflow.cli import _run; _run(['list']); _run(['status']); "
    asks += "print([name for name in ('jax', 'sympy', 'pandas', 'xarray') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", asks], env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_an_experiment_takes_is_told_without_jax_and_as_it_is(place, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    asks = """import sys
from gradflow.cli import _run
try:
    _run(['plot', 'razin2020.fig1', '--help'])
except SystemExit:
    pass
print([name for name in ('jax', 'xarray') if name in sys.modules])"""
    utf8 = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", asks], env=utf8, capture_output=True, encoding="utf-8", check=True
    )
    told, _, modules = done.stdout.rstrip().rpartition("\n")
    assert modules == "[]" and "--depths" in told
    # The long way, as for another protocol.
    asks = asks.replace("'--help'", "'--protocol', 'paper', '--help'")
    done = subprocess.run(
        [sys.executable, "-c", asks], env=utf8, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.rstrip().rpartition("\n")[0] == told


def test_ids_are_whole_at_80_columns_and_papers_are_chosen(place, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert status("list") == 0
    told = capsys.readouterr().out
    first = [line.split()[0] for line in told.splitlines() if line.strip()]
    for one in (*catalogue().claims, *catalogue().experiments):
        assert one.id in first
    assert max(map(len, told.splitlines())) <= 80
    assert status("list", "claims", "zhao2022") == 0
    told = capsys.readouterr().out
    assert "zhao2022.thm1" in told and "razin2020" not in told and "fig1" not in told


def test_shells_are_told_the_words(place, capsys):
    for shell in ("bash", "zsh", "fish"):
        assert status("completion", shell) == 0
        assert "gradflow complete" in capsys.readouterr().out
    for line, wanted in {
        "": "check", "check": "razin2020.thm1.norm", "run": "razin2020.fig1",
        "run razin2020.fig1": "--quick", "list": "zhao2022", "completion": "fish",
    }.items():  # fmt: skip
        assert status("complete", *line.split()) == 0
        assert wanted in capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("iteration", "loss", "shown", "stored"),
    [(0, math.nan, "starting", None), (12, 0.5, "5.000e-01", 0.5), (12, math.inf, "12", None)],
)
def test_what_runs_is_told_as_far_as_it_is_known(
    place, tmp_path, capsys, monkeypatch, iteration, loss, shown, stored
):
    monkeypatch.setenv("COLUMNS", "200")
    note = layout.note(tmp_path / "arora2019.fig3", "a")
    note.parent.mkdir(parents=True)
    told = {"label": "one", "iteration": iteration, "loss": loss, "time": time.time()}
    note.write_text(json.dumps({**told, "worker": "here:1"}))
    assert status("status", "--out", tmp_path) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "here:1" in line)
    assert shown in line and "nan" not in line
    assert status("status", "--json", "--out", tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["running"][0]["loss"] == stored


def test_nothing_done_and_nothing_running_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert status("status", "--out", tmp_path / "none") == 0
    told = capsys.readouterr().out
    assert f"Nothing is done in {tmp_path / 'none'}; `gradflow run ID` begins" in told
    assert "Nothing runs now." in told and "on disk" not in told


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_shell_offers_the_words_that_fit():
    """Bash itself, with a command that tells what it is asked and answers."""
    asks = """
gradflow() { echo "$@" >&3; echo check cite compare; }
COMP_WORDS=(gradflow run c) COMP_CWORD=2
_gradflow 3>&1
echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "-c", _SCRIPTS["bash"] + asks], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["complete run", "check cite compare"]


def test_results_go_where_the_environment_says(tmp_path, monkeypatch):
    from gradflow.sweeps.results import folder

    monkeypatch.delenv("GRADFLOW_HOME", raising=False)
    assert str(folder()) == os.path.join("results", "experiments")
    monkeypatch.setenv("GRADFLOW_HOME", str(tmp_path))
    assert folder() == tmp_path / "experiments"
    assert folder("here").name == "here"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_options_are_shown_without_waiting_for_jax(command):
    asks = f"""
import contextlib, sys
from gradflow.cli import _run
with contextlib.suppress(SystemExit):
    _run([{command!r}, "--help"])
print([name for name in ("jax", "sympy", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "usage: " in done.stdout
