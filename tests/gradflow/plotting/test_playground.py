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
from tests.gradflow.plotting.node import needs_node, run, source

pytestmark = needs_node
FLOW, MEASURES, DRAW = (source(f"playground_{k}.js") for k in ("flow", "measures", "draw"))
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
    np.testing.assert_allclose([state["w"] for state in found], kept["product"], rtol=1e-6)
    np.testing.assert_allclose([s["logDet"] for s in found], kept["log_abs_det"], rtol=1e-6)
    assert found[-1]["loss"] < 1.001 * least_loss(case)
