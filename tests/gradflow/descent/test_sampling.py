"""Minibatches and noise on labels: NumPy, draws, batches, resumed runs; misuse."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.descent import Sampling
from gradflow.descent import batch as batches
from gradflow.dynamics.sampling import sampled
from gradflow.trajectory import Trajectory
from tests.gradflow.descent.problems import OBJECTIVE, PROBLEM, START
from tests.helpers import in_mode, refuses

KEY = jax.random.key(7)
N = PROBLEM.observations
ROWS, COLUMNS = np.asarray(PROBLEM.indices).T
VALUES = np.asarray(PROBLEM.values)
ASKED = {"learning_rate": 0.03, "max_steps": 40, "record": [1, 9, 25], "observe": ["loss"]}
SAMPLINGS = {
    "independent": Sampling(batch=3, draw="independent"),
    "subset": Sampling(batch=3),
    "epoch": Sampling(batch=3, draw="epoch"),
    "labels": Sampling(label_noise=0.3),
    "both": Sampling(batch=5, draw="independent", label_noise=0.3),
}
descend = partial(gf.run_descent, OBJECTIVE, START, gf.optimizers.gd)


def numpy_gradients(factors, drawn):
    """Observation by observation."""
    a, b, c = factors
    w, g = c @ b @ a, np.zeros((4, 3))
    pushes = np.zeros(len(drawn.places)) if drawn.pushes is None else drawn.pushes
    for place, weight, push in zip(drawn.places, drawn.weights, pushes, strict=True):
        at = ROWS[place], COLUMNS[place]
        g[at] += weight * (w[at] - VALUES[place]) - push
    return [(c @ b).T @ g, c.T @ g @ a.T, g @ (b @ a).T]


@pytest.mark.parametrize("case", SAMPLINGS)
def test_forty_iterations_agree_with_a_loop_in_numpy(case):
    sampling = SAMPLINGS[case]
    run = descend(sampling=sampling, key=KEY, **ASKED)
    draw = jax.jit(lambda count: sampling.drawn(OBJECTIVE, KEY, count, float))
    factors = [np.asarray(f) for f in START]
    for count in range(40):
        drawn = jax.tree.map(np.asarray, draw(count))
        slopes = numpy_gradients(factors, drawn)
        factors = [f - 0.03 * g for f, g in zip(factors, slopes, strict=True)]
    for k, factor in enumerate(factors, start=1):
        np.testing.assert_allclose(run.final[f"W_{k}"], factor, rtol=1e-11, atol=1e-13)
    # What is recorded is the loss of all observations.
    w = factors[2] @ factors[1] @ factors[0]
    loss = 0.5 * np.sum((w[ROWS, COLUMNS] - VALUES) ** 2)
    np.testing.assert_allclose(run["loss"][-1], loss, rtol=1e-11)


def draws_of(sampling, count):
    return jax.vmap(lambda k: sampling.drawn(OBJECTIVE, KEY, k, float))(jnp.arange(count))


def test_draws_are_what_they_are_called():
    independent, subset, epoch = (draws_of(SAMPLINGS[name], 60) for name in list(SAMPLINGS)[:3])
    repeated = [len(set(row.tolist())) < 3 for row in independent.places]
    assert 5 < sum(repeated) < 40  # with replacement: 1 - (7/8)(6/8) of all
    assert all(len(set(row.tolist())) == 3 for row in subset.places)
    for drawn in (independent, subset):
        counts = np.bincount(np.ravel(drawn.places), minlength=N)
        assert counts.min() > 5
        np.testing.assert_allclose(drawn.weights, N / 3)
    for k in range(20):  # three batches an epoch: 3, 3 and 2 of 8
        rows, weights = epoch.places[3 * k : 3 * k + 3], epoch.weights[3 * k : 3 * k + 3]
        seen = np.asarray(rows)[np.asarray(weights) > 0]
        assert sorted(seen.tolist()) == list(range(N))
        np.testing.assert_allclose(weights.sum(axis=1), N)
    assert len({tuple(row.tolist()) for row in epoch.places[::3]}) > 10  # another order each time
    labels = draws_of(SAMPLINGS["labels"], 400).pushes
    assert abs(np.std(labels) - 0.3) < 0.02  # 3200 numbers: three deviations are 0.011
    assert abs(np.mean(labels)) < 0.02


def test_the_spread_of_gradients_is_its_closed_form():
    """Of subsets: `sampled_variance`; independent draws have no finite-population factor."""
    keys = jnp.arange(3000)
    factor = (N - 1) / (N - 3)
    wanted = gf.dynamics.sampled_variance(OBJECTIVE, START, 3)
    for name, share in (("subset", 1.0), ("independent", factor)):
        sampling = SAMPLINGS[name]

        @jax.jit
        def gradients(keys, sampling=sampling):
            return jax.vmap(
                lambda k: sampled(OBJECTIVE, START, sampling.drawn(OBJECTIVE, KEY, k, float))[1]
            )(keys)

        for found, mean, variance in zip(
            gradients(keys), OBJECTIVE.gradient(START), wanted, strict=True
        ):
            error = np.sqrt(np.asarray(variance) * share / len(keys))
            assert np.all(np.abs(found.mean(axis=0) - mean) < 5 * error + 1e-12)
            np.testing.assert_allclose(found.var(axis=0), share * variance, rtol=0.15)


@pytest.mark.parametrize(("case", "mode"), [("epoch", "map"), ("both", "vmap")])
def test_draws_are_the_same_in_parts_in_batches_and_in_chunks(case, mode, monkeypatch, tmp_path):
    in_mode(monkeypatch, mode)
    asked = ASKED | {"sampling": SAMPLINGS[case]}
    keys = jax.random.split(KEY, 3)
    batch = partial(gf.run_descents, OBJECTIVE, optimizer=gf.optimizers.adam)
    whole = batch([START] * 3, key=keys, **asked)
    assert len({float(run["loss"][-1]) for run in whole}) == 3
    half = batch([START] * 3, key=keys, **asked | {"max_steps": 17})
    half = [Trajectory.load(run.save(tmp_path / f"{k}.nc")) for k, run in enumerate(half)]
    rest = batch(half, key=keys, **asked)
    monkeypatch.setattr(batches, "_FIRST_BUDGET", 3)
    monkeypatch.setattr(batches, "_grow", lambda *_: 5)
    chunked = batch([START] * 3, key=keys, **asked)
    for one, other, short in zip(whole, rest, chunked, strict=True):
        for name, wanted in one.final.items():
            np.testing.assert_array_equal(other.final[name], wanted)
            np.testing.assert_array_equal(short.final[name], wanted)
    alike = batch([START] * 3, key=keys[1], **asked)
    for run in alike:
        assert run.config == whole[1].config
        np.testing.assert_array_equal(run.final["W_1"], whole[1].final["W_1"])


def test_a_run_that_goes_on_with_other_draws_sees_them_at_once():
    asked = ASKED | {"sampling": SAMPLINGS["subset"]}
    first = descend(key=KEY, **asked | {"max_steps": 10})
    other = jax.random.key(8)
    run = gf.run_descent(OBJECTIVE, first, gf.optimizers.gd, key=other, **asked | {"max_steps": 11})
    factors = tuple(jnp.asarray(f) for f in first.final.values())
    drawn = SAMPLINGS["subset"].drawn(OBJECTIVE, other, jnp.asarray(10), float)
    slopes = sampled(OBJECTIVE, factors, drawn)[1]
    for name, factor, slope in zip(run.final, factors, slopes, strict=True):
        np.testing.assert_allclose(run.final[name], factor - 0.03 * slope, rtol=1e-12)


def test_the_stopping_loss_is_that_of_all_observations():
    asked = ASKED | {"max_steps": 3000, "sampling": SAMPLINGS["epoch"], "stop_loss": 0.05}
    run = descend(key=KEY, **asked)
    assert run.outcome is gf.Outcome.REACHED_LOSS
    assert run["loss"][-1] <= 0.05 < run["loss"][-2]
    before = descend(key=KEY, **asked | {"max_steps": int(run.times[-1]) - 1})
    assert before.outcome is gf.Outcome.OUT_OF_STEPS
    # A run without a stopping loss carries the batch's; taken up, it is held against the whole one.
    part = descend(key=KEY, **asked | {"max_steps": 20, "stop_loss": None})
    rest = gf.run_descent(OBJECTIVE, part, gf.optimizers.gd, key=KEY, **asked)
    assert rest.times[-1] == run.times[-1]
    np.testing.assert_array_equal(rest.final["W_1"], run.final["W_1"])


# Other problems

RANDOM = np.random.default_rng(1)
X, Y = RANDOM.normal(size=(7, 3)), RANDOM.normal(size=(7, 2))
THIN = gf.MatrixProduct((3, 2, 4))
THIN_START = THIN.gaussian(jax.random.key(3), std=0.7)
KINDS = {
    "rows of least squares": (gf.LeastSquares(X, Y), gf.MatrixProduct((2, 3, 3))),
    "sensing": (gf.MatrixSensing(RANDOM.normal(size=(6, 4, 3)), RANDOM.normal(size=6)), THIN),
    "mean": (gf.MatrixCompletion((4, 3), PROBLEM.indices, VALUES, loss="mean"), THIN),
}


@pytest.mark.parametrize("case", KINDS)
def test_gradients_of_other_losses_are_those_of_a_smaller_problem(case):
    problem, model = KINDS[case]
    objective = gf.Objective(problem, model, gf.WeightDecay(0.1))
    start = model.gaussian(jax.random.key(2), std=0.5)
    n = problem.label_shape[0]
    sampling = Sampling(batch=4, label_noise=0.2)
    drawn = sampling.drawn(objective, KEY, jnp.asarray(3), float)
    at, shifts = np.asarray(drawn.places), np.asarray(drawn.pushes) * 4 / n
    assert shifts.shape == (4, *problem.label_shape[1:])
    if case == "sensing":
        part = gf.MatrixSensing(problem.measurements[at], problem.labels[at] + shifts)
    elif case == "mean":
        part = gf.MatrixCompletion((4, 3), problem.indices[at], VALUES[at] + shifts)
    else:
        part = gf.LeastSquares(X[at], Y[at] + shifts)
    scale = n / 4 * (2 / n if case == "mean" else 1)
    loss, slopes = jax.jit(sampled)(objective, start, drawn)
    small = gf.Objective(part, model)
    decay = gf.Objective(problem, model, gf.WeightDecay(0.1)).penalty.gradient(start)
    np.testing.assert_allclose(loss, scale * small.loss(start), rtol=1e-12)
    for found, wanted, own in zip(slopes, small.gradient(start), decay, strict=True):
        np.testing.assert_allclose(found, scale * wanted + own, rtol=1e-11, atol=1e-13)
    whole = sampled(objective, start, drawn, whole_loss=True)[0]
    np.testing.assert_allclose(whole, objective.loss(start), rtol=1e-12)


def test_thin_products_that_are_never_formed_see_the_same():
    sparse = gf.problems.SparseCompletion((4, 3), PROBLEM.indices, VALUES)
    dense = gf.MatrixCompletion((4, 3), sparse.indices, sparse.values)
    objectives = [gf.Objective(one, THIN, gf.WeightDecay(0.01)) for one in (dense, sparse)]
    drawn = SAMPLINGS["both"].drawn(objectives[1], KEY, jnp.asarray(2), float)
    see = jax.jit(partial(sampled, factors=THIN_START, drawn=drawn))
    (loss, slopes), (other, others) = (see(one) for one in objectives)
    np.testing.assert_allclose(other, loss, rtol=1e-12)
    for found, wanted in zip(others, slopes, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)
    # In float32, too: the precisions stay what they are.
    objective, start = gf.astype((objectives[1], THIN_START), jnp.float32)
    run = gf.run_descent(
        objective, start, gf.optimizers.gd, sampling=SAMPLINGS["both"], key=KEY, **ASKED
    )
    assert run.final["W_1"].dtype == run["loss"].dtype == np.float32
    assert run["loss"][-1] < run["loss"][0]


def test_another_noise_is_data_and_compiles_nothing_again():
    for kind in (Sampling, partial(gf.dynamics.MinibatchNoise, 0.1)):
        one, other, none, larger = (
            jax.tree.structure(kind(batch, label_noise=noise))
            for batch, noise in ((3, 0.1), (3, 0.2), (3, 0.0), (4, 0.1))
        )
        assert one == other
        assert one not in (none, larger)  # without labels, with larger batches


BATCH = Sampling(batch=3)
REFUSED = {
    "no key": ({"sampling": BATCH}, "it is None", "jax.random.key(0)"),
    "a number as key": ({"sampling": BATCH, "key": 0}, "it is 0", "jax.random.key(0)"),
    "several generators": (
        {"sampling": BATCH, "key": [jax.random.key(0, impl=one) for one in ("rbg", "unsafe_rbg")]},
        "key<urbg>", "of one generator"),
    "keys of keys": ({"sampling": BATCH, "key": [jax.random.split(KEY)]}, "[Array", "one axis"),
    "no numbers of a key": (
        {"sampling": BATCH, "key": np.zeros(3, np.uint32)}, "array([0, 0, 0]", "random.key(0)"),
    "a key alone": ({"key": KEY}, "nothing is drawn", "Sampling(batch=32)"),
    "keys": ({"sampling": BATCH, "key": jax.random.split(KEY)}, "2 keys", "or one for all"),
    "a number": ({"sampling": 3, "key": KEY}, "but it is 3", "Sampling(batch=...)"),
    "too many": ({"sampling": Sampling(batch=9), "key": KEY}, "observations, 8, not 9", "at most"),
    "gradient": (
        {"sampling": BATCH, "key": KEY, "stop_gradient": 0.1}, "stop_gradient = 0.1",
        "leave one of them away"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    asked, value, remedy = REFUSED[case]
    refuses(lambda: descend(**ASKED | asked), value, remedy)


def test_samplings_and_objectives_that_are_none_are_refused():
    refuses(Sampling, "the whole gradient", "give a batch")
    refuses(lambda: Sampling(batch=0), "batch", "at least 1, but it is 0")
    refuses(lambda: Sampling(batch=2, draw="shuffle"), "'shuffle'", "independent, subset, epoch")
    refuses(lambda: Sampling(label_noise=-0.1), "label_noise", "but it is -0.1")
    huber = gf.problems.HuberCompletion((4, 3), PROBLEM.indices, VALUES)
    run = partial(gf.run_descent, sampling=BATCH, key=KEY, max_steps=5)
    refuses(
        lambda: run(gf.Objective(huber, THIN), THIN_START, gf.optimizers.gd, learning_rate=0.1),
        "HuberCompletion is none", "MatrixCompletion",
    )  # fmt: skip
    refuses(lambda: run(OBJECTIVE, START, optax.polyak_sgd()), "value", "choose another one")
