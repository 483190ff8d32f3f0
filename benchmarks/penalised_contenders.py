"""Adam with the ratio penalty at depth 1: each form of the polar factor, and PyTorch."""

import itertools
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

import gradflow as gf
from benchmarks.penalised import RATE, WEIGHT
from gradflow.linalg.spectrum import effective_rank


@cache
def problem(size: int) -> gf.MatrixCompletion:
    """Rank 5, a fifth of the entries observed, mean square 1."""
    made = gf.synthetic.matrix_completion(
        jax.random.key(0), (size, size), 5, size * size // 5, loss="sum", norm=float(size)
    )
    return gf.astype(made, "float32")


def case(size: int, form: Any) -> tuple[gf.Objective, tuple[Any, ...]]:
    """Objective and start; the start has std 1e-3."""
    model = gf.MatrixProduct.of((size, size), 1)
    penalty = gf.astype(gf.NuclearFrobeniusRatio(WEIGHT, polar=form), "float32")
    start = model.gaussian(jax.random.key(1), std=1e-3)
    return gf.Objective(problem(size), model, penalty), gf.astype(start, "float32")


def gradflow_run(size: int, form: str) -> Callable[[int], Any]:
    """`run_descent` with its default records."""
    objective, start = case(size, form)

    def run(steps: int) -> Any:
        return gf.run_descent(
            objective,
            start,
            gf.optimizers.adam,
            learning_rate=RATE,
            max_steps=steps,
            stop_loss=1e-30,
        )

    return run


def torch_run(size: int) -> Callable[..., dict[int, np.ndarray]]:
    """A minimal PyTorch loop: autograd through svdvals, torch.optim.Adam, no records."""
    import torch

    torch.set_num_threads(1)
    posed, (_, start) = problem(size), case(size, "svd")
    mask, target = (torch.tensor(np.asarray(a)) for a in (posed.mask, posed.target))

    def run(steps: int, marks: Sequence[int] = ()) -> dict[int, np.ndarray]:
        w = torch.tensor(np.asarray(start[0]), requires_grad=True)
        optimizer = torch.optim.Adam([w], lr=RATE)
        kept, ends = {}, [0, *marks, steps]
        for first, last in itertools.pairwise(ends):
            kept[first] = w.detach().numpy().copy()
            for _ in range(last - first):
                optimizer.zero_grad()
                values = torch.linalg.svdvals(w)
                loss = (mask * (w - target)).square().sum() + WEIGHT * values.sum() / values.norm()
                loss.backward()
                optimizer.step()
        return kept | {steps: w.detach().numpy()}

    return run


def trajectories(size: int, steps: int, forms: Sequence[str]) -> list[dict[str, Any]]:
    """The same run by several forms: what each records at some iterations, and its seconds.

    Args:
      size: d of the d x d matrix.
      steps: iterations.
      forms: of the polar factor, "svd" among them; or "torch".

    Returns:
      A row a form: the processor time (compilation included), and by iteration what is in its name.
      "distance_to_svd" is ||W - W_svd||_F / ||W_svd||_F.
    """
    powers = (10**k * digit for k in range(2, 9) for digit in (1, 2, 5))
    marks = [mark for mark in powers if mark < steps]
    found, products = [], {}
    for form in forms:
        busy = time.process_time()
        products[form] = (_torch_products if form == "torch" else _products)(
            size, steps, form, marks
        )
        busy = time.process_time() - busy
        found.append({"form": form, "processor_seconds": float(f"{busy:.4g}")})
    posed, reference = problem(size), products["svd"]
    for row in found:
        w = products[row["form"]].astype(float)
        apart = np.linalg.norm(w - reference, axis=(1, 2)) / np.linalg.norm(reference, axis=(1, 2))
        values = {
            "loss": [float(np.sum((posed.mask * (x - posed.target)) ** 2)) for x in w],
            "mean_squared_error": np.mean((w - np.asarray(posed.truth)) ** 2, axis=(1, 2)),
            "effective_rank": [effective_rank(x) for x in w],
            "distance_to_svd": apart,
        }
        row["iteration"] = [0, *marks, steps]
        row |= {name: [float(f"{v:.4g}") for v in of] for name, of in values.items()}
    return found


def _products(size: int, steps: int, form: str, marks: Sequence[int]) -> np.ndarray:
    objective, start = case(size, form)
    return gf.run_descent(
        objective, start, gf.optimizers.adam, learning_rate=RATE, max_steps=steps, record=marks,
        stop_loss=1e-30, observe=("product",),
    )["product"]  # fmt: skip


def _torch_products(size: int, steps: int, _: str, marks: Sequence[int]) -> np.ndarray:
    return np.stack(list(torch_run(size)(steps, marks).values()))


def told(rows: list[dict[str, Any]]) -> list[str]:
    """Lines on the trajectories: where each ends, and how far from the SVD's it ever was."""
    return [
        f"{row['form']:11} {row['processor_seconds']:7.1f} s for {row['iteration'][-1]:,} "
        f"iterations: loss {row['loss'][-1]:.2e}, error {row['mean_squared_error'][-1]:.3e}, "
        f"effective rank {row['effective_rank'][-1]:.3f}; ||W - W_svd|| / ||W_svd|| at the end "
        f"{row['distance_to_svd'][-1]:.1e}, at most {max(row['distance_to_svd']):.1e}"
        for row in rows
    ]
