"""The page of reproduced figures: every experiment is on it, and says what was shortened."""

import importlib.util
import re
from pathlib import Path

import pytest

import gradflow.sweeps as sweeps

DOCS = Path(__file__).resolve().parents[2] / "docs"
SPEC = importlib.util.spec_from_file_location("docs_make_reproduced", DOCS / "make_reproduced.py")
assert SPEC is not None and SPEC.loader is not None
made = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made)


def test_every_experiment_is_on_the_page_with_its_pictures():
    page = made.PAGE.read_text(encoding="utf-8")
    papers = [
        one for one in sweeps.known().values() if type(one).__module__.startswith("experiments.")
    ]
    assert len(papers) > 20
    for id in (one.id for one in papers):  # other tests register some of their own
        part = re.search(rf"<!-- {re.escape(id)} -->\n(.*?)<!-- /{re.escape(id)} -->", page, re.S)
        assert part, id
        pictures = re.findall(r"!\[.*?\]\((.*?)\)", part[1])
        elsewhere = id in made.ELSEWHERE or "Every run diverged" in part[1]
        assert pictures or elsewhere, id
        assert all((DOCS / name).is_file() for name in pictures), pictures


@pytest.mark.parametrize(("id", "protocol"), sorted(made.SHORTENED))
def test_what_is_shortened_is_another_grid(id, protocol, tmp_path):
    asked = {"protocol": protocol, "out": tmp_path}
    whole, shorter = (
        sweeps.load(id, **asked, **fields) for fields in ({}, made.SHORTENED[id, protocol])
    )
    assert 0 < shorter.missing <= whole.missing and shorter.grid != whole.grid


def test_a_shorter_grid_says_so_and_nothing_counts_against_the_paper(tmp_path, monkeypatch):
    fields = {"steps": 60, "seeds": (0,), "size": 10, "norm": 10.0, "rank": 2, "observations": 60}
    monkeypatch.setattr(made, "SHORTENED", {("zhao2022.fig3", "paper"): fields})
    out = tmp_path / "cells"
    sweeps.run("zhao2022.fig3", out=out, jobs=1, show=False, **fields)
    options = made.Options(out=out, page=tmp_path / "page.md")
    part = made.section(sweeps.find("zhao2022.fig3"), options)
    assert "--steps 60 --seeds 0" in part and "4 cells, cut off at 60 iterations" in part
    assert "the whole grid, 12 cells of up to 500,000 iterations" in part
    assert "not at this size" in part and "| no |" not in part
    assert (tmp_path / "zhao2022.fig3-short.png").is_file()
