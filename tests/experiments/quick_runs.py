"""Experiments at quick scale, through the engine."""

from pathlib import Path
from typing import Any

from gradflow import sweeps


def results_of(id: str, out: Path, **fields: Any) -> Any:
    """Run at quick scale and load; everything is there, the picture draws."""
    report = sweeps.run(id, scale="quick", out=out, jobs=1, show=False, **fields)
    assert not report.failures, report.failures
    results = sweeps.load(id, scale="quick", out=out, **fields)
    assert results.missing == 0 and len(results) == report.done + report.there
    figure = results.experiment.plot(results)
    figure.savefig(out / f"{id}.png")
    for ax in figure.axes:
        if ax.get_visible() and ax.lines:
            assert ax.get_xlabel() or ax.get_subplotspec().rowspan.stop < 2
    return results
