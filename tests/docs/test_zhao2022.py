"""The tables of docs/zhao2022.md are made from stored cells, and left alone without them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gradflow import sweeps
from tests.docs.test_docs import script


def test_tables_are_left_alone_where_cells_are_missing(tmp_path, capsys):
    made = script("make_zhao2022")
    before = made.PAGE.read_text(encoding="utf-8")
    assert made.main(made.Options(out=tmp_path)) == 2
    assert "zhao2022.table1 stays: 60 cells are missing" in capsys.readouterr().err
    assert made.PAGE.read_text(encoding="utf-8") == before
    assert all(
        f"<!-- /{name} -->" in before for name in (*made.TABLES, "zhao2022.table2", *made.FIGURES)
    )


def test_figures_are_medians_of_the_starts_that_are_stored(tmp_path, monkeypatch):
    made, fields = script("make_zhao2022"), {"size": 8, "rank": 1, "observations": 40, "norm": 8.0}
    small = fields | {"steps": 20, "seeds": (0, 1, 2)}
    sweeps.run("zhao2022.fig3", out=tmp_path, jobs=1, show=False, **small)
    cells = sweeps.load("zhao2022.fig3", out=tmp_path, **small)
    heads, (row,) = made.single(cells, "3")
    assert heads == ["figure", "Adam, ratio", "Adam", "GD, ratio", "GD"]
    runs = [("adam", "ratio"), ("adam", "none"), ("gd", "ratio"), ("gd", "none")]
    for (rule, penalty), told in zip(runs, row[1:], strict=True):
        table = cells.table
        own = table[(table.optimizer == rule) & (table.penalty == penalty)]
        error, rank = own.final_error.median(), own.final_effective_rank.median()
        assert told == f"{error:.2g}, {rank:.1f}; 0/3"
    with pytest.raises(LookupError, match="24"):
        made.figures("zhao2022.depths", tmp_path)
    text = made.median_of(SimpleNamespace(table=pd.DataFrame({
        "final_error": [1.0, 2.0, np.inf], "final_effective_rank": [1.0, 3.0, np.nan],
        "outcome": ["REACHED_LOSS", "OUT_OF_STEPS", "DIVERGED"],
    })))  # fmt: skip
    assert text == "2, 2.0; 1/3, 1 diverged"


@pytest.mark.parametrize("short", [0, 2])
def test_whole_cells_count_and_short_ones_where_there_are_none(short, monkeypatch):
    made = script("make_zhao2022")
    table = sweeps.load("zhao2022.table1").experiment
    keys = [(*head, penalty) for head in table.printed for penalty in table.penalties]
    cells = {
        "whole": {key: (0.5, 9.0, "stopped after 5 iterations") for key in keys[short:]},
        "cut": {key: (0.25, 7.0, "ended after 3 iterations") for key in keys[: short + 9]},
    }
    monkeypatch.setattr(made, "medians", lambda results: results)
    monkeypatch.setattr(made, "processor_minutes", lambda results: 7.0)

    class Cells(dict):
        experiment, grid = table, SimpleNamespace(steps=3)

    text = made.optimisers(Cells(cells["cut"]), Cells(cells["whole"]))
    assert text.count("0.25, 7 …") == text.count("…") - bool(short) == short
    assert ("All runs are whole." in text) == (short == 0)
    assert (f"{60 - short} of these runs are whole" in text) == (short > 0)
    assert f"They took {14 if short else 7} minutes" in text
    with pytest.raises(LookupError, match=str(short + 1)):
        made.optimisers(Cells(), Cells({key: (0.5, 9.0, "stopped") for key in keys[short + 1 :]}))
