"""Objectives of own parts, in a few lines each: both engines, batches, storage."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.factorizations import AbstractFactorization
from gradflow.penalties import AbstractParameterPenalty, AbstractPenalty
from gradflow.problems import AbstractProblem
from tests.helpers import flow_by_scipy, refuses

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 4, 3))


class Quartic(AbstractProblem):
    target: jax.Array
    power: int = eqx.field(static=True, default=4)

    @property
    def shape(self):
        return self.target.shape

    def loss(self, w):
        return jnp.sum((w - self.target) ** self.power)


class Outer(AbstractFactorization):
    """W = u v^T from two vectors."""

    rows: int = eqx.field(static=True)
    columns: int = eqx.field(static=True)

    @property
    def shape(self):
        return (self.rows, self.columns)

    @property
    def factor_shapes(self):
        return ((self.rows,), (self.columns,))

    def product(self, factors):
        return jnp.outer(*factors)


class Sum(AbstractPenalty):
    weight: float

    def value(self, w):
        return self.weight * jnp.sum(w) ** 2


class LastAlone(AbstractParameterPenalty):
    weight: float

    def value(self, factors):
        return self.weight * jnp.sum(factors[-1] ** 4)


MODEL = Outer(4, 3)
START = MODEL.gaussian(jax.random.key(0), std=0.5)


def velocity(target, on_w, on_last):
    """The same flow in NumPy, differentiated by hand."""

    def of(factors):
        u, v = factors
        w = np.outer(u, v)
        g = 4 * (w - target) ** 3 + 2 * on_w * np.sum(w)
        return -(g @ v), -(g.T @ u) - 4 * on_last * v**3

    return of


PENALTIES = {"on W": (Sum(0.1), 0.1, 0.0), "on the parameters": (LastAlone(0.2), 0.0, 0.2)}


@pytest.mark.parametrize("name", PENALTIES)
def test_own_parts_flow_as_in_scipy_and_are_stored(name, tmp_path):
    penalty, on_w, on_last = PENALTIES[name]
    objective = gf.Objective(Quartic(jnp.asarray(A)), MODEL, penalty)
    observe = ["loss", "penalty", "value", "singular_values"]
    flow = gf.solve_flow(objective, START, horizon=1.0, rtol=1e-10, observe=observe)
    wanted = flow_by_scipy(velocity(A, on_w, on_last), START, 1.0)
    for k, factor in enumerate(wanted, 1):
        np.testing.assert_allclose(flow.final[f"W_{k}"], factor, atol=1e-8)
    np.testing.assert_allclose(flow["value"], flow["loss"] + flow["penalty"], rtol=1e-14)
    assert np.all(np.diff(flow["value"]) < 0)
    again = gf.Trajectory.load(flow.save(tmp_path / "flow.nc"))
    np.testing.assert_array_equal(again["loss"], flow["loss"])
    assert again.config["objective"] == flow.config["objective"]
    described = again.config["objective"]
    assert (described["problem"], described["power"]) == ("Quartic", 4)
    assert described["factorization_fields"] == {"rows": 4, "columns": 3}
    assert described["penalty"] == {"kind": type(penalty).__name__, "weight": penalty.weight}


@pytest.mark.parametrize("name", PENALTIES)
def test_own_parts_descend_as_optax_does_and_in_batches(name):
    penalty = PENALTIES[name][0]
    objectives = [gf.Objective(Quartic(jnp.asarray(t)), MODEL, penalty) for t in (A, B)]
    runs = gf.run_descents(
        objectives, [START, START], optax.adam, learning_rate=0.01, max_steps=20, stop_loss=1e-9
    )
    one = gf.run_descent(objectives[1], START, optax.adam, learning_rate=0.01, max_steps=20)
    np.testing.assert_allclose(runs[1]["loss"], one["loss"], rtol=1e-13)
    factors, rule = START, optax.adam(0.01)
    state = rule.init(factors)
    step = jax.jit(jax.grad(objectives[1].value))
    for _ in range(20):
        change, state = rule.update(step(factors), state)
        factors = optax.apply_updates(factors, change)
    for k, factor in enumerate(factors, 1):
        np.testing.assert_allclose(runs[1].final[f"W_{k}"], factor, rtol=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_own_penalties_are_smooth(name):
    objective = gf.Objective(Quartic(jnp.asarray(A)), MODEL, PENALTIES[name][0])
    assert objective.smooth(START)
    assert not objective.crossed(START, tuple(-f for f in START), 1e-8)
    gradient = jax.grad(objective.value)(START)
    for found, wanted in zip(objective.gradient(START), gradient, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_penalty_on_an_array_of_any_order_may_be_an_own_one():
    problem = gf.TensorCompletion((2, 2, 2), [[0, 0, 0]], [1.0])
    objective = gf.Objective(problem, gf.CPTensor((2, 2, 2), 1), Sum(0.5))
    ones = tuple(jnp.ones((2, 1)) for _ in range(3))
    assert objective.penalty_at(ones) == 32.0


def test_a_number_that_differs_is_seen_in_the_description():
    first, second = (
        gf.run_descent(
            gf.Objective(Quartic(jnp.asarray(A), power), MODEL), START, optax.sgd(1e-3), max_steps=1
        ).config["objective"]
        for power in (4, 6)
    )
    assert first["data_sha256"] == second["data_sha256"]
    assert first != second


REFUSED = {
    "identity": (lambda: MODEL.identity(1.0), "identity start", "gaussian(key"),
    "balanced": (lambda: MODEL.balanced(jnp.eye(4)), "balanced factors", "its factors"),
    "random": (lambda: MODEL.random_balanced(jax.random.key(0), 1.0), "balanced", "gaussian(key"),
    "nearest": (lambda: MODEL.nearest_balanced(START), "balanced", "as they are"),
    "unbalancedness": (lambda: MODEL.unbalancedness(START), "unbalancedness", "of your own"),
    "formula": (
        lambda: MODEL.gaussian(jax.random.key(0), product_std=1.0), "formula", "std=..."),
    "both": (
        lambda: MODEL.gaussian(jax.random.key(0), std=1.0, product_std=2.0), "1.0 and 2.0",
        "exactly one"),
    "no std": (lambda: MODEL.gaussian(jax.random.key(0), std=0.0), "0.0", "above 0"),
    "an array as the start": (
        lambda: gf.solve_flow(gf.Objective(Quartic(jnp.eye(4)[:, :3]), MODEL), A, horizon=1.0),
        "Outer", "its factors"),
    "observed unbalancedness": (
        lambda: gf.run_descent(gf.Objective(Quartic(jnp.asarray(A)), MODEL), START,
                               optax.sgd(0.1), max_steps=1, observe=["unbalancedness"]),
        "Outer", "of your own"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_factorisation_has_not_is_refused_with_a_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
