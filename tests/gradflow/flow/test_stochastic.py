"""Flows with noise: closed forms, covariances, strong orders, the descents they model; misuse."""

import itertools
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.descent import Sampling
from gradflow.dynamics import Langevin, MinibatchNoise
from gradflow.dynamics.sampling import sampled
from tests.gradflow.descent.problems import OBJECTIVE as DEEP
from tests.gradflow.descent.problems import PROBLEM, START
from tests.helpers import refuses

CURVATURES = np.array([1.0, 2.0, 4.0])
QUADRATIC = gf.Objective(
    gf.LeastSquares(np.diag(np.sqrt(CURVATURES)), np.zeros((3, 2))), gf.MatrixProduct((2, 3))
)
KEYS = jax.random.split(jax.random.key(0), 256)
SEEDS = {"horizon": 4.0, "step": 0.0625, "record": [1.0], "observe": ["loss", "product"]}


@pytest.fixture(scope="module", name="cooled")
def _cooled():
    """Langevin's equation at a quadratic: 256 seeds, two columns each."""
    runs = gf.solve_sdes(QUADRATIC, (np.full((3, 2), 0.5),), Langevin(0.3), KEYS, **SEEDS)
    return np.concatenate([run["product"] for run in runs], axis=2), runs


def spread(products, k):
    """The variances of each row over seeds and columns, at a record."""
    return np.var(products[k], axis=1)


def agrees(found, wanted, count):
    """Whether variances of so many Gaussian numbers are the wanted ones, to four deviations."""
    return np.all(np.abs(found / wanted - 1) < 4 * np.sqrt(2 / count))


def test_langevin_comes_to_its_stationary_variance_and_no_twin_does(cooled):
    products, _ = cooled
    count = products.shape[2]
    stationary = 0.3 / CURVATURES
    late = stationary * (1 - np.exp(-2 * CURVATURES * 4.0))
    early = stationary * (1 - np.exp(-2 * CURVATURES * 1.0))
    assert agrees(spread(products, 2), late, count)
    assert agrees(spread(products, 1), early, count)
    np.testing.assert_allclose(  # and the mean falls as the flow's does
        np.mean(products[1], axis=1), 0.5 * np.exp(-CURVATURES), atol=4 * np.sqrt(0.3 / count)
    )
    for wrong in (0.3 / 2, 0.3 * 2, 0.3 * 1.5):  # sqrt(T), 2 sqrt(T), and a temperature of 0.45
        assert not agrees(spread(products, 2), wrong / CURVATURES, count)
    hot = gf.solve_sdes(QUADRATIC, (np.full((3, 2), 0.5),), Langevin(0.45), KEYS, **SEEDS)
    twin = np.concatenate([run["product"] for run in hot], axis=2)
    assert agrees(spread(twin, 2), 1.5 * late, count)
    assert not agrees(spread(twin, 2), late, count)


def test_seeds_are_trajectories(cooled):
    _, runs = cooled
    assert runs[0].times.tolist() == [0.0, 1.0, 4.0]
    assert runs[0].outcome is gf.Outcome.REACHED_HORIZON
    assert runs[0].stats["steps"] == 64
    assert runs[0].config["noise"]["name"] == "langevin"
    assert runs[0].config["key"] != runs[1].config["key"]
    back = gf.solve_sdes(QUADRATIC, (np.full((3, 2), 0.5),), Langevin(0.3), KEYS[::-1], **SEEDS)
    assert back[-6].config == runs[5].config
    np.testing.assert_allclose(back[-6]["product"], runs[5]["product"], rtol=1e-11, atol=1e-14)
    np.testing.assert_array_equal(runs[5].final["W_1"], runs[5]["product"][-1])


# Strong orders: the same Brownian motions in steps of h and half of it

ORDERS = {
    "additive": (Langevin(0.05), None, 1.5),
    "of minibatches": (MinibatchNoise(0.02, 2, label_noise=0.5), None, 0.5),
    "additive, of order 1": (Langevin(0.05), diffrax.SEA(), 1.0),
}


@pytest.mark.parametrize(
    "case",
    [
        "of minibatches",
        pytest.param("additive", marks=pytest.mark.slow),
        pytest.param("additive, of order 1", marks=pytest.mark.slow),
    ],
)
def test_half_the_step_leaves_the_error_that_the_order_says(case):
    """Root mean squares over seeds of the distance between ends of steps h and h/2."""
    noise, solver, order = ORDERS[case]
    start, ends = tuple(0.5 * f for f in START), []
    for count in (8, 16, 32, 64):
        runs = gf.solve_sdes(
            DEEP, start, noise, KEYS[:64], horizon=0.25, step=0.25 / count, observe=["product"],
            record=[0.25], solver=solver,
        )  # fmt: skip
        ends.append(np.stack([run["product"][-1] for run in runs]))
    errors = [np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.pairwise(ends)]
    slope = np.log2(errors[0] / errors[-1]) / 2
    assert abs(slope - order) < 0.2, errors  # measured: 1.58, 0.58, 1.01


def test_half_the_step_at_a_quadratic_leaves_a_quarter_of_the_error(cooled):
    """Where the drift is linear, ShARK's order is 2; by the program of the other seeds."""
    ends = []
    for step in (0.125, 0.0625, 0.03125):
        asked = SEEDS | {"horizon": 1.0, "record": [0.5], "step": step}
        runs = gf.solve_sdes(QUADRATIC, (np.full((3, 2), 0.5),), Langevin(0.3), KEYS, **asked)
        ends.append(np.stack([run["product"][-1] for run in runs]))
    first, second = (np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.pairwise(ends))
    assert abs(np.log2(first / second) - 2) < 0.35  # measured: 2.28, then 2.10, 2.06, 2.04


# The covariance of minibatches

LABELS = {"subset": (3, "subset", 0.0), "independent": (2, "independent", 0.0),
          "labels": (None, "subset", 0.4), "both": (3, "independent", 0.4)}  # fmt: skip


def contributions(objective, factors):
    """The gradient of each observation's loss, and of what it measures, a row each."""
    problem = objective.problem

    def measured(factors):
        w = objective.product(factors)
        return w[tuple(problem.indices.T)]

    slopes = np.concatenate(
        [np.asarray(j).reshape(problem.observations, -1) for j in jax.jacrev(measured)(factors)],
        axis=1,
    )
    residual = np.asarray(measured(factors) - problem.values)
    return 2 * problem.weight * residual[:, None] * slopes, 2 * problem.weight * slopes


@pytest.mark.parametrize("case", LABELS)
def test_the_noise_has_the_covariance_of_batches(case):
    batch, draw, noisy = LABELS[case]
    noise = MinibatchNoise(0.1, batch, draw, noisy)
    operator = noise.operator(DEEP, START)
    each, of_labels = contributions(DEEP, START)
    n = len(each)
    b = n if batch is None else batch
    left = 1.0 if draw == "independent" else (n - b) / (n - 1)
    centred = each - each.mean(axis=0)
    wanted = n / b * (left * centred.T @ centred + noisy**2 * of_labels.T @ of_labels)
    shapes = noise.motions(DEEP, START)
    units = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    columns = []
    for name in units:
        apply = jax.jit(jax.vmap(lambda e, name=name: operator.mv(units | {name: e})))
        columns.append(np.hstack([np.asarray(f).reshape(n, -1) for f in apply(jnp.eye(n))]))
    root = np.vstack(columns)
    found = root.T @ root
    np.testing.assert_allclose(found, 0.1 * wanted, atol=1e-12 * np.abs(found).max())
    if case == "subset":  # the closed form that was there before, of its diagonal
        diagonal = np.concatenate(
            [np.ravel(v) for v in gf.dynamics.sampled_variance(DEEP, START, batch)]
        )
        np.testing.assert_allclose(np.diag(found), 0.1 * diagonal, rtol=1e-10)
    if case == "both":  # and what batches that are drawn have

        def drawn(k):
            sampling = Sampling(batch, draw, noisy)
            slopes = sampled(DEEP, START, sampling.drawn(DEEP, KEYS[0], k, float))[1]
            return jnp.concatenate([jnp.ravel(f) for f in slopes])

        seen = np.cov(np.asarray(jax.jit(jax.vmap(drawn))(jnp.arange(3000))).T)
        assert np.linalg.norm(seen - wanted) < 0.1 * np.linalg.norm(wanted)


@pytest.mark.slow
def test_the_flow_models_the_descent():
    """Means and variances of the loss after the same time, from the same start, over seeds."""
    rate, time = 0.01, 1.0
    keys = KEYS[:64]
    runs = gf.solve_sdes(
        DEEP, START, MinibatchNoise(rate, 1), keys, horizon=time, step=rate, record=[time],
        observe=["loss"],
    )  # fmt: skip
    descents = gf.run_descents(
        DEEP, [START] * 64, gf.optimizers.gd, learning_rate=rate, max_steps=round(time / rate),
        record=[1], observe=["loss"], sampling=Sampling(1), key=keys,
    )  # fmt: skip
    one, other = (np.array([run["loss"][-1] for run in kind]) for kind in (runs, descents))
    plain = gf.solve_flow(DEEP, START, horizon=time, observe=["loss"])["loss"][-1]
    error = np.hypot(one.std(), other.std()) / 8
    assert abs(one.mean() - other.mean()) < 4 * error + 0.05 * abs(other.mean())
    assert 0.7 < one.std() / other.std() < 1.4
    assert other.std() > 0.02 * plain  # there is something to model


# Stops, other problems, misuse


def test_a_seed_stops_after_the_first_step_that_is_there():
    runs = gf.solve_sdes(
        DEEP, START, MinibatchNoise(0.02, 3), KEYS[:6], horizon=60.0, step=0.02, stop_loss=0.1,
        record=[2.0, 10.0], observe=[],
    )  # fmt: skip
    assert list(runs[0].observables) == ["loss"]  # nothing else was asked
    ends = {run.stats["end"] for run in runs}
    assert len(ends) > 3
    for run in runs:
        assert run.outcome is gf.Outcome.REACHED_LOSS
        assert run["loss"][-1] <= 0.1 < run["loss"][-2]
        np.testing.assert_allclose(run.stats["end"] / 0.02, run.stats["steps"], rtol=1e-9)


def test_a_thin_product_that_is_never_formed_has_the_same_noise():
    sparse = gf.problems.SparseCompletion((4, 3), PROBLEM.indices, PROBLEM.values)
    dense = gf.MatrixCompletion((4, 3), sparse.indices, sparse.values)
    model = gf.MatrixProduct((3, 2, 4))
    start = model.gaussian(jax.random.key(1), std=0.5)
    noise = MinibatchNoise(0.1, 3, label_noise=0.2)
    operators = [noise.operator(gf.Objective(p, model), start) for p in (dense, sparse)]
    moved = {"draws": jnp.arange(8.0), "labels": jnp.ones(8)}
    for found, wanted in zip(operators[1].mv(moved), operators[0].mv(moved), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-14)


solve = partial(gf.solve_sdes, DEEP, START)
REFUSED = {
    "no noise": (lambda: solve(0.1, KEYS[0], step=0.1, horizon=1.0), "but it is 0.1", "Langevin"),
    "no key": (lambda: solve(Langevin(1.0), 3, step=0.1, horizon=1.0), "it is 3", "random.key(0)"),
    "no end": (lambda: solve(Langevin(1.0), KEYS[0], step=0.1), "Nothing ends", "give horizon"),
    "no step": (
        lambda: solve(Langevin(1.0), KEYS[0], step=0.0, horizon=1.0), "step", "but it is 0.0"),
    "too many steps": (
        lambda: solve(Langevin(1.0), KEYS[0], step=1e-3, horizon=1.0, max_steps=99),
        "max_steps is 99", "give a longer step"),
    "falling": (
        lambda: solve(Langevin(1.0), KEYS[0], step=0.1, record=[2.0, 1.0]), "[2.0, 1.0]", "rise"),
    "no times": (
        lambda: solve(Langevin(1.0), KEYS[0], step=0.1, record=[]), "it begins []", "rise"),
    "another sense": (
        lambda: solve(MinibatchNoise(0.1, 2), KEYS[0], step=0.1, horizon=1.0,
                      solver=diffrax.Heun()), "Heun", "diffrax.Euler()"),
    "too large": (
        lambda: solve(MinibatchNoise(0.1, 9), KEYS[0], step=0.1, horizon=1.0), "8, not 9", "most"),
    "float32": (
        lambda: gf.solve_sdes(*gf.astype((DEEP, START), jnp.float32), Langevin(1.0), KEYS[0],
                              step=0.1, horizon=1.0), "float32", "gradflow.run_descent"),
    "cold": (lambda: Langevin(0.0), "temperature", "above 0, but it is 0.0"),
    "rate": (lambda: MinibatchNoise(0.0, 2), "rate", "above 0, but it is 0.0"),
    "epochs": (lambda: MinibatchNoise(0.1, 2, "epoch"), "'epoch'", "'independent'"),
    "all": (lambda: MinibatchNoise(0.1), "all observations", "give a batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    refuses(*REFUSED[case])


def test_an_option_that_is_needed_is_named():
    with pytest.raises(TypeError, match=r"solve_sdes\(\) needs step="):
        solve(Langevin(1.0), KEYS[0], horizon=1.0)


@pytest.mark.parametrize(
    ("step", "solver", "told"),
    [
        (0.02, diffrax.Euler(), False),
        (0.05, diffrax.Euler(), True),
        (0.1, None, False),
        (0.25, None, True),
    ],
)
def test_steps_that_are_long_beside_the_curvature_are_told(step, solver, told):
    start, asked = (np.full((3, 2), 0.5),), {"horizon": 1.0, "step": step, "solver": solver}
    runs = gf.solve_sdes(QUADRATIC, start, Langevin(0.3), KEYS[:2], **asked)
    for run in runs:
        assert bool(run.warnings) == told == any("shorten step" in said for said in run.warnings)
        if told:
            assert f"{4 * step:.2g} times its shortest time scale (0.25" in run.warnings[0]


def test_steps_that_records_cut_short_are_not_told_of():
    start, asked = (np.full((3, 2), 0.5),), {"horizon": 0.3, "step": 10.0, "record": [0.1, 0.2]}
    runs = gf.solve_sdes(QUADRATIC, start, Langevin(0.3), KEYS[:2], **asked)
    assert not any(run.warnings for run in runs) and runs[0].stats["steps"] == 3
