"""Sensing of tensors: dense and rank-one measurements, completion as a case of it, Huber's loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

import gradflow as gf
from gradflow.problems import HuberCompletion, HuberSensing
from tests.helpers import central_gradient, refuses

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
SHAPES = [(3, 2), (2, 3, 2), (2, 2, 3, 2), (2, 1, 2, 2, 2)]
KINDS = {
    "half_sum": lambda a, y: gf.TensorSensing(a, y),
    "mean": lambda a, y: gf.TensorSensing(a, y, loss="mean"),
    "Huber": lambda a, y: HuberSensing(a, y, delta=0.7, loss="mean"),
}


def rows_of(shape, count=5, seed=1):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(count, n)) for n in shape)


def outer(rows):
    """The dense measurements that rows stand for."""
    letters = "abcde"[: len(rows)]
    return np.einsum(",".join(f"m{c}" for c in letters) + f"->m{letters}", *rows)


def cells(shape, count=4, seed=2):
    flat = np.random.default_rng(seed).choice(int(np.prod(shape)), count, replace=False)
    return np.stack(np.unravel_index(flat, shape), axis=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rank_one_measurements_are_those_that_they_stand_for(shape, kind):
    rows, labels = rows_of(shape), RNG.normal(size=5)
    w = jnp.asarray(RNG.normal(size=shape))
    one, dense = (KINDS[kind](a, labels) for a in (rows, outer(rows)))
    assert one.shape == dense.shape == shape and one.observations == dense.observations == 5
    np.testing.assert_allclose(one.measure(w), dense.measure(w), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(one.adjoint(labels), dense.adjoint(labels), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(one.loss(w), dense.loss(w), rtol=1e-12)
    np.testing.assert_allclose(one.gradient(w), dense.gradient(w), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank_one", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_unit_tensors_measure_entries(shape, rank_one):
    where, values = cells(shape), 2 * RNG.normal(size=4)
    units = tuple(np.eye(n)[where[:, k]] for k, n in enumerate(shape))
    units = units if rank_one else outer(units)
    w = jnp.asarray(RNG.normal(size=shape))
    pairs = [
        (gf.TensorSensing(units, values, loss=loss), gf.TensorCompletion(shape, where, values,
                                                                         loss=loss))
        for loss in ("half_sum", "sum", "mean")
    ] + [
        (HuberSensing(units, values, delta=0.5, loss=loss),
         HuberCompletion(shape, where, values, delta=0.5, loss=loss))
        for loss in ("sum", "mean")
    ]  # fmt: skip
    for sensing, completion in pairs:
        np.testing.assert_allclose(sensing.loss(w), completion.loss(w), rtol=1e-13)
        np.testing.assert_allclose(sensing.gradient(w), completion.gradient(w), atol=1e-14)


def test_of_matrices_it_is_matrix_sensing():
    a, y, w = RNG.normal(size=(5, 3, 2)), RNG.normal(size=5), RNG.normal(size=(3, 2))
    one, two = gf.TensorSensing(a, y), gf.MatrixSensing(a, y)
    assert one.loss(w) == two.loss(w)
    np.testing.assert_array_equal(one.gradient(w), two.gradient(w))


def test_of_vectors_it_is_least_squares():
    x, y, w = RNG.normal(size=(5, 3)), RNG.normal(size=5), RNG.normal(size=3)
    wanted = gf.LeastSquares(x, y)
    for problem in (gf.TensorSensing(x, y), gf.TensorSensing((x,), y)):
        np.testing.assert_allclose(problem.loss(w), wanted.loss(w), rtol=1e-14)
        np.testing.assert_allclose(problem.gradient(w), wanted.gradient(w), rtol=1e-13)


@pytest.mark.parametrize("convention", ["sum", "mean"])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_hubers_loss_agrees_with_scipy_and_its_gradient_with_differences(shape, convention):
    rows, labels = rows_of(shape), 2 * RNG.normal(size=5)
    problem, a = HuberSensing(rows, labels, delta=0.7, loss=convention), outer(rows)
    weight = {"sum": 1.0, "mean": 1 / 5}[convention]

    def oracle(x):
        measured = np.einsum("mi,i->m", a.reshape(5, -1), np.ravel(x))
        return weight * np.sum(scipy.special.huber(0.7, measured - labels))

    w = RNG.normal(size=shape)
    assert problem.weight == weight and not problem.twice_differentiable
    np.testing.assert_allclose(problem.loss(w), oracle(w), rtol=1e-13)
    gradient = problem.gradient(jnp.asarray(w))
    np.testing.assert_allclose(gradient, central_gradient(oracle, w), atol=1e-9)
    np.testing.assert_allclose(gradient, jax.grad(problem.loss)(jnp.asarray(w)), atol=1e-13)
    wide = HuberSensing(rows, labels, delta=1e3)
    np.testing.assert_allclose(wide.loss(w), gf.TensorSensing(rows, labels).loss(w), rtol=1e-14)


def test_flows_of_rank_one_and_dense_measurements_agree_one_by_one_and_in_a_batch():
    model = gf.CPTensor((2, 3, 2), 2)
    start, many = model.gaussian(KEY, std=0.5), [rows_of((2, 3, 2), 4, seed) for seed in (3, 4)]
    labels = RNG.normal(size=4)
    options = {"horizon": 2.0, "rtol": 1e-9, "observe": ["product"]}
    objectives = [gf.Objective(gf.TensorSensing(rows, labels), model) for rows in many]
    dense = gf.Objective(gf.TensorSensing(outer(many[1]), labels), model)
    batch = gf.solve_flows(objectives, [start, start], **options)
    alone = gf.solve_flow(dense, start, **options)
    np.testing.assert_allclose(batch[1]["product"][-1], alone["product"][-1], atol=1e-7)
    assert np.linalg.norm(batch[0]["product"][-1] - alone["product"][-1]) > 0.1


def test_a_hierarchical_tensor_is_sensed_robustly_and_the_run_is_stored(tmp_path):
    """One label in ten is grossly wrong: squares are led astray, Huber's loss is not."""
    shape, model = (3, 3, 3), gf.HierarchicalTensor((3, 3, 3), 3)
    truth = gf.synthetic.low_rank_tensor(jax.random.key(5), shape, 1)
    rows = rows_of(shape, 60)
    labels = np.einsum("mabc,abc->m", outer(rows), truth)
    labels[::10] += 20.0
    start = model.random_balanced(KEY, 0.3)
    errors = {}
    for problem in (
        HuberSensing(rows, labels, delta=0.05, loss="mean", truth=truth),
        gf.TensorSensing(rows, labels, loss="mean", truth=truth),
    ):
        run = gf.run_descent(
            gf.Objective(problem, model), start, optax.adam(1e-2), max_steps=3000,
            observe=["test_error"],
        )  # fmt: skip
        errors[type(problem).__name__] = float(run["test_error"][-1])
        if isinstance(problem, HuberSensing):
            again = gf.Trajectory.load(run.save(tmp_path / "run.nc")).config["objective"]
            told = (again["problem"], again["observations"], again["delta"])
            assert told == ("HuberSensing", 60, 0.05)
    assert errors["HuberSensing"] < 0.05 < 1 < errors["TensorSensing"], errors


A, ROWS = RNG.normal(size=(5, 2, 2, 2)), rows_of((2, 2, 2))
NAN = float("nan")
REFUSED = {
    "labels": (
        lambda: gf.TensorSensing(A, [1.0, 2.0]), "5 measurements but 2 labels", "one for each"),
    "labels of rank-one ones": (
        lambda: gf.TensorSensing(ROWS, [1.0, 2.0]), "5 measurements but 2 labels", "one for each"),
    "no measurement": (
        lambda: gf.TensorSensing(np.zeros((0, 2, 2, 2)), []), "no observation", "give some"),
    "no rank-one measurement": (
        lambda: gf.TensorSensing((np.zeros((0, 2)),) * 3, []), "no observation", "give some"),
    "numbers": (lambda: gf.TensorSensing([1.0, 2.0], [1.0, 2.0]), "(2,)", "(m, *shape)"),
    "a tuple of tensors": (
        lambda: gf.TensorSensing(tuple(A), np.ones(5)), "(2, 2, 2)", "as one array (m, *shape)"),
    "an empty tuple": (lambda: gf.TensorSensing((), []), "[]", "for each axis"),
    "rows of two counts": (
        lambda: gf.TensorSensing((*ROWS[:2], ROWS[2][:4]), np.ones(5)), "(4, 2)", "for each axis"),
    "an axis without length": (
        lambda: gf.TensorSensing((*ROWS, np.zeros((5, 0))), np.ones(5)), "(2, 2, 2, 0)",
        "positive integers"),
    "not finite": (
        lambda: gf.TensorSensing((*ROWS[:2], [[1.0, NAN]] * 5), np.ones(5)),
        "measurements[2][0, 1] is nan", "replace"),
    "truth": (
        lambda: gf.TensorSensing(ROWS, np.ones(5), truth=np.ones((2, 2))), "(2, 2)", "must agree"),
    "convention": (lambda: gf.TensorSensing(A, np.ones(5), loss="l1"), "'l1'", "half_sum"),
    "convention of Huber's": (
        lambda: HuberSensing(A, np.ones(5), loss="half_sum"), "'half_sum'", "sum, mean"),
    "delta": (lambda: HuberSensing(A, np.ones(5), delta=-1.0), "-1.0", "above 0"),
    "nuclear norm": (
        lambda: gf.baselines.minimum_nuclear_norm(gf.TensorSensing(A, np.ones(5))),
        "TensorSensing", "MatrixSensing"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
