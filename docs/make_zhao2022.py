"""The tables of docs/zhao2022.md, from stored cells.

    python docs/make_zhao2022.py --out results/experiments

Needs `gradflow run zhao2022.table1`, that for table3 and table4, and `gradflow run
zhao2022.table2`. Of Tables 1, 3 and 4 cells that are not there with the paper's 500,000 iterations
are taken from `--steps 20000`. Where some are missing in both, that is said, and the table stays.
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
from gradflow.sweeps.results import Results

PAGE = Path(__file__).resolve().parent / "zhao2022.md"
TABLES = ("zhao2022.table1", "zhao2022.table3", "zhao2022.table4")
STOPPED = ("Adam", "Adam+penalty")


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


def told(one: Chosen) -> str:
    """Mean and standard deviation."""
    return f"{one.error:.3f} ± {np.std(list(one.errors.values()), ddof=1):.3f}"


def processor_minutes(results: Results) -> float:
    """What the cells took; a batch's time is shared out among its cells."""
    found = [json.loads(data.attrs["provenance"]) for _, data in results]
    return sum(one["batch_processor_seconds"] / one["batch_size"] for one in found) / 60


def main(options: Options) -> int:
    """Renew the tables whose cells are all there; returns the exit status."""
    stay = 0
    for id in (*TABLES, "zhao2022.table2"):
        whole = sweeps.load(id, out=options.out)
        try:
            if id in TABLES:
                text = optimisers(sweeps.load(id, out=options.out, steps=options.steps), whole)
            elif whole.missing:
                raise LookupError(whole.missing)
            else:
                text = recommender(whole)
        except LookupError as error:
            print(f"{id} stays: {error} cells are missing in {options.out}.", file=sys.stderr)
            stay += 1
        else:
            replace_between(PAGE, f"<!-- {id} -->", f"<!-- /{id} -->", f"\n{text}\n")
            print(f"{id} is renewed.")
    return 2 if stay == len(TABLES) + 1 else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
