"""Descents as functions of arrays: what the engine gives, derivatives by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.descent import descend
from tests.helpers import central_gradient, refuses

PROBLEM = gf.synthetic.norm_blowup()
MODEL = gf.MatrixProduct((2, 2, 2))
OBJECTIVE = gf.Objective(PROBLEM, MODEL)
START = MODEL.gaussian(jax.random.key(0), std=0.3)


@pytest.mark.parametrize("steps", [1, 2, 31, 36])
def test_iterations_are_those_of_the_engine(steps):
    found = jax.jit(lambda rate: descend(OBJECTIVE, START, gf.optimizers.adam(rate), steps))(0.05)
    run = gf.run_descent(OBJECTIVE, START, gf.optimizers.adam, learning_rate=0.05, max_steps=steps)
    assert not found.diverged
    for k, factor in enumerate(found.factors, start=1):
        np.testing.assert_allclose(factor, run.final[f"W_{k}"], rtol=1e-14)


def rank_after(at):
    """Of the rate, the start's scale, the penalty's weight and the data."""
    objective = gf.Objective(PROBLEM.with_values(at[3:]), MODEL, gf.WeightDecay(at[2]))
    start = jax.tree.map(lambda factor: at[1] * factor, START)
    factors = descend(objective, start, gf.optimizers.adam(at[0]), 31).factors
    return gf.linalg.effective_rank(objective.product(factors))


def test_derivatives_agree_with_differences_and_with_each_other():
    at = jnp.array([0.05, 1.0, 0.02, 1.0, 1.0, 0.0])
    reverse, forwards = jax.jit(lambda at: (jax.grad(rank_after)(at), jax.jacfwd(rank_after)(at)))(
        at
    )
    wanted = central_gradient(jax.jit(rank_after), at, step=2e-4)
    np.testing.assert_allclose(reverse, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    np.testing.assert_allclose(reverse, forwards, rtol=1e-11, atol=1e-13)


def test_a_descent_goes_on_from_its_state_side_by_side():
    optimizer = gf.optimizers.adam(0.05)

    @jax.jit
    @jax.vmap
    def both(start):
        half = descend(OBJECTIVE, start, optimizer, 7)
        whole = descend(OBJECTIVE, start, optimizer, 20)
        return descend(OBJECTIVE, half.factors, optimizer, 13, state=half.state), whole

    rest, whole = both(jax.tree.map(lambda factor: jnp.stack([factor, 2 * factor]), START))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), rest, whole)


def test_a_descent_that_diverges_says_so():
    assert descend(OBJECTIVE, START, optax.sgd(1e3), 12).diverged


@pytest.mark.parametrize(
    ("start", "steps", "value", "remedy"),
    [
        (START, 0, "0", "steps must be a whole number of at least 1"),
        (START[:1], 3, "((2, 2),)", "W_1, the one that acts first"),
        (gf.astype(START, jnp.float32), 3, "float32", "gradflow.astype"),
    ],
)
def test_misuse_is_refused_by_value_and_remedy(start, steps, value, remedy):
    refuses(lambda: descend(OBJECTIVE, start, optax.sgd(0.1), steps), value, remedy)
