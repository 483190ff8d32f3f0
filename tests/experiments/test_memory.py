"""No cell of the paper's grids needs more than 4 GB on a CPU; each is begun in its own process."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 4e9
BEGIN = """
import dataclasses, resource, sys
from gradflow._util.device import set_up
set_up("cpu")
from gradflow.sweeps.registry import find
from gradflow.sweeps.job import Descent, do_one
experiment = find("{id}")
grid = dataclasses.replace(experiment.grid("paper", "code"), **{fields})
cells = [cell for cell in experiment.cells(grid) if {which}]
work = experiment.job(cells[-1], experiment.precision)
if isinstance(work, Descent):
    work = dataclasses.replace(work, record=[1, 2])
data = do_one(work, lambda run: {{}}, lambda iteration, loss: None, None)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""
CASES = {
    "completion": ("arora2019.fig2", {"steps": 20}, "getattr(cell, 'depth', 0) == 4"),
    "sensing": ("arora2019.fig4", {"steps": 3}, "getattr(cell, 'depth', 0) == 4"),
    "sensing, least norm": ("arora2019.fig4", {"steps": 3}, "type(cell).__name__ == 'Baseline'"),
    "ratings": ("arora2019.fig3", {"rating_steps": 3}, "cell.data == 'ratings'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_memory_of_paper_scale(case):
    if case == "ratings" and find_spec("neighbors") is None:
        pytest.skip("the ratings are not installed")
    id, fields, which = CASES[case]
    code = BEGIN.format(id=id, fields=fields, which=which)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=1800,
        env={**os.environ, "JAX_ENABLE_X64": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < LIMIT
