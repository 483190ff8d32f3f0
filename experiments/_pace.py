"""How long the authors' way takes, as far as it was measured."""

import json
from pathlib import Path


def torch_step(size: int, depth: int) -> float | None:
    """Seconds a step of a minimal PyTorch loop on one core in float32, the authors' precision.

    As measured by `python -m benchmarks.descent` and stored in benchmarks/results/; the authors'
    codes, which also evaluate what they record, take more.
    """
    stored = Path(__file__).parents[1] / "benchmarks" / "results" / "descent-cpu.json"
    if not stored.is_file():
        return None
    for row in json.loads(stored.read_text())["results"]:
        if (row["size"], row["depth"], row["dtype"]) == (size, depth, "float32"):
            return row["microseconds_per_step"]["torch"]["median"] * 1e-6
    return None
