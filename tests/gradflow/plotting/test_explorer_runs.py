"""The page of several runs: what it stores and refuses; its script, run by Node."""

import base64
import csv
import gzip
import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gradflow.plotting import explore, save_html
from gradflow.plotting.explorer_runs import MOST_RUNS
from tests.gradflow.plotting.node import run, source
from tests.gradflow.plotting.test_explorer import by_hand, learning
from tests.gradflow.plotting.test_hostile import EVIL, scripts
from tests.node import needs_node

SCRIPTS = [source("chart.js"), source("explorer_runs.js")]
DOM = Path(__file__).with_name("dom.js").read_text(encoding="utf-8")


def pair(**changes):
    """A flow and a descent."""
    return {"flow": by_hand(7, **changes), "descent": by_hand(5, kind="descent", **changes)}


def block(page, name):
    return re.search(rf'id="{name}-data">([^<]*)<', page.html)[1]


def head(page):
    return json.loads(block(page, "page"))


def raw(page, name):
    return gzip.decompress(base64.b64decode(block(page, name)))


# What is stored and refused


def test_each_run_is_stored_by_its_label():
    runs = pair()
    page = explore(runs, truth=np.ones((3, 2)))
    found = head(page)
    assert repr(page).startswith("Explorer(7 moments, 0.0 MB)") and found["title"] == "2 runs"
    for k, (label, run_) in enumerate(runs.items()):
        told = found["runs"][k]
        assert told["label"] == label and told["times"] == run_.times.tolist()
        assert told["series"]["loss"] == run_["loss"].tolist()
        assert told["clock"] == ("iteration" if label == "descent" else "t")
        error = np.sum((run_["product"] - 1) ** 2, axis=(1, 2)) / 6
        np.testing.assert_allclose(told["series"]["test_error"], error)
        spectrum = np.frombuffer(raw(page, f"spectrum-{k}"), "<f4").reshape(-1, 2)
        np.testing.assert_allclose(spectrum, run_["singular_values"], rtol=1e-6)
        w = np.frombuffer(raw(page, f"matrix-{k}"), "<f4").reshape(-1, 3, 2)
        np.testing.assert_allclose(w, run_["product"], rtol=1e-6)
    assert "://" not in page.html and "plotly" not in page.html


def test_four_large_runs_stay_under_8_megabytes_whatever_they_hold():
    run_, truth = learning(1e3)
    page = explore({k: run_ for k in range(4)}, truth=truth)
    assert 4e6 < len(page.html.encode()) < 8e6
    assert head(page)["runs"][0]["matrix"]["every"] == 2


def test_runs_of_depths_and_scales_are_a_family():
    run_ = by_hand(3)
    pairs = {(2, 0.1): run_, (3, 0.1): run_, (3, 1e-3): run_}
    page = head(explore(pairs))
    assert page["family"] == [[2, 0.1], [3, 0.1], [3, 0.001]]
    assert [one["label"] for one in page["runs"]][2] == "depth 3, scale 0.001"
    assert head(explore(dict(zip(("depth 2, scale 0.1", "depth 3, std 1e-2"), pairs.values(),
                                 strict=False))))["family"] == [[2, 0.1], [3, 0.01]]  # fmt: skip
    assert head(explore(pair()))["family"] is None


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({}, "no run to show"),
        ({k: by_hand(2) for k in range(MOST_RUNS + 1)}, f"at most {MOST_RUNS}"),
        ({"1": by_hand(2), 1: by_hand(2)}, "Two runs have the label '1'"),
        ({"a": by_hand(1, times=[0.0])}, "The run 'a' has 1 record"),
    ],
)
def test_misuse_is_refused(runs, message):
    with pytest.raises(ValueError, match=message):
        explore(runs)


def test_a_truth_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"W's shape \(3, 2\)"):
        explore(pair(), truth=np.eye(2))


def test_labels_and_titles_stay_texts(tmp_path):
    usual = explore(pair()).html
    text = save_html({EVIL: by_hand(3)}, tmp_path / "a.html", title=EVIL).read_text("utf-8")
    assert len(scripts(text)) == len(scripts(explore({"a": by_hand(3)}).html))
    assert scripts(text)[-1] == scripts(usual)[-1] and "<img" not in text


# The script


def as_page(runs):
    """Runs as the page's script has them, singular values read."""
    told = head(explore(runs))["runs"]
    for one, run_ in zip(told, runs.values(), strict=True):
        one["sigma"] = run_["singular_values"].T.tolist()
    return told


@needs_node
def test_matrices_and_singular_values_are_read_as_they_were_stored():
    large, _ = learning(1e3, records=12)
    small = by_hand(4)
    page = explore({"large": large, "small": small})
    told = head(page)["runs"]
    given = []
    for k, one in enumerate(told):
        w, values = list(raw(page, f"matrix-{k}")), list(raw(page, f"spectrum-{k}"))
        given.append([one["matrix"], w, one["spectrum"], values])
    body = """const buffer = bytes => Uint8Array.from(bytes).buffer;
      return given.map(([matrix, w, spectrum, s]) => [
        [0, 3].map(k => Array.from(Runs.matrixReader(matrix, buffer(w))(k).w)),
        Runs.spectrumOf(spectrum, buffer(s))]);"""
    for run_, (matrices, sigma) in zip((large, small), run(SCRIPTS, body, given), strict=True):
        for k, w in zip((0, 3), matrices, strict=True):
            wanted = run_["product"][k]
            off = 1e-6 if run_ is small else 1 / 254 + 1e-9
            assert (
                np.max(np.abs(np.reshape(w, wanted.shape) - wanted)) <= off * np.abs(wanted).max()
            )
        shown = run_["singular_values"][:, : len(sigma)].T
        np.testing.assert_allclose(sigma, shown, rtol=1e-6)


@needs_node
def test_the_cursor_stands_at_one_time_loss_or_record_in_all_runs():
    runs = {"a": by_hand(5, times=[0, 1, 10, 100, 1000], loss=[1, 0.5, 0.1, 0.01, 0.001]),
            "b": by_hand(3, times=[0, 10, 1e5], loss=[1, 0.01, 1e-5])}  # fmt: skip
    body = """const at = (by, x) => given.map(run => Runs.recordAt(run, by, x));
      return [at("time", 0), at("time", 10), at("time", 99), at("time", 1e9), at("loss", 1),
        at("loss", 0.1), at("loss", 1e-4), at("record", 3),
        [0, 0.45, 1].map(x => Runs.valueAt(given, "loss", x)),
        [0, 1].map(x => Runs.valueAt(given, "time", x))];"""
    found = run(SCRIPTS, body, as_page(runs))
    assert found[:8] == [[0, 0], [2, 1], [2, 1], [4, 2], [0, 0], [2, 1], [4, 2], [3, 2]]
    assert found[8:] == [[1, 0.01, 1e-5], [0, 1e5]]


@needs_node
def test_keys_step_through_the_run_that_goes_furthest():
    runs = {"a": by_hand(5, times=[0, 1, 10, 100, 1000], loss=[1, 0.5, 0.1, 0.01, 1e-7]),
            "b": by_hand(3, times=[0, 10, 1e5], loss=[1, 0.01, 1e-5])}  # fmt: skip
    body = """return ["time", "loss", "record"].map(by => Runs.leader(given, by).label);"""
    assert run(SCRIPTS, body, as_page(runs)) == ["b", "a", "a"]


@needs_node
@pytest.mark.parametrize("width", [160, 900])
def test_names_along_an_axis_do_not_run_into_each_other(width):
    body = """const settings = { by: "time", show: ["loss"], beside: false };
      const size = { width: given[1], height: 240 };
      const [chart] = Runs.charts(given[0], [0], settings, size, 7);
      return [Chart.chart(chart), chart.x.ticks.length];"""
    runs = as_page({"a": by_hand(5, times=[0, 1e-3, 1e-1, 10, 1e4])})
    svg, ticks = run(SCRIPTS, body, [runs, width])
    named = re.findall(r'<text x="([\d.]+)" y="217" text-anchor="middle">([^<]+)<', svg)
    apart = [7 * (len(a[1]) + len(b[1])) / 2 for a, b in pairwise(named)]
    assert np.all(np.diff([float(at) for at, _ in named]) >= np.array(apart) - 0.1)
    assert named[0][1] == "0" and (len(named) == ticks) == (width == 900)


@needs_node
def test_the_start_stands_apart_from_the_first_decade():
    body = """const settings = { by: given[1], show: ["loss"], beside: false };
      const [chart] = Runs.charts(given[0], [0], settings, { width: 400, height: 240 }, 7);
      return [Chart.path(chart.curves[0].points, chart), chart.x.ticks.map(({ text }) => text)];"""
    runs = as_page({"a": by_hand(4, times=[0, 1, 10, 100])})
    by_time, ticks = run(SCRIPTS, body, [runs, "time"])
    assert by_time.count("M") == 2 and by_time.count("L") == 3 and ticks[0] == "0"
    dash = [float(place) for place in re.findall(r"[ML]([\d.]+)", by_time)[:3]]
    assert dash[0] < dash[1] < dash[2]
    assert [run(SCRIPTS, body, [runs, by])[0].count("M") for by in ("loss", "record")] == [1, 1]


@needs_node
def test_a_spectrum_that_is_cut_says_so():
    large, _ = learning(1e3, records=3)
    body = """const settings = { by: "time", show: ["spectrum"], beside: false };
      return given.map((_, k) => {
        const [chart] = Runs.charts(given, [k], settings, { width: 400, height: 240 }, 7);
        return [chart.title, chart.curves.length];
      });"""
    found = run(SCRIPTS, body, as_page({"large": large, "small": by_hand(3)}))
    assert found == [["the 8 largest singular values", 8], ["singular values", 2]]


@needs_node
def test_the_address_keeps_what_is_chosen_and_takes_nothing_else():
    body = """const there = Runs.read("", given);
      const kept = { ...there, by: "loss", at: 0.1, beside: true, runs: [1], show: ["loss"],
        member: 1 };
      return [there, Runs.read(Runs.written(kept, true), given), kept,
        Runs.read("#x=constructor&at=&runs=9,a,-1&show=<img>,toString&member=7", given)];"""
    usual, read, kept, evil = run(SCRIPTS, body, as_page(pair()))
    assert read == kept and evil == usual
    assert usual["runs"] == [0, 1] and usual["at"] is None and usual["by"] == "time"


@needs_node
def test_pictures_are_whole_and_stand_by_themselves():
    runs = as_page({EVIL: by_hand(6, loss=[1, np.nan, 0, np.inf, 0.1, 0.01]), "b": by_hand(4)})
    body = """const found = [];
      for (const by of ["time", "loss", "record"]) for (const beside of [false, true]) {
        const show = Runs.quantities(given);
        const size = { width: 400, height: 240 };
        const drawn = Runs.charts(given, [0, 1], { by, show, beside }, size, 7);
        found.push([drawn.length, Runs.picture(drawn, given[0].label, "text { fill: #000; }", 2)]);
      }
      return found;"""
    for k, (count, svg) in enumerate(run(SCRIPTS, body, runs)):
        tree = ET.fromstring(svg)
        assert count == (8 if k % 2 else 4) and "NaN" not in svg and "Infinity" not in svg
        assert len(tree.findall(".//{*}script")) == 0 and EVIL in "".join(tree.itertext())


@needs_node
def test_numbers_are_exported_with_labels_that_are_no_formulas():
    runs = as_page({'=cmd|"x",': by_hand(2, loss=[1.0, np.nan]), "-0.5": by_hand(3)})
    text, told = run(SCRIPTS, "return [Runs.csv(given), JSON.parse(Runs.json(given))];", runs)
    rows = list(csv.reader(text.splitlines()))
    assert rows[0][:4] == ["run", "record", "time", "loss"] and len(rows) == 6
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[1][0] == '\'=cmd|"x",' and rows[3][0] == "-0.5" and rows[2][3] == "NaN"
    assert [float(row[3]) for row in rows[3:]] == told[1]["series"]["loss"]


@needs_node
def test_a_family_goes_to_the_nearest_scale_of_a_depth():
    family = [[2, 0.1], [2, 1e-3], [3, 0.1]]
    body = """return [Runs.choices(given), Runs.member(given, 2, 1e-2 / 2),
      Runs.member(given, 3, 1e-3), Runs.member(given, 2, 0.05)];"""
    assert run(SCRIPTS, body, family) == [[[2, 3], [0.001, 0.1]], 1, 2, 0]


@needs_node
def test_keys_choices_and_the_family_move_the_page():
    page = explore({(2, 0.1): by_hand(6), (3, 0.1): by_hand(6), (3, 0.01): by_hand(6)})
    blocks = re.findall(r'id="([\w-]+-data)">([^<]*)<', page.html)
    fill = "".join(f"$({name!r}).textContent = {json.dumps(text)};" for name, text in blocks)
    before = f"{{ const $ = id => document.getElementById(id); {fill} }}"
    body = """await opened;
      const seen = [document.body.dataset.at, $("failure").hidden];
      press("Home"); seen.push([settings.at, $("moment").textContent]);
      press("ArrowRight"); press("ArrowRight"); seen.push($("table-1-record").textContent);
      press("l"); seen.push([settings.by, settings.at === runs[0].series.loss[2]]);
      $("depth").value = 1; $("scale").value = 0; $("depth").fire("input");
      seen.push([settings.runs, location.hash]);
      $("beside").value = "1"; $("beside").fire("change"); seen.push(drawn.length);
      $("run-0").fire("change"); seen.push([settings.runs, drawn.length]);
      $("show-loss").checked = false; $("show-loss").fire("change"); seen.push(settings.show);
      return seen;"""
    found = run([DOM, before, *SCRIPTS, source("explorer_runs_page.js")], body)
    assert found[0] == 10000 and found[1] is False
    assert found[2] == [0, "t = 0"] and found[3] == "2" and found[4] == ["loss", True]
    assert found[5][0] == [2] and "member=2" in found[5][1] and "runs=2" in found[5][1]
    assert found[6] == 4 and found[7] == [[0, 2], 8] and "loss" not in found[8]
