"""Losses given as functions: gradients, data as arguments, batches, precision, refusals."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import baselines
from gradflow._util.provenance import describe
from gradflow.problems import AbstractProblem, HuberCompletion, LossFunction
from tests.helpers import central_gradient, refuses

RNG = np.random.default_rng(0)
TARGET = jnp.asarray(2 * RNG.normal(size=(2, 2)))
EVERY = list(np.ndindex(2, 2))
MODEL = gf.MatrixProduct((2, 2, 2))
START = MODEL.identity(0.3)


def quartic(w, target):
    return jnp.sum((w - target) ** 4)


def test_the_gradient_is_by_differentiation():
    problem, w = LossFunction((2, 2), quartic, TARGET), RNG.normal(size=(2, 2))
    np.testing.assert_allclose(problem.loss(w), np.sum((w - TARGET) ** 4), rtol=1e-14)
    wanted = central_gradient(problem.loss, w)
    np.testing.assert_allclose(problem.gradient(jnp.asarray(w)), wanted, atol=1e-9)
    loss, gradient = problem.loss_and_gradient(jnp.asarray(w))
    assert loss == problem.loss(w)
    np.testing.assert_array_equal(gradient, problem.gradient(jnp.asarray(w)))
    assert problem.truth is None


def test_one_line_is_the_problem_that_is_there_already():
    """Huber by optax against the closed form, through a flow and a descent."""
    one_line = LossFunction(
        (2, 2), lambda w: jnp.sum(optax.losses.huber_loss(w - TARGET)), twice_differentiable=False
    )
    closed = HuberCompletion((2, 2), EVERY, TARGET.ravel())
    runs = []
    for problem in (one_line, closed):
        objective = gf.Objective(problem, MODEL)
        flow = gf.solve_flow(objective, START, horizon=3.0, observe=["loss", "product"])
        descent = gf.run_descent(
            objective,
            START,
            optax.sgd,
            learning_rate=0.1,
            max_steps=30,
            observe=["loss", "product"],
        )
        runs.append([flow, descent])
    for found, wanted in zip(*runs, strict=True):
        assert len(found) == len(wanted)
        for name in ("loss", "product"):
            # The same sums in another order, along a flow that amplifies a little.
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, atol=1e-12)


def test_data_are_arguments_so_that_batches_may_have_their_own():
    objectives = [gf.Objective(LossFunction((2, 2), quartic, k * TARGET), MODEL) for k in (1, 2)]
    options = {"learning_rates": 0.01, "steps": 20, "observe": ["product"]}
    together = gf.run_descents(objectives, [START, START], optax.sgd, **options)
    for objective, found in zip(objectives, together, strict=True):
        (alone,) = gf.run_descents([objective], [START], optax.sgd, **options)
        np.testing.assert_array_equal(found["product"], alone["product"])
    assert not np.allclose(together[0]["product"][-1], together[1]["product"][-1])
    first, second = (describe(one) for one in objectives)
    assert first["function"] == "quartic"
    assert first["data_sha256"] != second["data_sha256"]


def test_functions_that_differ_do_not_go_into_one_batch():
    two = [LossFunction((2, 2), lambda w, k=k: k * jnp.sum(w**2)) for k in (1, 2)]
    with pytest.raises(ValueError, match=r"objectives\[1\] is not like objectives\[0\]"):
        gf.run_descents(
            [gf.Objective(p, MODEL) for p in two], [START] * 2, optax.sgd, max_steps=3,
            learning_rate=0.1,
        )  # fmt: skip


def test_the_loss_has_the_precision_of_w():
    w = jnp.ones((2, 2), jnp.float32)
    closed_over = LossFunction((2, 2), lambda w: quartic(w, TARGET))
    converted = gf.astype(LossFunction((2, 2), quartic, TARGET), jnp.float32)
    for problem in (closed_over, converted):
        loss, gradient = problem.loss_and_gradient(w)
        assert loss.dtype == gradient.dtype == jnp.float32
    run = gf.run_descent(
        gf.Objective(converted, MODEL), gf.astype(START, jnp.float32), optax.sgd,
        learning_rate=0.01, max_steps=3,
    )  # fmt: skip
    assert run["loss"].dtype == np.float32


def test_a_partial_function_says_what_it_fixes():
    def power(w, target, p):
        return jnp.sum(jnp.abs(w - target) ** p)

    problem = LossFunction((2, 2), functools.partial(power, p=3), TARGET, truth=TARGET)
    assert describe(gf.Objective(problem, MODEL))["function"].endswith("power(p=3)")
    np.testing.assert_array_equal(problem.truth, TARGET)


def test_a_gradient_in_closed_form_is_taken_where_it_is_given():
    class Absolute(AbstractProblem):
        @property
        def shape(self):
            return (2,)

        def loss(self, w):
            return jnp.sum(jnp.abs(w))

        def gradient(self, w):
            return 0.5 * jnp.sign(w)

    _, gradient = Absolute().loss_and_gradient(jnp.array([1.0, -2.0]))
    np.testing.assert_array_equal(gradient, [0.5, -0.5])


@dataclasses.dataclass
class Scaled:
    factor: float

    def __call__(self, w):
        return self.factor * jnp.sum(w**2)


POSED = gf.Objective(LossFunction((2, 2), quartic, TARGET), MODEL)
REFUSED = {
    "no function": (lambda: LossFunction((2, 2), TARGET), "function must be a function", "*data"),
    "not hashable": (
        lambda: LossFunction((2, 2), Scaled(2.0)), "Scaled(factor=2.0)", "*data"),
    "a vector": (lambda: LossFunction((2, 2), lambda w: w[0]), "float64[2]", "sum over"),
    "an integer": (
        lambda: LossFunction((2, 2), lambda w: jnp.sum(w > 0)), "int64[]", "one real number"),
    "shape": (lambda: LossFunction((2, 0), lambda w: 0.0), "(2, 0)", "positive integers"),
    "truth": (
        lambda: LossFunction((2, 2), quartic, TARGET, truth=[1.0]), "(1,)", "must agree"),
    "no problem": (lambda: gf.Objective(quartic, MODEL), "quartic", "LossFunction"),
    "no factorisation": (
        lambda: gf.Objective(POSED.problem, (2, 2)), "(2, 2)", "gradflow.MatrixProduct"),
    "SoftImpute": (
        lambda: baselines.soft_impute(POSED.problem, weight=0.1), "LossFunction", "Completion"),
    "nuclear norm": (
        lambda: baselines.minimum_nuclear_norm(POSED.problem), "LossFunction", "Completion"),
    "variance": (
        lambda: gf.dynamics.sampled_variance(POSED, START, 1), "LossFunction", "as arrays"),
    "closed form": (
        lambda: gf.exact.aligned_flow(POSED, START, [1.0]), "LossFunction", "solve_flow"),
    "no truth": (
        lambda: gf.run_descent(POSED, START, optax.sgd(0.1), max_steps=1, observe=["test_error"]),
        "no ground truth", "truth="),
    "not a completion": (
        lambda: gf.solve_flow(POSED, START, horizon=1.0, observe=["unobserved_entries"]),
        "LossFunction", "record something else"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
