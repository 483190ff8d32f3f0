"""Linear classification: SciPy's softmax, digits of small losses, margins, a descent, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import gradflow as gf
from gradflow.problems import Classification
from tests.helpers import central_gradient, refuses

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.normal(size=(7, 3)), np.array([0, 1, 2, 0, 1, 3, 3])
PROBLEM = Classification(INPUTS, LABELS)


def test_the_loss_is_the_mean_cross_entropy():
    w = RNG.normal(size=(4, 3))
    wanted = -np.mean(log_softmax(INPUTS @ w.T, axis=1)[np.arange(7), LABELS])
    np.testing.assert_allclose(PROBLEM.loss(w), wanted, rtol=1e-14)
    np.testing.assert_allclose(
        PROBLEM.gradient(jnp.asarray(w)), central_gradient(PROBLEM.loss, w), atol=1e-9
    )


@pytest.mark.parametrize("size", [1.0, 30.0, 600.0])
def test_small_losses_keep_their_digits(size):
    """Of two data in one dimension it is ln(1 + e^-2s), with gradient -+1 / (1 + e^2s)."""
    problem = Classification([[1.0], [-1.0]], [0, 1])
    w = size / 2 * jnp.array([[1.0], [-1.0]])
    np.testing.assert_allclose(problem.loss(w), np.log1p(np.exp(-size)), rtol=1e-13)
    share = np.exp(-size) / (1 + np.exp(-size))
    np.testing.assert_allclose(problem.gradient(w).ravel(), [-share, share], rtol=1e-13)
    naive = jax.grad(lambda w: -jnp.mean(jax.nn.log_softmax(problem.inputs @ w.T)[(0, 1), (0, 1)]))
    lost = abs(float(naive(w)[0, 0]) / share + 1)
    assert lost < 1e-13 if size == 1 else lost > 1e-4


def test_second_derivatives_are_those_of_the_gradient():
    """Solvers with a Jacobian need them, and the own class's -infinity must not get in."""
    w = jnp.asarray(RNG.normal(size=(4, 3)))
    found, step = jax.hessian(PROBLEM.loss)(w), 1e-5
    for k in np.ndindex(4, 3):
        move = jnp.zeros((4, 3)).at[k].set(step)
        wanted = (PROBLEM.gradient(w + move) - PROBLEM.gradient(w - move)) / (2 * step)
        np.testing.assert_allclose(found[k], wanted, atol=1e-9)


def test_margins():
    w = RNG.normal(size=(4, 3))
    scores = INPUTS @ w.T
    wanted = [s[y] - max(np.delete(s, y)) for s, y in zip(scores, LABELS, strict=True)]
    np.testing.assert_allclose(PROBLEM.margins(w), wanted, rtol=1e-13)
    assert min(wanted) < 0 < max(wanted)


def test_a_descent_separates_what_can_be_separated():
    problem = Classification(np.vstack([np.eye(3), 2 * np.eye(3)]), [0, 1, 2, 0, 1, 2])
    objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=1))
    run = gf.run_descent(
        objective, jnp.zeros((3, 3)), gf.optimizers.gd, learning_rate=0.5, max_steps=200
    )
    assert np.all(np.diff(run["loss"]) < 0)
    assert np.min(problem.margins(jnp.asarray(run.final["W_1"]))) > 1


REFUSED = {
    "a half": (lambda: Classification(np.eye(2), [0, 0.5]), "labels", "0 to 0.5"),
    "below 0": (lambda: Classification(np.eye(2), [0, -1]), "labels", "-1 to 0"),
    "too large": (lambda: Classification(np.eye(2), [0, 2], classes=2), "from 0 to 1", "0 to 2"),
    "one class": (lambda: Classification(np.eye(2), [0, 0]), "needs no classifier", "classes"),
    "numbers": (lambda: Classification(np.eye(2), [0, 1, 1]), "2 inputs", "3 labels"),
    "none": (lambda: Classification(np.zeros((0, 2)), []), "no observation", "inputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    refuses(*REFUSED[case])
