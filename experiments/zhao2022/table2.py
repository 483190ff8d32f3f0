"""zhao2022, Table 2: MovieLens 100K by depth 1 with a bias and by user-item embeddings.

Errors are those at the end of training, strictly where the training error was least: the paper
trains for a number of epochs and evaluates then. Beside them stand errors where the validation
error was least, since much of what the penalty gains, stopping early gains as well. Which
configuration stands for a cell of the table is read off the results: of those that were run, the
one of least validation error on the first split. Test sets play no part in this.
`_ratings` has the runs, and what the paper leaves open.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, get_args

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Computation, Results, register
from gradflow.sweeps.experiment import Experiment, Finding, Precision, Protocol, Scale

from ._ratings import (
    REMEDY,
    Data,
    Embedding,
    Matrix,
    Model,
    Run,
    Split,
    Trained,
    check,
    method_of,
    model_of,
)
from ._recommender import Bias, Loss

METHODS = ("GD", "GD+penalty", "Adam", "Adam+penalty")
PRINTED: Mapping[tuple[Model, int], tuple[float, ...]] = {
    ("depth 1", 10): (2.814, 2.808, 1.844, 0.915),
    ("depth 1", 20): (2.797, 2.821, 1.822, 0.921),
    ("embeddings", 10): (2.453, 2.535, 1.282, 0.906),
    ("embeddings", 20): (2.532, 2.519, 1.348, 0.919),
}
"""Test errors of `METHODS`, by model and share of the ratings in the test set in percent."""
NEAR = 0.02
"""A printed error reproduces if ours differs by no more than this share."""
_TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4)


@dataclass(frozen=True)
class Grid:
    """Configurations searched on the first split, and those kept, run on all of them.

    The paper's ranges: depth 1 has weights from 1e-6 to 20; the embeddings have weights from 1e-6
    to 1e-1 on users or items, dimensions from 2 to 128 and batches of 128 to 1024; rates are from
    1e-5 to 5e-3. The search is coarse and has what the paper found best among it. Kept is what won
    on validation; should another one win, the comparison says on how many splits it was run. Depth
    1 mostly runs at the highest rate: Adam moves a weight by about the rate in an iteration, and
    4000 of them go as far as 40,000 at 5e-4. There are three random 90:10 splits, to stay well
    below an hour.

    Penalties keep their polar factors for some steps, which saves most of their time. Test errors
    on u1, by how many: depth 1 at weight 0.2 after 600 iterations 1.4501 (1), 1.4545 (5), 1.4504
    (10), after 4000 0.9508 (5), 0.9509 (10); embeddings at weight 0.1 on users 0.9455 (1), 0.9454
    (5).
    """

    data: Data = "movielens"
    """The real ratings, or a small drawn table of them."""
    folds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """80:20 splits u1 to u5."""
    draws: tuple[int, ...] = (1, 2, 3)
    """Seeds of random 90:10 splits."""
    held_out: float = 0.05
    """Share of the training rows for validation."""
    matrix_kept: tuple[tuple[str, float, float, Loss, int], ...] = (
        ("adam", 5e-3, 0.2, "mean", 4000),
        ("gd", 1e-5, 1.5, "sum", 600),
        ("adam", 1e-3, 0.0, "mean", 8000),
        ("gd", 1e-5, 0.0, "sum", 600),
    )
    """Depth 1 on all splits: optimiser, rate, weight of the penalty, loss, iterations."""
    matrix_searched: tuple[tuple[str, float, float, Loss, int], ...] = (
        ("adam", 5e-4, 1.5, "sum", 20_000),
        ("adam", 5e-3, 1.5, "sum", 4000),
        ("adam", 5e-3, 1.5, "mean", 4000),
        ("adam", 5e-3, 0.1, "mean", 4000),
        ("adam", 5e-3, 0.05, "mean", 4000),
        ("gd", 5e-3, 0.2, "mean", 600),
        ("gd", 5e-3, 20.0, "mean", 600),
        ("gd", 5e-3, 0.0, "mean", 600),
        ("gd", 1e-3, 0.0, "mean", 600),
        ("adam", 5e-3, 0.0, "mean", 1600),
    )
    """Depth 1 on the first split of either size."""
    bias: Bias = "one"
    """Which biases depth 1 has."""
    std: float = 1e-3
    """Of the initial weights of depth 1."""
    every: int = 50
    """Iterations of depth 1 between two looks at the errors."""
    matrix_renewed: int = 10
    """Iterations of depth 1 for which the penalty's polar factor is kept; 1 computes it at each."""
    embeddings_kept: tuple[tuple[str, float, int, int, float, float], ...] = (
        ("adam", 1e-3, 256, 16, 0.1, 0.0),
        ("adam", 1e-3, 256, 64, 1e-2, 0.0),
        ("gd", 5e-3, 128, 64, 1e-2, 0.0),
        ("adam", 1e-4, 256, 64, 0.0, 0.0),
        ("adam", 5e-4, 256, 64, 0.0, 0.0),
        ("gd", 5e-3, 128, 64, 0.0, 0.0),
    )
    """Embeddings on all splits: optimiser, rate, batch, dimension, weight on users, on items."""
    embeddings_searched: tuple[tuple[str, float, int, int, float, float], ...] = (
        ("adam", 1e-3, 128, 64, 1e-4, 1e-1),
        ("adam", 1e-3, 256, 64, 3e-2, 0.0),
        ("adam", 1e-3, 256, 64, 0.1, 0.0),
        ("adam", 5e-4, 256, 64, 0.1, 0.0),
        ("adam", 1e-3, 256, 64, 0.0, 0.1),
        ("adam", 1e-3, 512, 64, 0.1, 0.0),
        ("adam", 1e-3, 256, 128, 0.1, 0.0),
        ("adam", 5e-4, 256, 16, 0.1, 0.0),
        ("adam", 1e-3, 256, 8, 0.1, 0.0),
        ("adam", 1e-3, 256, 64, 0.0, 0.0),
        ("adam", 1e-3, 256, 16, 0.0, 0.0),
        ("adam", 5e-4, 256, 16, 0.0, 0.0),
        ("adam", 5e-4, 256, 8, 0.0, 0.0),
        ("gd", 5e-3, 256, 64, 0.0, 0.0),
        ("gd", 5e-3, 256, 64, 1e-2, 0.0),
    )
    """Embeddings on the first split of either size."""
    embeddings_renewed: int = 5
    """Batches for which the penalties' polar factors are kept."""
    epochs: int = 100
    """Of the embeddings, at most."""
    seed: int = 0
    """Of starts and orders."""


@register
class Table2(Experiment):
    """Two models, four methods, two sizes of the test set."""

    id = "zhao2022.table2"
    title = "MovieLens 100K: depth 1 with bias and embeddings, with and without penalty"
    precision: ClassVar[Precision] = "float32"
    hours: ClassVar[dict[str, float]] = {"quick": 0.005, "paper": 1.2}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        if scale == "paper":
            return Grid()
        return Grid(
            data="drawn", folds=(1, 2), draws=(1, 2), held_out=0.1, every=20, epochs=10,
            matrix_kept=(
                ("gd", 0.1, 0.0, "mean", 100), ("gd", 0.1, 1.0, "mean", 100),
                ("adam", 1e-2, 0.0, "mean", 400), ("adam", 1e-2, 10.0, "mean", 400),
            ),
            matrix_searched=(("adam", 1e-2, 0.5, "sum", 400), ("adam", 1e-2, 0.1, "mean", 400)),
            embeddings_kept=(
                ("gd", 0.1, 128, 4, 0.0, 0.0), ("gd", 0.1, 128, 4, 1e-2, 0.0),
                ("adam", 2e-2, 128, 4, 0.0, 0.0), ("adam", 2e-2, 128, 4, 0.1, 0.1),
            ),
            embeddings_searched=(("adam", 2e-2, 128, 4, 1e-2, 1e-2),),
        )  # fmt: skip

    def cells(self, grid: Grid) -> list[Run]:
        _check(grid)
        if grid.data == "movielens" and find_spec("neighbors") is None:
            raise ValueError(
                f"the ratings of MovieLens 100K are not installed; {REMEDY}, or take drawn ones: "
                "--data drawn."
            )
        found = list(dict.fromkeys(_expand(grid)))
        for cell in found:
            check(cell)
        return found

    def job(self, cell: Run, precision: Precision) -> Computation:
        return Computation(Trained(cell, precision))

    def plot(self, results: Results) -> Figure:
        chosen = choose(results)
        models = [model for model in get_args(Model) if any(k[0] == model for k in chosen)]
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                1, len(models), figsize=(4.2 * len(models), 3.4), squeeze=False,
                layout="constrained",
            )  # fmt: skip
            for ax, model in zip(axes[0], models, strict=True):
                _draw(ax, model, chosen, choose(results, stopped=True), _real(results))
            figure.legend(
                *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                fontsize=7,
            )  # fmt: skip
        return figure

    def compare(self, results: Results) -> list[Finding]:
        chosen, stopped = choose(results), choose(results, stopped=True)
        found = []
        for (model, percent), printed in PRINTED.items():
            for method, number in zip(METHODS, printed, strict=True):
                if (one := chosen.get((model, percent, method))) is None:
                    continue
                near = abs(one.error - number) <= NEAR * number
                found.append(
                    Finding(
                        f"{_title(model, percent)}, {method}: test RMSE",
                        bool(near) if _real(results) else None,
                        f"{one}; stopped by validation {stopped[model, percent, method]}",
                        printed=number if _real(results) else None,
                        ours=one.error,
                    )
                )
            statement = f"{_title(model, percent)}: Adam with penalty beats Adam without"
            found += _gain(chosen, model, percent, statement)
            found += _gain(stopped, model, percent, f"{statement}, both stopped by validation")
        return found


@dataclass(frozen=True)
class Chosen:
    """The configuration that stands for a cell of the table.

    Attributes:
      cell: its run on the first split.
      errors: test errors by the split's number.
      tried: how many configurations it was chosen from.
      splits: how many splits there are of this size; if there are fewer errors, the search has
        found a configuration that is not among those kept.
    """

    cell: Run
    errors: Mapping[int, float]
    tried: int
    splits: int

    @property
    def error(self) -> float:
        """Mean over the splits."""
        return float(np.mean(list(self.errors.values())))

    def __str__(self) -> str:
        count = len(self.errors)
        spread = f" ± {np.std(list(self.errors.values()), ddof=1):.4f}" if count > 1 else ""
        return (
            f"{self.error:.4f}{spread} over {count} of {self.splits} splits, "
            f"{_configuration(self.cell)}, best of {self.tried}"
        )


Key = tuple[Model, int, str]
"""Model, share of the test set in percent, one of `METHODS`."""


def choose(results: Results, stopped: bool = False) -> dict[Key, Chosen]:
    """For each model, size of the test set and method the best configuration on validation.

    All are compared on the first split of that size that was run.

    Args:
      results: of the cells at hand.
      stopped: errors are those at the least validation error, not at the least training error.
    """
    named = "stopped_" if stopped else ""
    runs: dict[Key, dict[Run, dict[int, Any]]] = {}
    for cell, data in results:
        key = (model_of(cell), cell.split.percent, method_of(cell))
        alone = dataclasses.replace(cell, split=dataclasses.replace(cell.split, number=0))
        runs.setdefault(key, {}).setdefault(alone, {})[cell.split.number] = data
    chosen = {}
    for key, configurations in runs.items():
        numbers = results.grid.draws if key[1] == 10 else results.grid.folds
        there = [n for n in numbers if any(n in by_split for by_split in configurations.values())]
        compared = {
            alone: float(by_split[there[0]][f"{named}validation_rmse"])
            for alone, by_split in configurations.items()
            if there[0] in by_split
        }
        best = min(compared, key=lambda alone: compared[alone])
        errors = {
            number: float(data[f"{named}test_rmse"])
            for number, data in configurations[best].items()
        }
        first = dataclasses.replace(best.split, number=there[0])
        chosen[key] = Chosen(
            dataclasses.replace(best, split=first), errors, len(compared), len(there)
        )
    return chosen


def _check(grid: Grid) -> None:
    if grid.data not in ("movielens", "drawn"):
        raise ValueError(f"data must be movielens or drawn, but it is {grid.data!r}.")
    if not 0 < grid.held_out < 1:
        raise ValueError(f"held_out must be between 0 and 1, but it is {grid.held_out}.")
    for k in grid.folds:
        if k not in (1, 2, 3, 4, 5):
            raise ValueError(f"folds must be 1, 2, 3, 4 or 5, but one is {k}.")
    for seed in grid.draws:
        if seed < 1:
            raise ValueError(f"draws must be at least 1, but one is {seed}.")


def _expand(grid: Grid) -> Iterator[Run]:
    """Long runs first."""
    for kind, (percent, numbers) in itertools.product(
        (Matrix, Embedding), ((10, grid.draws), (20, grid.folds))
    ):
        for k, number in enumerate(numbers):
            split = Split(grid.data, percent, number, grid.held_out)
            if kind is Matrix:
                searched = grid.matrix_searched if k == 0 else ()
                for optimizer, rate, weight, loss, steps in (*grid.matrix_kept, *searched):
                    renewed = grid.matrix_renewed if weight else 1
                    yield Matrix(
                        split, optimizer, rate, weight, renewed, grid.bias, loss, grid.std, steps,
                        grid.every, grid.seed,
                    )  # fmt: skip
            else:
                searched = grid.embeddings_searched if k == 0 else ()
                for configuration in (*grid.embeddings_kept, *searched):
                    renewed = grid.embeddings_renewed if any(configuration[-2:]) else 1
                    yield Embedding(split, *configuration, renewed, grid.epochs, grid.seed)


def _real(results: Results) -> bool:
    return results.grid.data == "movielens"


def _title(model: Model, percent: int) -> str:
    return f"{model}, {100 - percent}:{percent}"


def _configuration(cell: Run) -> str:
    if isinstance(cell, Matrix):
        told = f"rate {cell.rate:g}, {cell.loss} of squares, {cell.steps} iterations"
        return told + (f", weight {cell.weight:g}" if cell.weight else "")
    told = f"rate {cell.rate:g}, batch {cell.batch}, dimension {cell.dimension}"
    for name, weight in (("users", cell.user_weight), ("items", cell.item_weight)):
        told += f", weight {weight:g} on {name}" if weight else ""
    return told


def _gain(
    chosen: Mapping[Key, Chosen], model: Model, percent: int, statement: str
) -> list[Finding]:
    """Whether Adam is better with the penalty, on the splits that both were run on."""
    plain, penalised = (chosen.get((model, percent, method)) for method in ("Adam", "Adam+penalty"))
    if plain is None or penalised is None:
        return []
    both = sorted(set(plain.errors) & set(penalised.errors))
    means = [float(np.mean([one.errors[k] for k in both])) for one in (penalised, plain)]
    wins = sum(penalised.errors[k] < plain.errors[k] for k in both)
    return [
        Finding(
            statement,
            means[0] < means[1] if both else None,
            f"{means[0]:.4f} against {means[1]:.4f} on {len(both)} splits, better on {wins}",
        )
    ]


def _draw(
    ax: Axes, model: Model, chosen: Mapping[Key, Chosen], stopped: Mapping[Key, Chosen], real: bool
) -> None:
    """Test errors over methods: each split a point, the means a bar, the printed one a cross."""
    for k, percent in enumerate((10, 20)):
        colour = gf.plotting.COLOURS[k]
        name: str | None = f"{100 - percent}:{percent}"
        for j, method in enumerate(METHODS):
            if (one := chosen.get((model, percent, method))) is None:
                continue
            labels = [
                name and f"{name}, {what}"
                for what in ("each split", "mean if stopped by validation", "printed")
            ]
            at = j + (-0.18, 0.18)[k]
            errors = np.array(list(one.errors.values()))
            places = at + 0.04 * (np.arange(len(errors)) - (len(errors) - 1) / 2)
            ax.plot(places, errors, "o", color=colour, ms=4, mfc="none", label=labels[0])
            earlier = stopped[model, percent, method].error
            ax.plot(at, earlier, "_", color=colour, ms=14, mew=1.2, label=labels[1])
            if real:
                number = PRINTED[model, percent][j]
                ax.plot(at, number, "x", color="0.5" if k else "black", ms=6, label=labels[2])
            name = None
    ax.set_xticks(range(len(METHODS)), METHODS)
    ax.set(yscale="log", ylabel="test RMSE", title=model, xlim=(-0.5, len(METHODS) - 0.5))
    ticks = [t for t in _TICKS if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_yticks([], minor=True)
