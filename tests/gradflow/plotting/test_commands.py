"""`gradflow explore`: the page it writes, and one line on each mistake."""

import pytest

from gradflow.plotting.explorer_runs import MOST_RUNS
from tests.gradflow.plotting.test_explorer import by_hand
from tests.helpers import status


@pytest.fixture(scope="module", name="stored")
def _stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [by_hand(4).save(folder / f"run <{k}>.nc") for k in (1, 2)]


def test_one_file_has_the_page_of_one_run_and_several_share_one(stored, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert status("explore", stored[0], "--html", page) == 0
    assert capsys.readouterr().out == f"wrote {page} (1 run, 2.0 MB)\n"
    assert 'id="plotly-data"' in page.read_text("utf-8")
    assert status("explore", *stored, "--html", page, "--title", "a <b>", "--moments", 3) == 0
    text = page.read_text("utf-8")
    assert "<title>a &lt;b&gt;</title>" in text and '"label": "run \\u003c1>"' in text
    assert '"records": [0, 2, 3]' in text


def test_a_mistake_is_told_in_one_line_and_nothing_is_written(stored, tmp_path, capsys):
    page, bad = tmp_path / "page.html", tmp_path / "bad.nc"
    bad.write_text("no trajectory")
    many = [tmp_path / f"{k}.nc" for k in range(MOST_RUNS + 1)]
    for words, told in [
        (("--html", page), "name a stored trajectory"),
        (stored[:1], "--html"),
        ((bad, "--html", page), f"{bad} is no whole trajectory that gradflow stored"),
        ((tmp_path / "none.nc", "--html", page), "There is no file"),
        ((tmp_path, "--html", page), "There is no file"),
        ((*many, "--html", page), f"name at most {MOST_RUNS}"),
        ((stored[0], stored[0], "--html", page), "is named twice"),
        ((stored[0], "--html", stored[0]), "are one file"),
        ((stored[0], "--html", tmp_path / "none" / "a.html"), "--html"),
        ((stored[0], "--html", page, "--moments", 0), "moments must be a whole number"),
    ]:
        assert status("explore", *words) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1 and told in said.err
    assert not page.exists()
