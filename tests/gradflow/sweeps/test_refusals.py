"""What a run refuses, and where it stops."""

import dataclasses
import errno
import os
import pickle
from pathlib import Path

import pytest

from gradflow import sweeps
from gradflow._util import sealed
from gradflow.sweeps import commands
from gradflow.sweeps import registry as catalogue
from gradflow.sweeps.registry import known
from gradflow.sweeps.store import NoSpace, Store, Unwritable
from tests.gradflow.sweeps.own import OWN, QUICK, command, names_of, own_experiment
from tests.gradflow.sweeps.test_store import full_disk
from tests.helpers import status

pytestmark = pytest.mark.usefixtures("keep_environment")


MISUSE = [
    (("--rates", -1), {"rates": (-1.0,)}, "rates must be above 0, but one is -1.0"),
    (
        ("--seeds", 99999999999999999999999),
        {"seeds": (99999999999999999999999,)},
        "seed must be a whole number of at most 2147483647, but it is 99999999999999999999999",
    ),
    (("--seeds", -1), {"seeds": (-1,)}, "seed must be a whole number of at least 0, but it is -1"),
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
    whole, saved = sealed.whole_file, []

    def fills_up(path):
        saved.append(path)
        return whole(path) if len(saved) <= 2 else full_disk(path)

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "whole_file", fills_up)
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
