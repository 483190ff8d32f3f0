"""Adam with the ratio penalty at depth 1: each form of the polar factor, and PyTorch."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

import gradflow as gf
from benchmarks.penalised import RATE, WEIGHT


@cache
def problem(size: int) -> gf.MatrixCompletion:
    """Rank 5, a fifth of the entries observed, mean square 1."""
    made = gf.matrix_completion(
        jax.random.key(0), (size, size), 5, size * size // 5, loss="sum", norm=float(size)
    )
    return gf.astype(made, "float32")


def case(size: int, form: Any) -> tuple[gf.Objective, tuple[Any, ...]]:
    """Objective and start; the start has std 1e-3."""
    model = gf.MatrixProduct.of((size, size), 1)
    penalty = gf.astype(gf.NuclearFrobeniusRatio(WEIGHT, polar=form), "float32")
    start = gf.gaussian_factors(jax.random.key(1), model.sizes, std=1e-3)
    return gf.Objective(problem(size), model, penalty), gf.astype(start, "float32")


def gradflow_run(size: int, form: str) -> Callable[[int], Any]:
    """`run_descent` with its default records."""
    objective, start = case(size, form)

    def run(steps: int) -> Any:
        return gf.run_descent(
            objective, start, gf.optimizers.adam, learning_rate=RATE, steps=steps, stop_loss=1e-30
        )

    return run


def torch_run(size: int) -> Callable[[int], Any]:
    """A minimal PyTorch loop: autograd through svdvals, torch.optim.Adam, no records."""
    import torch

    torch.set_num_threads(1)
    posed, (_, start) = problem(size), case(size, "svd")
    mask, target = (torch.tensor(np.asarray(a)) for a in (posed.mask, posed.target))

    def run(steps: int) -> Any:
        w = torch.tensor(np.asarray(start[0]), requires_grad=True)
        optimizer = torch.optim.Adam([w], lr=RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            values = torch.linalg.svdvals(w)
            loss = (mask * (w - target)).square().sum() + WEIGHT * values.sum() / values.norm()
            loss.backward()
            optimizer.step()
        return w.detach().numpy()

    return run


def trajectories(size: int, steps: int, forms: Sequence[str]) -> list[dict[str, Any]]:
    """The same run by several forms: what each records at some iterations."""
    marks = [mark for mark in (100, 1000, 3000, 10_000, 20_000, 50_000) if mark < steps]
    found = []
    for form in forms:
        objective, start = case(size, form)
        run = gf.run_descent(
            objective, start, gf.optimizers.adam, learning_rate=RATE, steps=steps, record=marks,
            observe=("loss", "mean_squared_error", "effective_rank", "product"),
        )  # fmt: skip
        found.append({
            "form": form, "iteration": run.times.tolist(), "product": run["product"],
            **{
                name: [float(f"{v:.4g}") for v in run[name]]
                for name in ("loss", "mean_squared_error", "effective_rank")
            },
        })  # fmt: skip
    last = found[-1]["product"]
    for row in found:
        apart = row["product"] - last
        size_of = np.linalg.norm(last, axis=(1, 2))
        row["distance_to_last"] = [
            float(f"{v:.2g}") for v in np.linalg.norm(apart, axis=(1, 2)) / size_of
        ]
    for row in found:
        del row["product"]
    return found


def told(rows: list[dict[str, Any]]) -> list[str]:
    """Lines on the trajectories."""
    return [
        f"{row['form']:11} iterations {row['iteration'][1:]}: error {row['mean_squared_error'][1:]}"
        f", effective rank {row['effective_rank'][1:]}, ||W - W_svd|| / ||W_svd|| "
        f"{row['distance_to_last'][1:]}"
        for row in rows
    ]
