"""Random flows with default settings: right, or announced; never wrong without a word.

`GRADFLOW_RANDOM_FLOWS` and `GRADFLOW_RANDOM_SEED` choose how many and which; both are printed.
"""

import os
import warnings
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from tests.helpers import product_by_dopri8

COUNT = int(os.environ.get("GRADFLOW_RANDOM_FLOWS", "1000"))
SEED = int(os.environ.get("GRADFLOW_RANDOM_SEED", "0"))
EACH = int(os.environ.get("GRADFLOW_RANDOM_EACH", "20"))
"""Flows of one structure, which share their programs."""
RTOL = 1e-8
PATIENCE = 10_000
"""Steps for a reference."""
MOST = 3_000
"""Steps for a flow: one that creeps says that it has not come to its end."""


def random_problem(rng, shape):
    kind = rng.choice(["completion", "sensing", "regression", "huber", "logistic"])
    cells = np.argwhere(rng.random(shape) < 0.7)
    cells = cells if len(cells) else np.zeros((1, 2), int)
    values = rng.normal(size=len(cells))
    if kind == "sensing":
        a = rng.normal(size=(int(rng.integers(1, 2 * shape[0] + 1)), *shape))
        return gf.MatrixSensing(a, rng.normal(size=len(a)), loss="mean")
    if kind == "regression":
        x, y = (rng.normal(size=(shape[0] + 2, n)) for n in shape)
        return gf.LeastSquares(x, y, loss="mean")
    if kind == "huber":
        return gf.problems.HuberCompletion(shape, cells, values)
    if kind == "logistic":
        return gf.problems.LogisticCompletion(shape, cells, np.sign(values))
    return gf.MatrixCompletion(shape, cells, values)


def random_penalty(rng):
    weight = float(10 ** rng.uniform(-4, -1))
    return rng.choice(
        [
            None, None, None, None, gf.WeightDecay(weight), gf.NuclearNorm(weight),
            gf.SchattenNorm(2.0, weight), gf.NuclearFrobeniusRatio(weight),
        ]
    )  # fmt: skip


def random_start(rng, model):
    """Factors of a scale from 1e-12 to 10: balanced or not, identities among them."""
    scale = float(10 ** rng.uniform(-12, 1))
    key = jax.random.key(int(rng.integers(2**31)))
    kind = rng.choice(["balanced", "gaussian", "identity"])
    if kind == "balanced":
        return model.random_balanced(key, scale)
    if kind == "identity" and len(set(model.sizes)) == 1:
        return model.identity(scale)
    return model.gaussian(key, product_std=scale)


def what_became(objective, start, steps):
    """A word for what a flow gave, and a sentence for one that is wrong.

    It goes to somewhat behind where these first steps end: into a rise, or far into a tail.
    """
    try:
        fall = gf.solve_flow(
            objective, start, stop_gradient=1e-30, max_steps=steps, observe=["loss"]
        )
        horizon = 1.5 * fall.stats["end"]
        flow = gf.solve_flow(
            objective,
            start,
            stop_gradient=1e-30,
            horizon=horizon,
            max_steps=MOST,
            observe=["product"],
        )
    except ValueError:
        return "refused", ""
    if flow.warnings or flow.outcome is not gf.Outcome.REACHED_HORIZON:
        return "announced", ""
    (tight, there), (loose, also) = (
        product_by_dopri8(objective, start, jnp.asarray(horizon), jnp.asarray(rtol), PATIENCE)
        for rtol in (1e-13, 1e-11)
    )
    if not (there and also):
        return "no reference", ""
    size = np.linalg.norm(tight) or 1.0
    own, error = (np.linalg.norm(w - tight) / size for w in (loose, flow["product"][-1]))
    if own > 10 * RTOL:
        return "no reference", ""  # it does not agree with itself
    said = f"{error / RTOL:.0f} rtol at t = {horizon:.3g}, {flow.stats['coordinates']}, {objective}"
    return ("right", "") if error < 100 * RTOL else ("wrong", said)


@pytest.mark.slow
def test_no_flow_is_wrong_without_a_word(capsys):
    rng, found, wrong = np.random.default_rng(SEED), Counter(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(max(COUNT // EACH, 1)):
            shape = tuple(int(n) for n in rng.integers(1, 13, 2))
            hidden = rng.integers(1, 13, int(rng.integers(0, 6)))
            square = (shape[0],) * (len(hidden) + 2)
            sizes = square if rng.random() < 0.4 else (shape[1], *map(int, hidden), shape[0])
            model, penalty = gf.MatrixProduct(sizes), random_penalty(rng)
            problem = random_problem(rng, model.shape)
            for _ in range(min(EACH, COUNT)):
                objective = gf.Objective(problem, model, penalty)
                try:
                    start = random_start(rng, model)
                except ValueError:  # no balanced factors of these sizes
                    start = model.gaussian(jax.random.key(0), product_std=0.1)
                word, said = what_became(objective, start, int(10 ** rng.uniform(1, 2.2)))
                found[word] += 1
                wrong += [said] if word == "wrong" else []
            with capsys.disabled():
                told = f"seed {SEED}, {found.total()} of {COUNT} flows: {dict(found)}"
                print(f"\n{told}", *wrong, sep="\n", flush=True)
    assert not wrong
    assert found["right"] > 0.5 * found.total()
