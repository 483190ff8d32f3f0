"""Tables for the terminal: what there is, how far it is, what came out."""

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table

from gradflow._util.processes import cores
from gradflow._util.tables import in_a_cell
from gradflow.sweeps.experiment import Experiment, Finding, items_of
from gradflow.sweeps.heartbeat import in_flight
from gradflow.sweeps.progress import span
from gradflow.sweeps.store import Store


def state(experiment: Experiment, out: Path) -> dict[str, tuple[int, int]]:
    """For each scale and protocol, cells done and all."""
    names = Store(out / experiment.store_name()).names()
    found = {}
    for scale in ("quick", "paper"):
        for protocol in experiment.protocols:
            grid = experiment.grid(scale, protocol)
            items = items_of(experiment, grid, experiment.precision)
            done = sum(experiment.name(item) in names for item in items)
            label = scale if protocol == "paper" else f"{scale} ({protocol})"
            found[label] = (done, len(items))
    return found


def experiments_table(known: dict[str, Experiment], out: Path) -> Table:
    """All experiments: what they show, how long they take, how far they are."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("experiment", "shows", "time on this machine", "cells done"):
        table.add_column(column, overflow="fold")
    for id, experiment in known.items():
        times = ", ".join(
            f"{scale} {span(3600 * hours / cores())}" for scale, hours in experiment.hours.items()
        )
        cells = ", ".join(
            f"{label} {done}/{total}" for label, (done, total) in state(experiment, out).items()
        )
        table.add_row(id, experiment.title, times or "not measured", cells)
    return table


def progress_table(known: dict[str, Experiment], out: Path, ids: tuple[str, ...]) -> Table:
    """Those that have been begun, or those asked for."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("experiment", "grid", "cells", "begun, not finished", "on disk"):
        table.add_column(column)
    for id, experiment in known.items():
        if ids and not any(id.startswith(prefix) for prefix in ids):
            continue
        store = Store(out / experiment.store_name())
        size = sum(path.stat().st_size for path in store.folder.glob("*.nc"))
        for label, (done, total) in state(experiment, out).items():
            if done or ids:
                table.add_row(
                    id,
                    label,
                    f"{done}/{total}",
                    str(len(store.checkpoints())),
                    f"{size / 1e6:.1f} MB",
                )
    return table


def running_table(known: dict[str, Experiment], out: Path) -> Table:
    """Cells in flight, as their workers last noted."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("running now", "cell", "iteration", "loss", "worker"):
        table.add_column(column)
    folders = {
        experiment.store_name(): out / experiment.store_name() for experiment in known.values()
    }
    for family, folder in folders.items():
        for note in in_flight(folder):
            table.add_row(
                family, note["label"], f"{note['iteration']:,}", f"{note['loss']:.3e}",
                note["worker"],
            )  # fmt: skip
    return table


def findings_table(findings: Iterable[Finding]) -> Table:
    """The paper's statements and numbers beside ours."""
    table = Table(show_lines=True)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for one in findings:
        table.add_row(*_cells(one))
    return table


def findings_markdown(findings: Iterable[Finding]) -> str:
    """The same as a table in Markdown."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, findings)]
    return "".join(f"| {' | '.join(map(in_a_cell, row))} |\n" for row in rows)


_COLUMNS = ("the paper", "printed", "ours", "ratio", "seen here", "evidence")


def _cells(one: Finding) -> tuple[str, ...]:
    ratio = f"{one.ours / one.printed:.3g}" if one.printed and one.ours is not None else ""
    return (
        one.statement,
        "" if one.printed is None else f"{one.printed:g}",
        "" if one.ours is None else f"{one.ours:.4g}",
        ratio,
        {True: "yes", False: "no", None: "not decided"}[one.holds],
        one.evidence,
    )
