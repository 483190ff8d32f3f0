"""Stored cells as one table, and each cell as a dataset."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradflow._util.places import experiments
from gradflow.sweeps.experiment import (
    Experiment,
    Finding,
    Item,
    Precision,
    Protocol,
    Scale,
    flat,
    items_of,
)
from gradflow.sweeps.fields import changed
from gradflow.sweeps.registry import find
from gradflow.sweeps.store import Store


class Results:
    """The cells of an experiment that are in a store.

    Attributes:
      experiment: which.
      grid: the grid that was asked for.
      table: one row a cell: the cell's fields ("cell_method" for its own method), "method",
        "precision", "outcome", and all numbers that its file holds; pandas.
      cells: the datasets, in the order of the table's rows.
      missing: how many cells of the grid are not there.
    """

    def __init__(
        self,
        experiment: Experiment,
        grid: Any,
        items: list[Item],
        cells: list[xr.Dataset],
        missing: int,
    ):
        self.experiment, self.grid, self.missing = experiment, grid, missing
        self.items, self.cells = items, cells
        self.table: Any = pd.DataFrame(  # pandas' types know too little of what is in it
            [_row(item, data) for item, data in zip(items, cells, strict=True)]
        )

    def __len__(self) -> int:
        return len(self.cells)

    def __repr__(self) -> str:
        ended = self.table["outcome"].value_counts() if len(self) else {}
        told = "".join(f", {n} {outcome}" for outcome, n in ended.items() if outcome)
        return f"Results({self.experiment.id}, {len(self)} cells, {self.missing} missing{told})"

    @property
    def all_diverged(self) -> bool:
        """Whether there are runs (baselines are none), and not one of them stayed finite."""
        ends = set(self.table.get("outcome", ())) - {""}
        return ends == {"DIVERGED"}

    def __iter__(self) -> Iterator[tuple[Any, xr.Dataset]]:
        """Pairs of a cell and its dataset."""
        return iter((item.cell, data) for item, data in zip(self.items, self.cells, strict=True))

    def where(self, **fields: Any) -> "Results":
        """Those cells that have fields (or a method) with these values."""

        def fits(item: Item) -> bool:
            cell = flat(item.cell)
            return all(
                getattr(item, name) == value
                if name in ("method", "precision")
                else cell.get(name) == value
                for name, value in fields.items()
            )

        return self.only(fits)

    def only(self, wanted: Callable[[Item], bool]) -> "Results":
        """Those cells of which a function of their item says so, as `item.cell.rate > 0.1`."""
        chosen = [k for k, item in enumerate(self.items) if wanted(item)]
        return Results(
            self.experiment,
            self.grid,
            [self.items[k] for k in chosen],
            [self.cells[k] for k in chosen],
            self.missing,
        )

    def values(self, field: str) -> list[Any]:
        """The values that a field of the cells takes, in order of size."""
        cells = [flat(item.cell) for item in self.items]
        return sorted({cell[field] for cell in cells if field in cell})

    def to_xarray(self) -> xr.Dataset:
        """The table as one dataset along "cell"."""
        return xr.Dataset.from_dataframe(self.table.rename_axis("cell"))


def folder(out: Path | str | None = None) -> Path:
    """Where experiments are kept: `out`, else `experiments` below the folder of all results.

    That is `results` in the current folder, or what GRADFLOW_HOME names.
    """
    return experiments() if out is None else Path(out)


def load(
    id: str,
    *,
    scale: Scale = "paper",
    protocol: Protocol = "paper",
    out: Path | str | None = None,
    grid: Any = None,
    precision: Precision | None = None,
    with_flow: bool = True,
    module: Path | str | None = None,
    **fields: Any,
) -> Results:
    """Read the cells of an experiment that have been run.

    Args:
      id: of the experiment.
      scale: "paper" or "quick".
      protocol: "paper" or "code".
      out: the folder that `gradflow run` wrote to, if not that of `folder()`.
      grid: the grid, if it is not that of scale and protocol.
      precision: if not the experiment's own.
      with_flow: also the flows beside descents, where there are any.
      module: a file that defines the experiment, if it is your own.
      **fields: changes to the grid's fields.

    Raises:
      ValueError: if there is no such experiment, protocol or field, or a value does not fit its
        field.
      Corrupt: if a cell's file is damaged.
    """
    experiment = find(id, module)
    if grid is None:
        grid = grid_of(experiment, scale, protocol, fields)
    items = items_of(experiment, grid, precision or experiment.precision)
    total = len(items)
    if with_flow:
        items = items_of(experiment, grid, precision or experiment.precision, True)
    store = Store(folder(out) / experiment.store_name())
    names = store.names()
    there = [item for item in items if experiment.name(item) in names]
    cells = [store.load(experiment.name(item)) for item in there]
    own = sum(item.method == "own" for item in there)
    return Results(experiment, grid, there, cells, total - own)


def arrivals(results: Results, named: str = "") -> Finding:
    """Whether the descents came to an end at all.

    Args:
      results: those of a computation or a flow do not count.
      named: what to put before the statement.
    """
    runs = results.table[(results.table["outcome"] != "") & (results.table["method"] == "own")]
    lost = int((runs["outcome"] == "DIVERGED").sum())
    short = int((runs["outcome"] == "OUT_OF_STEPS").sum())
    return Finding.also(
        f"{named}Descent reaches its stopping loss",
        lost + short == 0 if len(runs) else None,
        f"of {len(runs)} runs {lost} diverged and {short} ran out of iterations",
    )


def grid_of(
    experiment: Experiment, scale: Scale, protocol: Protocol, fields: Mapping[str, Any]
) -> Any:
    """The grid of a scale and protocol, with some fields changed.

    Raises:
      ValueError: if the experiment lacks the protocol or a field, or a value is of another type.
    """
    if protocol not in experiment.protocols:
        raise ValueError(
            f"{experiment.id} has no protocol {protocol!r}; it has "
            f"{' and '.join(experiment.protocols)}."
        )
    if scale not in ("quick", "paper"):
        raise ValueError(f"scale must be quick or paper, but it is {scale!r}.")
    grid = experiment.grid(scale, protocol)
    known = [field.name for field in dataclasses.fields(grid)]
    for name in fields:
        if name not in known:
            raise ValueError(
                f"The grid of {experiment.id} has no field {name!r}; it has {', '.join(known)}."
            )
    return changed(grid, fields)


def _row(item: Item, data: xr.Dataset) -> dict[str, Any]:
    numbers = {str(name): array.item() for name, array in data.data_vars.items() if array.ndim == 0}
    cell = {
        f"cell_{k}" if k in ("method", "precision") else k: v for k, v in flat(item.cell).items()
    }
    return {
        **cell,
        "method": item.method,
        "precision": item.precision,
        "outcome": data.attrs.get("outcome", ""),
        "warnings": "; ".join(json.loads(data.attrs.get("stats", "{}")).get("warnings", ())),
        **numbers,
        "seconds": float(data.attrs.get("seconds", np.nan)),
    }
