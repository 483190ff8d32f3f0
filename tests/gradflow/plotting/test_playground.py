"""The playground's flow against the library's; what it refuses, shows and keeps."""

import itertools
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import gradflow as gf
from gradflow.claims.oracles.norms import schatten
from gradflow.plotting import playground_page, save_playground
from tests.gradflow.plotting.node import run, source
from tests.node import needs_node

pytestmark = needs_node
FLOW, MEASURES = source("playground_flow.js"), source("playground_measures.js")
DRAW = source("chart.js") + source("playground_draw.js")
KEPT = Path(__file__).with_name("playground_flows.json")
"""Flows of the library: made by `test_the_values_to_agree_with_are_the_librarys`."""
STARTS = {
    "identity": {"w": [0.1, 0.0, 0.0, 0.1], "observed": [1.0, 1.0, 0.0]},
    "generic": {"w": [0.12, -0.05, 0.06, 0.09], "observed": [1.0, 1.0, 0.0]},
    "small": {"w": [1e-3, 2e-4, -3e-4, 5e-4], "observed": [1.0, 1.0, 0.0]},
    "perturbed": {"w": [-0.1, 0.03, -0.02, 0.08], "observed": [2.0, -0.5, 0.1]},
    "to infinity": {"w": [0.1, 0.03, -0.02, -0.08], "observed": [2.0, -0.5, 0.1]},
    "other sign": {"w": [0.2, 0.3, 0.1, 0.1], "observed": [1.0, 1.0, 0.0]},
    "entry through zero": {"w": [-0.4, 0.5, 0.6, 0.3], "observed": [1.0, 1.0, 0.4]},
}
CASES = [f"{name}, depth {depth}" for name, depth in itertools.product(STARTS, (2, 3, 4))]


def start_of(case):
    name, _, depth = case.rpartition(", depth ")
    return {**STARTS[name], "depth": int(depth)}


def least_loss(case):
    """At the end; of those to infinity it tends to epsilon^2 / 2, as w_22 tends to 0."""
    return 0.0052 if case.startswith("to infinity") else 1e-5


def of_library(case):
    """Times, products and log |det W| of the library's flow, down to a loss below 1e-5."""
    start = start_of(case)
    objective = gf.Objective(
        gf.synthetic.norm_blowup(*start["observed"]), gf.MatrixProduct.of((2, 2), start["depth"])
    )
    flow = gf.solve_flow(
        objective, np.reshape(start["w"], (2, 2)), coordinates="logdet", stop_loss=1e-5,
        horizon=1e6 if case.startswith("to infinity") else None, rtol=1e-10,
        observe=("loss", "product", "log_abs_det"),
    )  # fmt: skip
    kept = np.unique(np.linspace(0, len(flow) - 1, 9).astype(int))[1:]
    assert flow["loss"][-1] < 1.001 * least_loss(case)
    return {
        "times": flow.times[kept].tolist(),
        "product": flow["product"][kept].reshape(-1, 4).tolist(),
        "log_abs_det": flow["log_abs_det"][kept].tolist(),
    }


@pytest.mark.slow
def test_the_values_to_agree_with_are_the_librarys():
    found = {case: of_library(case) for case in CASES}
    if not KEPT.exists():
        KEPT.write_text(json.dumps(found, indent=0) + "\n")
    kept = json.loads(KEPT.read_text())
    for case, values in found.items():
        for name, series in values.items():
            np.testing.assert_allclose(series, kept[case][name], rtol=1e-7, err_msg=case)


@pytest.fixture(scope="module", name="ours")
def _ours():
    """The playground's flows at the library's times."""
    kept = json.loads(KEPT.read_text())
    asked = [{"start": start_of(case), "times": kept[case]["times"]} for case in CASES]
    body = """return given.map(({ start, times }) => {
        const flow = new Physics.Flow(start);
        return times.map(t => { flow.advanceTo(t); return { ...flow.state, stuck: flow.stuck }; });
    });"""
    return kept, dict(zip(CASES, run([FLOW], body, asked), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_flow_is_the_librarys(ours, case):
    kept, found = ours[0][case], ours[1][case]
    assert all(state["stuck"] == "" for state in found)
    np.testing.assert_allclose([state["t"] for state in found], kept["times"], rtol=1e-12)
    np.testing.assert_allclose([state["w"] for state in found], kept["product"], rtol=2e-8)
    np.testing.assert_allclose([s["logDet"] for s in found], kept["log_abs_det"], rtol=2e-9)
    assert found[-1]["loss"] < 1.001 * least_loss(case)


def power(square, exponent):
    values, vectors = np.linalg.eigh(square)
    return (vectors * values**exponent) @ vectors.T


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_velocities_are_those_of_the_formula(depth):
    """By NumPy alone: neither the library's flow nor values that it once had."""
    starts = [[0.12, -0.05, 0.06, 0.09], [0.3, 0.1, 0.2, -0.4], [3.0, 0.9, 1.1, 0.32]]
    body = """return given.map(start => {
        const flow = new Physics.Flow(start);
        return flow.coordinates.velocities(flow.y).slice(1);
    });"""
    asked = [{"w": w, "depth": depth, "observed": [2.0, -0.5, 0.1]} for w in starts]
    for start, (moved, rate) in zip(starts, run([FLOW], body, asked), strict=True):
        w = np.reshape(start, (2, 2))
        gradient = w - [[w[0, 0], 2.0], [-0.5, 0.1]]
        wanted = -sum(
            power(w @ w.T, k / depth) @ gradient @ power(w.T @ w, (depth - 1 - k) / depth)
            for k in range(depth)
        )
        np.testing.assert_allclose(np.reshape(moved, (2, 2)), wanted, rtol=1e-10, atol=1e-12)
        assert rate == pytest.approx(np.trace(np.linalg.solve(w, wanted)), rel=1e-8)


REFUSED = {
    "det W = 0": {"w": [0.1, 0.1, 0.1, 0.1], "depth": 2, "observed": [1, 1, 0]},
    "not balanced": {
        "factors": [[1, 0, 0, 1], [0.1, 0, 0, 0.1]], "depth": 2, "observed": [1, 1, 0],
    },
    "z and z′ must not be 0": {"w": [0.1, 0, 0, 0.1], "depth": 2, "observed": [0, 1, 0]},
    "at depth 1 singular values change sign": {
        "w": [0.1, 0, 0, 0.1], "depth": 1, "observed": [1, 1, 0],
    },
    "too few digits": {"w": [1e-6, 0, 0, 1e-6], "depth": 2, "observed": [1, 1, 0]},
    "must be finite": {"w": [None, 0, 0, 1], "depth": 2, "observed": [1, 1, 0]},
}  # fmt: skip


def test_what_the_coordinates_cannot_hold_is_refused_in_words():
    body = """return given.map(start => {
        if (start.w && start.w[0] === null) start.w[0] = NaN;
        try { return new Physics.Flow(start) && ""; }
        catch (error) { return [error instanceof Physics.Refusal, error.message]; }
    });"""
    for words, (refusal, told) in zip(REFUSED, run([FLOW], body, [*REFUSED.values()]), strict=True):
        assert refusal and words in told


def test_balanced_factors_start_their_product():
    made = gf.MatrixProduct((2, 2, 2, 2)).balanced(np.array([[0.3, -0.1], [0.2, 0.4]]))
    given = {"factors": [np.asarray(f).ravel().tolist() for f in made], "observed": [1, 1, 0]}
    state = run([FLOW], "return new Physics.Flow(given).state;", given)
    np.testing.assert_allclose(state["w"], [0.3, -0.1, 0.2, 0.4], rtol=1e-12)
    assert state["logDet"] == pytest.approx(math.log(0.14), rel=1e-12)


# Measures, bounds and the address


def test_norms_and_effective_rank_are_those_of_numpy():
    w = np.array([[1.3, 0.2], [-0.4, 0.7]])
    s = np.linalg.svd(w, compute_uv=False)
    given = {"t": 1.0, "w": w.ravel().tolist(), "loss": 0.1, "logDet": float(np.log(s).sum()),
             "logS": np.log(s).tolist()}  # fmt: skip
    found = run([MEASURES], "return Measures.measured(given);", given)
    assert found["nuclear"] == pytest.approx(s.sum())
    assert found["distance"] == pytest.approx(s[1])
    assert 1 + found["excess"] == pytest.approx(float(gf.linalg.effective_rank(w)))


def test_bounds_are_those_of_the_ledger():
    losses = [1e-1, 1e-3, 1e-6]
    body = """const found = [[[1, 1, 0], 1], [[2, -0.5, 0.1], -1], [[1, 1, 0], -1]].map(
        ([observed, sign]) => Measures.boundsOf(observed, sign));
      return found.map(b => [b.theorem, b.applies, ...["nuclear", "excess", "distance"].map(
        what => given.map(b[what]))]);"""
    first, second, third = run([MEASURES], body, losses)
    root, norm = np.sqrt(losses), schatten(1.0)
    assert first[:2] == ["Theorem 1", True] and third[:2] == ["Theorem 1", False]
    np.testing.assert_allclose(first[2], norm.a / root - norm.b)
    np.testing.assert_allclose(first[3], 2 * math.sqrt(12) / math.log(2) * root)
    np.testing.assert_allclose(first[4], 3 * math.sqrt(2) * root)
    assert second[:2] == ["Theorem 2", True]
    s = np.sqrt(2) * root
    np.testing.assert_allclose(second[2], 1 / (0.1 + s) - max(1 / 0.6, 16.0))
    np.testing.assert_allclose(second[3], 16 / 0.5 * (0.1 + s))
    np.testing.assert_allclose(second[4], 0.4 + (4 + 1 / 0.5) * s)


def test_the_address_keeps_settings_and_takes_no_others():
    body = """const kept = { depth: 4, w: [0.5, -1e-3, 2, 1], z: -2, zPrime: 0.5, epsilon: 0.1,
        speed: 2 };
      return [Measures.read(Measures.written(kept)), kept, ...given.map(Measures.read)];"""
    evil = ["#depth=9&w=1,2,3&z=1e9&speed=99", "#w=a,b,c,d&z=<script>&depth=3", "", "#%%%&w="]
    read, kept, *others = run([MEASURES], body, evil)
    assert read == kept
    usual = others[2]
    assert others == [usual | {"speed": 4}, usual | {"depth": 3}, usual, usual]


def test_a_pasted_start_is_a_matrix_or_factors():
    texts = [
        "[[1,2],[3,4]]",
        "[[[1,0],[0,1]],[[1,0],[0,1]]]",
        "[[1,2]]",
        "alert(1)",
        '[["a",1],[1,1]]',
    ]
    found = run([MEASURES], "return given.map(Measures.pasted);", texts)
    assert found[0] == {"w": [1, 2, 3, 4]}
    assert found[1] == {"factors": [[1, 0, 0, 1]] * 2, "depth": 2}
    assert found[2:] == [None] * 3


# What is drawn


def test_charts_are_drawn_with_bounds_where_these_apply():
    body = """return [[0.1, 0, 0, 0.1], [0.02, 0.1, 0.1, 0]].map(w => {
        const flow = new Physics.Flow({ w, depth: 3, observed: [1, 1, 0] });
        const trace = new Measures.Trace(), sign = flow.state.sign;
        while (flow.state.loss > 1e-6) {
          flow.step(0.1);
          trace.push(Measures.measured(flow.state));
        }
        const charts = Draw.charts(trace.points, Measures.boundsOf([1, 1, 0], sign),
          { width: 420, height: 250 });
        const count = trace.points.length;
        return charts.map(chart => [Chart.chart(chart), Chart.key(chart.curves), count]);
    });"""
    blowup, other = run([FLOW, MEASURES, DRAW], body)
    for (svg, key, points), (plain, _, _) in zip(blowup, other, strict=True):
        for text in (svg, plain):
            drawn = ET.fromstring(f"<svg>{text}</svg>")
            assert "NaN" not in text and "Infinity" not in text
            assert all(path.get("d") for path in drawn.iter("path"))
        assert 50 < points < 1500 and "<li>" in key
    assert sum(svg.count("stroke-dasharray") for svg, *_ in blowup) == 3
    assert sum(svg.count("stroke-dasharray") for svg, *_ in other) == 0


# The page


def test_the_page_is_whole_and_loads_nothing(tmp_path):
    text = save_playground(tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == playground_page()
    assert "://" not in text and "{{" not in text and text.count("<script") == 1
    for script in (FLOW, MEASURES, source("chart.js"), source("playground_draw.js")):
        assert script in text


@pytest.fixture(scope="module", name="dom")
def _dom():
    return Path(__file__).with_name("dom.js").read_text(encoding="utf-8")


def in_page(dom, body):
    return run([dom, FLOW, MEASURES, DRAW, source("playground.js")], body)


def test_keys_run_pause_and_choose_and_the_address_follows(dom):
    body = """const seen = [], loss = () => Number(document.body.dataset.loss);
      seen.push([loss(), $("play").textContent]);
      press(" "); frames(20); seen.push([loss(), $("play").textContent]);
      press(" "); frames(20); seen.push([loss(), $("play").textContent]);
      press("r"); seen.push([loss(), $("play").textContent]);
      press("4"); seen.push([location.hash, settings.depth]);
      $("one").fire("keydown", { key: "ArrowUp", shiftKey: true }); seen.push(settings.w[2]);
      press("3", $("s0")); seen.push(settings.depth); // typed into a field
      return seen;"""
    start, ran, paused, again, address, moved, depth = in_page(dom, body)
    assert start[1] == "Run" and ran[1] == "Pause" and ran[0] < start[0]
    assert paused == [ran[0], "Run"] and again == start
    assert address == ["#depth=4&w=0.12,-0.05,0.06,0.09&z=1&z2=1&epsilon=0&speed=0.6", 4]
    assert moved == pytest.approx(0.06 + 0.2 * 0.12) and depth == 4


def test_a_run_ends_in_words_and_a_bad_start_is_told(dom):
    body = """settings.speed = 4; press(" "); frames(400);
      const end = $("status").textContent, stands = $("play").textContent;
      settings.w = [0.1, 0.2, 0.1, 0.2]; begin();
      const told = [$("status").textContent, $("status").className, $("play").disabled];
      $("paste").value = "[[[1,0],[0,1]],[[2,0],[0,1]]]"; $("take").fire("click");
      return [end, stands, told, $("status").textContent];"""
    end, stands, told, pasted = in_page(dom, body)
    assert "it would go on growing for ever" in end and stands == "Run"
    assert "det W = 0" in told[0] and told[1:] == ["bad", True]
    assert "not balanced" in pasted
