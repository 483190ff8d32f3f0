"""The tables of docs/zhao2022.md, from stored cells: the paper's tables, and what its figures show.

    python docs/make_zhao2022.py --out results/experiments

Needs `gradflow run zhao2022.table1`, and that for table2 to table4 and fig1 to fig8. Of Tables 1, 3
and 4 cells that are not there with the paper's 500,000 iterations are taken from `--steps 20000`.
Where some are missing in both, that is said, and the table stays.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from experiments.zhao2022.table2 import METHODS, PRINTED, Chosen, choose
from experiments.zhao2022.tables import LABELS, Table, medians
from gradflow import sweeps
from gradflow._util.files import replace_between
from gradflow.sweeps.experiment import Item
from gradflow.sweeps.results import Results

PAGE = Path(__file__).resolve().parent / "zhao2022.md"
TABLES = ("zhao2022.table1", "zhao2022.table3", "zhao2022.table4")
STOPPED = ("Adam", "Adam+penalty")
FIGURES = {
    "zhao2022.depths": ((1, "rank 5"), (2, "rank 5"), (6, "rank 10"), (7, "rank 10")),
    "zhao2022.single": ((3, "rank 5"), (8, "rank 10")),
    "zhao2022.samples": ((4, "rank 5"), (5, "rank 10")),
}
"""Tables of several figures: the number of each, and what tells them apart."""
RULES = {"adam": "Adam", "gd": "GD"}


@dataclass(frozen=True)
class Options:
    """Renew the tables of docs/zhao2022.md."""

    out: Path = Path("results/experiments")
    """Folder that `gradflow run` wrote to."""
    steps: int = 20_000
    """Iterations that Tables 1, 3 and 4 were run with."""


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def optimisers(cut: Results, whole: Results) -> str:
    """Table 1, 3 or 4: ours, and the printed ones in brackets.

    Args:
      cut: cells with fewer iterations than the paper's.
      whole: cells with all; they count where they are there.

    Raises:
      LookupError: if a cell is in neither; it says how many.
    """
    experiment = whole.experiment
    assert isinstance(experiment, Table)
    ended, shorter = (medians(results) if len(results) else {} for results in (whole, cut))
    ours = shorter | ended
    unended = {key for key in ours.keys() - ended.keys() if ours[key][2].startswith("ended")}
    if missing := len(experiment.printed) * len(experiment.penalties) - len(ours):
        raise LookupError(missing)
    cells = {
        key: f"{mine[0]:.2g}, {mine[1]:.0f}{' …' * (key in unended)} ({error:.2g}, {rank})"
        for key, ((error, rank), mine) in experiment.beside(ours).items()
    }
    rows = [
        [
            f"{LABELS[optimizer]}, {depth}",
            *(cells[optimizer, depth, p] for p in experiment.penalties),
        ]
        for optimizer, depth in experiment.printed
    ]
    names = [LABELS.get(p, p.replace("schatten", "Schatten")) for p in experiment.penalties]
    agree = experiment.agreement(ours, rank=5).evidence.split(" agree")[0]
    lengths = (
        f"{len(cells) - len(unended)} of these runs are whole; … marks those cut off at "
        f"{cut.grid.steps:,} iterations."
        if unended
        else "All runs are whole."
    )
    minutes = processor_minutes(whole) + (processor_minutes(cut) if unended else 0.0)
    return (
        f"{markdown(['optimiser, depth', *names], rows)}\n\n{lengths} Whether the matrix is "
        f"recovered (an error below 1e-2, and rank 5) is as printed in {agree} cells. They took "
        f"{minutes:,.0f} minutes of processor time."
    )


def recommender(results: Results) -> str:
    """Table 2: mean and standard deviation over splits, and the printed errors in brackets."""
    chosen, stopped = choose(results), choose(results, stopped=True)
    head = ["model, split", *METHODS, *(f"{method}, stopped" for method in STOPPED)]
    rows = []
    for (model, percent), printed in PRINTED.items():
        own = [chosen[model, percent, method] for method in METHODS]
        early = [stopped[model, percent, method] for method in STOPPED]
        rows.append([
            f"{model}, {100 - percent}:{percent}",
            *(f"{told(one)} ({number})" for one, number in zip(own, printed, strict=True)),
            *(told(one) for one in early),
        ])  # fmt: skip
    return (
        f"{markdown(head, rows)}\n\n"
        f"The {len(results)} cells took {processor_minutes(results):.0f} minutes of processor time."
    )


def depths(results: Results, name: str) -> tuple[list[str], list[list[str]]]:
    """A figure over depths, a row an optimiser."""
    of_depths = results.values("depth")
    rows = [
        [f"{name}, {RULES[rule]}", *(median_of(results.where(optimizer=rule, depth=depth))
                                     for depth in of_depths)]
        for rule in ("adam", "gd")
    ]  # fmt: skip
    return ["figure", *(f"depth {depth}" for depth in of_depths)], rows


def single(results: Results, name: str) -> tuple[list[str], list[list[str]]]:
    """A figure of depth 1, a column for each optimiser with and without the ratio."""
    runs = [(rule, penalty) for rule in ("adam", "gd") for penalty in ("ratio", "none")]
    row = [median_of(results.where(optimizer=rule, penalty=penalty)) for rule, penalty in runs]
    heads = [f"{RULES[rule]}{', ratio' * (penalty == 'ratio')}" for rule, penalty in runs]
    return ["figure", *heads], [[name, *row]]


def samples(results: Results, name: str) -> tuple[list[str], list[list[str]]]:
    """A figure over the number of observations, a column a method."""
    rows, heads = [], dict.fromkeys(map(method_of, results.items))
    for observations in results.values("observations"):
        part = results.where(observations=observations)
        of = {head: part.only(lambda item, head=head: method_of(item) == head) for head in heads}
        rows.append([f"{name}, {observations} entries", *map(median_of, of.values())])
    return ["figure", *heads], rows


def method_of(item: Item) -> str:
    """What a figure over sample sizes calls the method of a cell."""
    cell = item.cell
    if not hasattr(cell, "optimizer"):
        return cell.method
    penalty = ", ratio" * (cell.penalty == "ratio")
    return f"{RULES[cell.optimizer]}, depth {cell.depth}{penalty}"


def median_of(results: Results) -> str:
    """The median error and effective rank of starts, and how many ended at the stopping loss."""
    table = results.table
    error, rank = table["final_error"].median(), table["final_effective_rank"].median()
    ends = table["outcome"]
    stopped, diverged = sum(ends == "REACHED_LOSS"), sum(ends == "DIVERGED")
    further = f"; {stopped}/{len(ends)}" * bool(any(ends)) + f", {diverged} diverged" * bool(
        diverged
    )
    return f"{error:.2g}, {rank:.1f}{further}"


def figures(id: str, out: Path) -> str:
    """A table of several figures.

    Raises:
      LookupError: if a cell of theirs is missing; it says how many.
    """
    made = {"zhao2022.depths": depths, "zhao2022.single": single, "zhao2022.samples": samples}[id]
    heads: list[str] = []
    rows: list[list[str]] = []
    for number, rank in FIGURES[id]:
        results = sweeps.load(f"zhao2022.fig{number}", out=out, with_flow=False)
        if results.missing:
            raise LookupError(results.missing)
        heads, more = made(results, f"{number} ({rank})")
        rows += more
    return markdown(heads, rows)


def told(one: Chosen) -> str:
    """Mean and standard deviation."""
    return f"{one.error:.3f} ± {np.std(list(one.errors.values()), ddof=1):.3f}"


def processor_minutes(results: Results) -> float:
    """What the cells took; a batch's time is shared out among its cells."""
    found = [json.loads(data.attrs["provenance"]) for _, data in results]
    return sum(one["batch_processor_seconds"] / one["batch_size"] for one in found) / 60


def table(id: str, options: Options) -> str:
    """One of the paper's tables.

    Raises:
      LookupError: if a cell of it is missing; it says how many.
    """
    whole = sweeps.load(id, out=options.out)
    if id in TABLES:
        return optimisers(sweeps.load(id, out=options.out, steps=options.steps), whole)
    if whole.missing:
        raise LookupError(whole.missing)
    return recommender(whole)


def main(options: Options) -> int:
    """Renew the tables whose cells are all there; returns the exit status."""
    stay, made = 0, (*TABLES, "zhao2022.table2", *FIGURES)
    for id in made:
        try:
            text = figures(id, options.out) if id in FIGURES else table(id, options)
        except LookupError as error:
            print(f"{id} stays: {error} cells are missing in {options.out}.", file=sys.stderr)
            stay += 1
        else:
            replace_between(PAGE, f"<!-- {id} -->", f"<!-- /{id} -->", f"\n{text}\n")
            print(f"{id} is renewed.")
    return 2 if stay == len(made) else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
