"""The commands `gradflow list` and `gradflow status`: what there is, and how far it is."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from gradflow._util.misuse import Misuse
from gradflow._util.places import experiments
from gradflow._util.processes import cores
from gradflow._util.tables import span
from gradflow._util.terminal import console, parse
from gradflow._util.words import beginnings, meant
from gradflow.catalogue import Catalogue, ListedClaim, ListedExperiment, catalogue
from gradflow.sweeps import layout
from gradflow.sweeps.heartbeat import in_flight

_KINDS = ("all", "experiments", "claims")
_WIDE = 120
"""Columns of a terminal that has room for what the controls of claims break."""


@dataclass
class List:
    """List experiments and claims: all, those of a paper, or those whose ids begin so."""

    what: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """`experiments`, `claims`, or beginnings of ids such as zhao2022; all if nothing is given."""
    out: Path = field(default_factory=experiments)
    """Folder of the experiments' results."""
    module: Path | None = None
    """A Python file with experiments (or claims) of your own."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of tables."""


@dataclass
class Status:
    """Show how far experiments are, and what is running now."""

    ids: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Beginnings of ids; all experiments that have been begun if none is given."""
    out: Path = field(default_factory=experiments)
    """Folder of the results."""
    module: Path | None = None
    """A Python file with experiments of your own."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of tables."""


def list_all(words: list[str]) -> int:
    """List experiments and claims."""
    asked = parse(List, words, "gradflow list")
    kinds = [word for word in asked.what if word in _KINDS] or ["all"]
    prefixes = [word for word in asked.what if word not in _KINDS]
    there = _catalogue(asked.module)
    _see_known(prefixes, [one.id for one in (*there.experiments, *there.claims)])
    both = "all" in kinds or {"experiments", "claims"} <= set(kinds)
    sweeps = _chosen(there.experiments, prefixes) if both or "experiments" in kinds else []
    claims = _chosen(there.claims, prefixes) if both or "claims" in kinds else []
    if asked.json:
        listed = [_about(one, asked.out) for one in sweeps]
        _print_json({"experiments": listed, "claims": [asdict(one) for one in claims]})
        return 0
    out = console()
    if sweeps:
        out.print(_experiments_table(sweeps, asked.out))
    if claims:
        out.print(_claims_table(claims, out.width))
    return 0


def status(words: list[str]) -> int:
    """Show how far experiments are, and what is running now."""
    asked = parse(Status, words, "gradflow status")
    known = _catalogue(asked.module).experiments
    _see_known(asked.ids, [one.id for one in known])
    begun = [
        row
        for one in _chosen(known, asked.ids)
        for row in _progress(one, asked.out)
        if row["done"] or asked.ids
    ]
    running = _running(known, asked.out)
    if asked.json:
        _print_json({"experiments": begun, "running": running})
        return 0
    out = console()
    table = _table("experiment", "grid", "cells", "begun, not finished", "on disk")
    for row in begun:
        table.add_row(
            row["id"],
            row["grid"],
            f"{row['done']}/{row['cells']}",
            str(row["begun"]),
            f"{row['bytes'] / 1e6:.1f} MB",
        )
    none = f"Nothing is done in {asked.out}; `gradflow run ID` begins an experiment."
    out.print(table if begun else none)
    table = _table("running now", "cell", "iteration", "loss", "worker")
    for note in running:
        loss = "" if note["loss"] is None else f"{note['loss']:.3e}"
        far = f"{note['iteration']:,}" if note["iteration"] or loss else "starting"
        table.add_row(note["store"], note["label"], far, loss, note["worker"])
    out.print(table if running else "Nothing runs now.")
    return 0


def _catalogue(module: Path | None) -> Catalogue:
    try:
        return catalogue(module)
    except ValueError as error:
        raise Misuse(str(error)) from error


def _see_known(prefixes: Sequence[str], ids: Sequence[str]) -> None:
    papers = sorted({id.partition(".")[0] for id in ids})
    for prefix in prefixes:
        if not any(id.startswith(prefix) for id in ids):
            near = beginnings(ids) if "." in prefix else [*_KINDS, *papers]
            hint = meant(prefix, near, most=3)
            raise Misuse(f"nothing begins with {prefix!r}{hint} `gradflow list` shows all.")


def _chosen(listed: Iterable[Any], prefixes: Sequence[str]) -> list[Any]:
    found = list(listed)
    return [x for x in found if any(x.id.startswith(p) for p in prefixes)] if prefixes else found


def _done(one: ListedExperiment, out: Path) -> dict[str, tuple[int, int]]:
    """For each grid, cells done and all."""
    there = layout.cells(out / one.store).keys()
    return {grid: (len(there & set(names)), len(names)) for grid, names in one.cells.items()}


def _about(one: ListedExperiment, out: Path) -> dict[str, Any]:
    cells = {grid: {"done": done, "all": all} for grid, (done, all) in _done(one, out).items()}
    return {"id": one.id, "title": one.title, "core_hours": one.hours, "cells": cells}


def _progress(one: ListedExperiment, out: Path) -> list[dict[str, Any]]:
    folder = out / one.store
    size = sum(path.stat().st_size for path in layout.cells(folder).values())
    begun = len(layout.checkpoints(folder))
    return [
        {"id": one.id, "grid": grid, "done": done, "cells": all, "begun": begun, "bytes": size}
        for grid, (done, all) in _done(one, out).items()
    ]


def _running(known: Iterable[ListedExperiment], out: Path) -> list[dict[str, Any]]:
    """Cells in flight, as their workers last noted; a loss that is no number is None."""
    stores = dict.fromkeys(one.store for one in known)
    return [
        {"store": store, **note, "loss": note["loss"] if math.isfinite(note["loss"]) else None}
        for store in stores
        for note in in_flight(out / store)
    ]


def _experiments_table(listed: Iterable[ListedExperiment], out: Path) -> Table:
    """What they show, how long they take, how far they are."""
    table = _table("experiment", "shows", "time here", "cells done")
    for one in listed:
        times = [f"{scale} {span(3600 * h / cores())}" for scale, h in one.hours.items()]
        cells = [
            f"{grid} {done}/{total}"
            for grid, (done, total) in _done(one, out).items()
            if done or not grid.endswith(")")
        ]
        table.add_row(one.id, one.title, "\n".join(times) or "not measured", "\n".join(cells))
    return table


def _claims_table(claims: Iterable[ListedClaim], width: int) -> Table:
    wide = width >= _WIDE
    table = _table("claim", "kind", "where", *(["negative control"] if wide else []))
    for one in claims:
        table.add_row(one.id, one.kind, one.where, *([one.control] if wide else []))
    return table


def _table(first: str, *others: str) -> Table:
    """A table whose first column, which people copy from, is never cut."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True, overflow="fold")
    for name in others:
        table.add_column(name, overflow="fold")
    return table


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))
