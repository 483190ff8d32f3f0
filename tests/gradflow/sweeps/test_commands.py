"""The commands on experiments, and what they show."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from gradflow import sweeps
from gradflow.sweeps.experiment import Finding
from gradflow.sweeps.store import Store
from gradflow.sweeps.tables import findings_markdown, findings_tables
from tests.gradflow.sweeps.own import OWN, QUICK, RATES, SEEDS, command, names_of
from tests.helpers import status

pytestmark = pytest.mark.usefixtures("keep_environment")


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
    assert all(any(str(x).startswith("final:") for x in data) for _, data in some)
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
    assert (
        "own.sweep" in told
        and "quick 4/4" in told
        and "paper 4/15" in told
        and "razin2020.fig1" in told
    )
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
    whole = ("own.sweep", "--module", OWN, "--out", copy)
    assert status("compare", *whole) == 0
    assert "11 cells of the grid have not been run" in capsys.readouterr().out
    assert status("list", "own", "--module", OWN, "--out", copy, "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)["experiments"]
    assert listed["cells"]["paper"] == {"done": 4, "all": 15}
    assert command("plot", copy, "--file", copy / "none" / "a.svg") == 2
    assert "does not exist; create it first" in capsys.readouterr().err
    assert command("compare", copy / "empty") == 2
    assert "`gradflow run own.sweep --quick` computes them" in capsys.readouterr().err
    plt.close("all")


def test_what_was_not_run_is_named_with_its_protocol(tmp_path, capsys):
    assert status("compare", "arora2019.fig2", "--protocol", "code", "--out", tmp_path) == 2
    assert "`gradflow run arora2019.fig2 --protocol code` computes" in capsys.readouterr().err


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


def test_where_every_run_diverges_there_is_no_picture_and_no_crash(tmp_path, capsys):
    assert command("run", tmp_path, "--rates", 1e9, "--seeds", 4, "--jobs", 1) == 0
    told = capsys.readouterr()
    assert "No picture: every run diverged." in told.err
    assert not (tmp_path / "own.sweep-quick.png").exists()


def test_float32_is_another_cell(tmp_path):
    report = sweeps.run(
        "own.sweep", out=tmp_path, jobs=1, precision="float32", rates=(0.1,), seeds=(0,), **QUICK
    )
    assert report.done == 1
    results = sweeps.load("own.sweep", out=tmp_path, module=OWN, precision="float32",
                               scale="quick")  # fmt: skip
    assert len(results) == 1 and results.cells[0]["loss"].dtype == np.float32
    assert not Store(tmp_path / "own.sweep").names() & names_of()


def test_the_old_word_for_quick_still_does(copy, capsys):
    for words in (("--scale", "quick"), ("--scale=quick",)):
        file = copy / "a.csv"
        where = ("own.sweep", "--module", OWN, "--out", copy)
        assert status("compare", *where, *words, "--csv", file) == 0
        told = capsys.readouterr()
        assert "--scale is now --quick" in told.err and "4 cells" not in told.out
        assert len(file.read_text().splitlines()) == 9


def test_what_the_paper_does_not_say_stands_apart_and_a_quick_run_refutes_nothing():
    found = [
        Finding("it grows", False, "1 < 2", printed=2.0, ours=1.0),
        Finding.also("it is odd", False, "3"),
        Finding("it is even", None),
    ]
    first, second = findings_markdown(found).split("\n\n")
    assert "it grows | 2 | 1 | 0.5 | no | 1 < 2" in first and "it is even" in first
    assert second.splitlines()[0] == "| also seen | seen here | evidence |"
    assert second.splitlines()[2] == "| it is odd | no | 3 |"
    quick = findings_markdown(found, quick=True)
    assert quick.count("not at this size") == 2 and "| no |" not in quick
    assert findings_markdown(found[2:]).startswith("| the paper | seen here | evidence |")
    assert len(findings_tables(found)) == 2 and len(findings_tables(found[:1])) == 1
