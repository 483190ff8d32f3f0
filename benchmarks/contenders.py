"""The same gradient descent four ways: gradflow, PyTorch, a bare JAX loop, bare matrix products."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradflow as gf

Factors = tuple[Any, ...]
NEVER = 1e-30  # a stopping loss that is looked at in each step and not reached


def case(size: int, depth: int, dtype: str) -> tuple[gf.Objective, Factors, float]:
    """Objective, start and learning rate: norm blow-up at 2x2, else rank 5 with 20% observed."""
    if size == 2:
        problem = gf.synthetic.norm_blowup()
        model = gf.MatrixProduct.of(problem.shape, depth)
        start = model.identity(1e-2)
    else:
        shape = (size, size)
        key = jax.random.key(0)
        problem = gf.synthetic.matrix_completion(
            key, shape, min(5, size), size * size // 5, norm=size
        )
        model = gf.MatrixProduct.of(shape, depth)
        start = model.gaussian(jax.random.key(1), product_std=1e-2)
    objective = gf.Objective(problem, model)
    return gf.astype(objective, dtype), gf.astype(start, dtype), 1e-3


def gradflow_run(objective: gf.Objective, start: Factors, rate: float) -> Callable[[int], Factors]:
    """`run_descent` with the default records and a stopping loss."""

    def run(steps: int) -> Factors:
        trajectory = gf.run_descent(
            objective, start, optax.sgd, learning_rate=rate, max_steps=steps, stop_loss=NEVER
        )
        if trajectory.stats["steps"] != steps or not np.isfinite(trajectory["loss"][-1]):
            raise RuntimeError(f"The run to be timed ended early: {trajectory!r}")
        return tuple(trajectory.final.values())

    return run


@partial(jax.jit, static_argnames="steps")
def _bare_loop(objective: gf.Objective, start: Factors, rate: Any, steps: int) -> Factors:
    def step(_: Any, factors: Factors) -> Factors:
        gradient = objective.gradient(factors)
        return tuple(p - rate * g for p, g in zip(factors, gradient, strict=True))

    return jax.lax.fori_loop(0, steps, step, start)


def bare_run(objective: gf.Objective, start: Factors, rate: float) -> Callable[[int], Factors]:
    """The same step in one compiled loop that records nothing and never stops."""
    rate = jnp.asarray(rate, start[0].dtype)

    def run(steps: int) -> Factors:
        return jax.block_until_ready(_bare_loop(objective, start, rate, steps))

    return run


@partial(jax.jit, static_argnames=("products", "steps"))
def _products(x: Any, q: Any, products: int, steps: int) -> Any:
    def step(_: Any, x: Any) -> Any:
        for _ in range(products):
            x = x @ q  # each needs the one before: none can be skipped, moved or run beside it
        return x

    return jax.lax.fori_loop(0, steps, step, x)


def products_run(size: int, depth: int, dtype: str) -> Callable[[int], Any]:
    """Only a step's matrix products: N - 1 forward and 2 (N - 1) backward, one after the other.

    Raises:
      RuntimeError: if the compiled loop does less arithmetic than that.
    """
    random = np.random.default_rng(0).standard_normal((size, size))
    q = jnp.asarray(np.linalg.qr(random)[0], dtype)  # orthogonal: nothing grows or underflows
    count = 3 * (depth - 1)
    compiled = _products.lower(q, q, count, 1000).compile()
    flops = compiled.cost_analysis()["flops"]  # of the loop's body, counted once
    if flops < 2 * size**3 * count * 0.999:
        raise RuntimeError(f"XLA kept {flops} operations of {2 * size**3 * count}.")

    def run(steps: int) -> Any:
        return jax.block_until_ready(_products(q, q, count, steps))

    return run


def torch_run(objective: gf.Objective, start: Factors, rate: float) -> Callable[[int], Factors]:
    """A minimal PyTorch loop: autograd, no stop test, no records."""
    import torch

    torch.set_num_threads(1)
    mask = torch.tensor(np.asarray(objective.problem.mask, start[0].dtype))
    target = torch.tensor(np.asarray(objective.problem.target))

    def run(steps: int) -> Factors:
        factors = [torch.tensor(np.asarray(f), requires_grad=True) for f in start]
        for _ in range(steps):
            w = factors[0]
            for factor in factors[1:]:
                w = factor @ w
            loss = 0.5 * (mask * (w - target)).square().sum()
            gradients = torch.autograd.grad(loss, factors)
            with torch.no_grad():
                for factor, gradient in zip(factors, gradients, strict=True):
                    factor -= rate * gradient
        return tuple(factor.detach().numpy() for factor in factors)

    return run


def check_agreement(runs: dict[str, Callable[[int], Factors]], start: Factors, steps: int) -> float:
    """Compare the factors after some steps, all against the first contender's.

    Returns:
      The largest relative difference of a factor, in the Frobenius norm.

    Raises:
      RuntimeError: if it exceeds 1e-4 (float32) or 1e-10 (float64), or the factors did not move.
    """
    tolerance = 1e-4 if start[0].dtype == np.float32 else 1e-10
    results = {name: [np.asarray(f) for f in run(steps)] for name, run in runs.items()}
    first, *others = results.values()
    moved = max(_distance(a, np.asarray(b)) for a, b in zip(first, start, strict=True))
    worst = max(_distance(b, a) for other in others for a, b in zip(first, other, strict=True))
    if not moved > 10 * tolerance:
        raise RuntimeError(f"After {steps} steps the factors moved by {moved:.1e} only.")
    if not worst <= tolerance:
        raise RuntimeError(
            f"After {steps} steps {', '.join(results)} differ by {worst:.1e}, "
            f"more than {tolerance:.0e}."
        )
    return worst


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
