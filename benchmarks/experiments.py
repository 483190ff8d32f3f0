"""The table of docs/experiments.md: what the papers' experiments cost, theirs and ours.

Run as `python -m benchmarks.experiments` after `gradflow run`; it reads the stored cells. The
authors' hours are our iterations times the time of a step of a minimal PyTorch loop, measured by
`python -m benchmarks.descent`; their codes, which also evaluate what they record, take longer.
"""

import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from gradflow._util.files import replace_between, whole_file
from gradflow._util.tables import span
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, items_of
from gradflow.sweeps.registry import known
from gradflow.sweeps.store import Store

PRECISIONS: tuple[Precision, ...] = ("float64", "float32")
BEGIN, END = "<!-- experiments -->", "<!-- /experiments -->"


@dataclass(frozen=True)
class Options:
    """Collect what finished experiments took."""

    out: Path = Path("results/experiments")
    """Folder that `gradflow run` wrote to."""
    json: Path = Path("benchmarks/results/experiments-cpu.json")
    """Where the numbers go; experiments that are not in OUT keep theirs."""
    page: Path | None = Path("docs/experiments.md")
    """The page whose table is renewed."""


def measured(
    experiment: Experiment, protocol: Protocol, precision: Precision, out: Path
) -> dict[str, Any] | None:
    """What the cells of the paper's grid took; None if some are missing."""
    items = items_of(experiment, experiment.grid("paper", protocol), precision)
    store = Store(out / experiment.sharing())
    names = store.names()
    if not items or any(experiment.name(item) not in names for item in items):
        return None
    theirs, ours, iterations, machine = 0.0, 0.0, 0, {}
    comparable = True
    for item in items:
        data = store.load(experiment.name(item))
        machine = json.loads(data.attrs["provenance"])
        ours += machine["batch_processor_seconds"] / machine["batch_size"]
        if not hasattr(item.cell, "steps") or "iterations" not in data:
            continue  # a baseline, a flow or a model of its own
        iterations += int(data["iterations"])
        step = experiment.their_step(item.cell)
        comparable = comparable and step is not None
        theirs += (step or 0.0) * int(data["iterations"])
    return {
        "experiment": experiment.id,
        "protocol": protocol,
        "cells": len(items),
        "iterations": iterations,
        "precision": precision,
        "their_hours": theirs / 3600 if comparable and theirs else None,
        "our_processor_seconds": round(ours, 1),
        "our_wall_seconds": _wall(store, experiment, protocol, precision, len(items)),
        "cores": machine["cores"],
        "processor": machine["processor"],
        "device": machine["device"],
        "date": machine["date"][:10],
        "versions": machine["versions"],
    }


def _wall(
    store: Store, experiment: Experiment, protocol: Protocol, precision: Precision, cells: int
) -> float | None:
    """Wall time, if all cells were done in one run."""
    path = store.folder / "runs.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    runs = [json.loads(line) for line in lines]
    whole = [
        run["seconds"]
        for run in runs
        if (run["experiment"], run["scale"], run["protocol"]) == (experiment.id, "paper", protocol)
        and run.get("precision", experiment.precision) == precision
        and run["done"] >= cells
    ]
    return whole[-1] if whole else None


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| experiment | cells | iterations | precision | authors' way (float32) | ours, processor "
        "time | ours, wall time | ratio of processor times | machine |",
        "|---|---:|---:|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        theirs, ours = row["their_hours"], row["our_processor_seconds"]
        wall = row["our_wall_seconds"]
        fields = [
            f"`{row['experiment']}`" + (" (code)" if row["protocol"] == "code" else ""),
            str(row["cells"]),
            f"{row['iterations']:,}" if row["iterations"] else "",
            row["precision"],
            span(3600 * theirs) if theirs else "",
            span(ours),
            span(wall) if wall else "",
            f"{3600 * theirs / ours:.3g}" if theirs else "",
            f"{row['cores']} cores, {row['processor']}",
        ]
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join(lines)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return row["experiment"], row["protocol"], row["precision"]


def main(options: Options) -> int:
    """Collect, store, print; returns the exit status."""
    if not options.out.is_dir():
        print(f"There is no folder {options.out}; `gradflow run ID` makes it.", file=sys.stderr)
        return 2
    old = json.loads(options.json.read_text())["results"] if options.json.is_file() else []
    rows = {_key(row): row for row in old}
    for experiment in known().values():
        for protocol, precision in itertools.product(experiment.protocols, PRECISIONS):
            found = measured(experiment, protocol, precision, options.out)
            if found is not None:
                rows[_key(found)] = found
    order = list(known())
    kept = sorted(
        (row for row in rows.values() if row["experiment"] in order),
        key=lambda row: (order.index(row["experiment"]), row["protocol"], row["precision"]),
    )
    content = {"benchmark": "experiments", "results": kept}
    with whole_file(options.json) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    Console(soft_wrap=True).print(table(kept))
    if options.page is not None:
        replace_between(options.page, BEGIN, END, "\n" + table(kept) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
