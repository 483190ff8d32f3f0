"""Problems: losses and gradients against plain sums, and refusals of bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from tests.helpers import central_gradient, refuses

RNG = np.random.default_rng(0)
ENTRIES = np.array([[0, 0], [0, 3], [1, 1], [2, 0], [2, 2]])
CELLS = np.array([[0, 0, 1], [1, 2, 0], [0, 1, 1]])
A = RNG.normal(size=(5, 3, 2))
X = RNG.normal(size=(6, 3))
A_TENSOR = RNG.normal(size=(4, 2, 3, 2))
ROWS = tuple(RNG.normal(size=(4, n)) for n in (2, 3, 2))
FOUR_ROWS = tuple(RNG.normal(size=(3, n)) for n in (2, 3, 1, 2))
FACTOR = {"half_sum": lambda n: 0.5, "sum": lambda n: 1.0, "mean": lambda n: 1 / n}


def completion_residuals(w, values):
    return [w[tuple(at)] - b for at, b in zip(ENTRIES, values, strict=True)]


def tensor_residuals(w, values):
    return [w[tuple(at)] - b for at, b in zip(CELLS, values, strict=True)]


def sensing_residuals(w, values):
    return [np.trace(a.T @ w) - b for a, b in zip(A, values, strict=True)]


def tensor_sensing_residuals(w, values):
    return [np.sum(a * w) - b for a, b in zip(A_TENSOR, values, strict=True)]


def rank_one_residuals(w, values):
    return [
        float(np.einsum("ijk,i,j,k", w, *(rows[i] for rows in ROWS))) - b
        for i, b in enumerate(values)
    ]


def rank_one_residuals_of_order_four(w, values):
    return [
        float(np.einsum("ijkl,i,j,k,l", w, *(rows[i] for rows in FOUR_ROWS))) - b
        for i, b in enumerate(values)
    ]


def regression_residuals(w, values):
    return [float(X[i] @ w) - values[i] for i in range(6)]


def multiple_residuals(w, values):
    return [float(X[i] @ w[:, k]) - values[i, k] for i in range(6) for k in range(2)]


# kind -> (constructor of values and further arguments, shape of the values, shape of W, residuals)
KINDS = {
    "matrix completion": (
        lambda v, **kw: gf.MatrixCompletion((3, 4), ENTRIES, v, **kw),
        (5,), (3, 4), completion_residuals,
    ),
    "tensor completion": (
        lambda v, **kw: gf.TensorCompletion((2, 3, 2), CELLS, v, **kw),
        (3,), (2, 3, 2), tensor_residuals,
    ),
    "sensing": (lambda v, **kw: gf.MatrixSensing(A, v, **kw), (5,), (3, 2), sensing_residuals),
    "tensor sensing": (
        lambda v, **kw: gf.TensorSensing(A_TENSOR, v, **kw),
        (4,), (2, 3, 2), tensor_sensing_residuals,
    ),
    "rank-one sensing": (
        lambda v, **kw: gf.TensorSensing(ROWS, v, **kw), (4,), (2, 3, 2), rank_one_residuals,
    ),
    "rank-one sensing, order 4": (
        lambda v, **kw: gf.TensorSensing(FOUR_ROWS, v, **kw),
        (3,), (2, 3, 1, 2), rank_one_residuals_of_order_four,
    ),
    "regression": (lambda v, **kw: gf.LeastSquares(X, v, **kw), (6,), (3,), regression_residuals),
    "regression, two targets": (
        lambda v, **kw: gf.LeastSquares(X, v, **kw), (6, 2), (3, 2), multiple_residuals,
    ),
}  # fmt: skip


@pytest.fixture(params=KINDS, name="kind")
def _kind(request):
    return KINDS[request.param]


def sample(kind, seed=1):
    make, count, shape, residuals = kind
    rng = np.random.default_rng(seed)
    return make, rng.normal(size=count), rng.normal(size=shape), residuals


@pytest.mark.parametrize("convention", FACTOR)
def test_loss_is_the_plain_sum_of_squares(kind, convention):
    make, values, w, residuals = sample(kind)
    r = np.array(residuals(w, values))
    wanted = FACTOR[convention](r.size) * np.sum(r**2)
    # A dozen additions: round-off only.
    np.testing.assert_allclose(make(values, loss=convention).loss(w), wanted, rtol=1e-13)


def test_half_sum_is_the_default_convention(kind):
    make, values, w, residuals = sample(kind)
    np.testing.assert_allclose(
        make(values).loss(w), 0.5 * np.sum(np.array(residuals(w, values)) ** 2), rtol=1e-13
    )


@pytest.mark.parametrize("convention", FACTOR)
def test_gradient_agrees_with_differentiation_and_with_differences(kind, convention):
    make, values, w, residuals = sample(kind)
    problem = make(values, loss=convention)
    gradient = problem.gradient(jnp.asarray(w))
    np.testing.assert_allclose(gradient, jax.grad(problem.loss)(jnp.asarray(w)), atol=1e-13)

    def oracle(x):
        r = np.array(residuals(x, values))
        return FACTOR[convention](r.size) * np.sum(r**2)

    # Central differences of a quadratic are exact for any step: only round-off is left.
    np.testing.assert_allclose(gradient, central_gradient(oracle, w, step=1.0), atol=1e-12)


def test_loss_and_gradient_is_both(kind):
    make, values, w, _ = sample(kind)
    problem = make(values, loss="mean")
    loss, gradient = problem.loss_and_gradient(jnp.asarray(w))
    assert loss == problem.loss(w)
    np.testing.assert_array_equal(gradient, problem.gradient(w))


def test_adjoint_is_the_transpose_of_the_measurement(kind):
    make, values, w, _ = sample(kind)
    problem = make(values)
    zero = problem.residual(jnp.zeros_like(w))
    measured = problem.residual(jnp.asarray(w)) - zero
    r = jnp.asarray(np.random.default_rng(2).normal(size=measured.shape))
    r = r if r.shape != w.shape else r * (measured != 0)  # dense residuals live on observed places
    np.testing.assert_allclose(jnp.sum(measured * r), jnp.sum(w * problem.adjoint(r)), rtol=1e-12)


def test_truth_is_kept_and_a_problem_made_from_it_is_fitted_by_it(kind):
    make, values, w, residuals = sample(kind)
    made = np.reshape(residuals(w, np.zeros_like(values)), values.shape)
    problem = make(made, truth=w)
    np.testing.assert_array_equal(problem.truth, w)
    assert problem.loss(problem.truth) < 1e-28  # squares of round-off
    assert make(values).truth is None


def test_shape_and_observations(kind):
    make, values, w, residuals = sample(kind)
    problem = make(values)
    assert problem.shape == w.shape
    assert problem.observations == len(residuals(w, values))


def test_completion_keeps_what_was_given():
    values = RNG.normal(size=5)
    problem = gf.MatrixCompletion((3, 4), ENTRIES, values)
    np.testing.assert_array_equal(problem.indices, ENTRIES)
    np.testing.assert_array_equal(problem.values, values)
    assert int(jnp.sum(problem.mask)) == 5
    np.testing.assert_array_equal(np.asarray(problem.target)[tuple(ENTRIES.T)], values)


@pytest.mark.parametrize("made", [gf.MatrixCompletion, gf.problems.HuberCompletion])
def test_a_completion_problem_takes_other_values_under_a_trace(made):
    options = {"delta": 1.0} if made is gf.problems.HuberCompletion else {}
    at, w = [[0, 1], [2, 0]], jnp.arange(6.0).reshape(3, 2)
    first, second = (made((3, 2), at, values, **options) for values in ([1.0, 2.0], [0.5, 9.0]))
    loss = jax.jit(lambda values: first.with_values(values).loss(w))
    assert loss(second.values) == second.loss(w)
    np.testing.assert_array_equal(first.with_values(second.values).target, second.target)
    slopes = -second.gradient(w)[tuple(second.indices.T)]  # of the loss in what is observed
    np.testing.assert_allclose(jax.grad(loss)(second.values), slopes)


@pytest.mark.parametrize(
    "kind", [gf.MatrixCompletion, gf.TensorCompletion, gf.problems.HuberCompletion]
)
def test_masked_values_are_not_observed(kind):
    given = np.ma.array([1.0, 9.0, -1.0], mask=[False, True, False])
    problem = kind((3, 4), np.nonzero(np.eye(3, 4)), given)
    assert problem.indices.tolist() == [[0, 0], [2, 2]]
    assert problem.target[1, 1] == problem.mask[1, 1] == 0
    assert problem.loss(np.diag([1.0, 5.0, -1.0, 0.0])[:3]) == 0


def test_a_masked_label_of_a_sensing_problem_is_refused():
    with pytest.raises(ValueError, match=r"labels has 1 masked entries.*leave these out"):
        gf.MatrixSensing(A[:2], np.ma.array([1.0, 2.0], mask=[False, True]))


def test_a_single_observation_of_a_single_entry():
    problem = gf.MatrixCompletion((1, 1), [[0, 0]], [3.0], loss="mean")
    assert problem.loss(jnp.ones((1, 1))) == 4.0
    assert problem.gradient(jnp.ones((1, 1))).item() == -4.0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_astype_converts_floats_only(kind, dtype):
    make, values, w, _ = sample(kind)
    problem = make(values, truth=w, loss="mean")
    converted = gf.astype(problem, dtype)
    assert converted.truth.dtype == dtype
    assert converted.gradient(jnp.asarray(w, dtype)).dtype == dtype
    assert converted.convention == "mean"
    if hasattr(problem, "indices"):
        assert converted.indices.dtype == problem.indices.dtype
        np.testing.assert_array_equal(converted.indices, problem.indices)


def test_astype_takes_factors_and_leaves_other_leaves():
    floats, integers, nothing = gf.astype((jnp.ones(2), jnp.arange(2), None), jnp.float32)
    assert floats.dtype == jnp.float32
    assert jnp.issubdtype(integers.dtype, jnp.integer)
    assert nothing is None


def test_float32_values_stay_float32():
    problem = gf.MatrixCompletion((2, 2), [[0, 0]], np.ones(1, np.float32))
    assert problem.target.dtype == problem.mask.dtype == jnp.float32


def completion(shape=(2, 3), indices=((0, 0), (1, 2)), values=(1.0, 2.0), **keywords):
    return gf.MatrixCompletion(shape, indices, values, **keywords)


NAN, INF = float("nan"), float("inf")
# what is wrong -> (call, what the message names, the remedy)
REFUSED = {
    "too many values": (lambda: completion(values=[1.0, 2.0, 3.0]), "2 indices but 3", "one value"),
    "too few values": (lambda: completion(values=[1.0]), "2 indices but 1", "one value"),
    "a table of values": (lambda: completion(values=[[1.0], [2.0]]), "(2, 1)", "reshape"),
    "three positions an index": (
        lambda: completion(indices=[[0, 0, 0], [1, 2, 0]]), "(2, 3)", "one row of 2 positions"),
    "flat indices": (lambda: completion(indices=[0, 1]), "(2,)", "one row of 2 positions"),
    "row out of range": (lambda: completion(indices=[[0, 0], [2, 0]]), "[2, 0]", "count from 0"),
    "column out of range": (lambda: completion(indices=[[0, 3], [1, 2]]), "[0, 3]", "count from 0"),
    "negative": (lambda: completion(indices=[[0, 0], [1, -1]]), "[1, -1]", "count from 0"),
    "repeated": (
        lambda: completion(indices=[[1, 2], [1, 2]]), "indices[1] = [1, 2]", "each entry once"),
    "repeated later": (
        lambda: completion(indices=[[1, 2], [0, 0], [1, 2]], values=[1.0, 2.0, 3.0]),
        "indices[2] = [1, 2] repeats indices[0]", "each entry once"),
    "NaN": (lambda: completion(values=[1.0, NAN]), "values[1] is nan", "remove or replace"),
    "infinity": (lambda: completion(values=[-INF, 1.0]), "values[0] is -inf", "remove or replace"),
    "no observation": (lambda: completion(indices=[], values=[]), "no observation", "at least one"),
    "no observation, typed": (
        lambda: completion(indices=np.zeros((0, 2), int), values=[]), "0 indices", "at least one"),
    "text among numbers": (lambda: completion(values=[1.0, "five"]), "'five'", "convert"),
    "only text": (lambda: completion(values=["five", "six"]), "'five'", "convert"),
    "numbers as text": (lambda: completion(values=["5", "6"]), "'5'", "convert"),
    "nothing": (lambda: completion(values=[1.0, None]), "None", "convert"),
    "complex": (lambda: completion(values=[1.0, 2j]), "(1+0j)", "convert"),
    "ragged values": (lambda: completion(values=[1.0, [2.0]]), "values", "one length"),
    "fractional index": (
        lambda: completion(indices=[[0, 0], [0.5, 1]]), "indices[1] is [0.5, 1.0]", "astype(int)"),
    "floating-point index": (
        lambda: completion(indices=[[0.0, 0.0], [1.0, 2.0]]), "float64", "astype(int)"),
    "NaN index": (lambda: completion(indices=[[0, 0], [NAN, 1]]), "indices[1] is [nan", "astype"),
    "text as index": (lambda: completion(indices=[["a", "b"], ["c", "d"]]), "'a'", "integers"),
    "ragged indices": (lambda: completion(indices=[[0, 0], [1]]), "indices", "one length"),
    "three axes": (lambda: completion(shape=(2, 3, 1)), "(2, 3, 1)", "2 entries"),
    "no rows": (lambda: completion(shape=(0, 3)), "(0, 3)", "positive integers"),
    "half a row": (lambda: completion(shape=(2.5, 3)), "(2.5, 3)", "positive integers"),
    "shape of text": (lambda: completion(shape=("two", 3)), "'two'", "positive integers"),
    "shape unknown": (lambda: completion(shape=(None, 3)), "None", "positive integers"),
    "unknown convention": (lambda: completion(loss="rms"), "'rms'", "half_sum, sum, mean"),
    "truth of another shape": (lambda: completion(truth=np.ones((3, 2))), "(3, 2)", "must agree"),
    "truth not finite": (
        lambda: completion(truth=[[1, 2, 3], [4, INF, 6]]), "truth[1, 1] is inf", "replace"),
    "tensor index": (
        lambda: gf.TensorCompletion((2, 2, 2), [[0, 0, 2]], [1.0]), "[0, 0, 2]", "count from 0"),
    "tensor index of a matrix": (
        lambda: gf.TensorCompletion((2, 2, 2), [[0, 1]], [1.0]), "(1, 2)", "3 positions"),
    "measurements and labels": (
        lambda: gf.MatrixSensing(A, [1.0, 2.0]), "5 measurements but 2 labels", "one for each"),
    "no measurement": (
        lambda: gf.MatrixSensing(np.zeros((0, 2, 2)), []), "no observation", "give some"),
    "one flat measurement": (lambda: gf.MatrixSensing(np.eye(2), [1.0]), "(2, 2)", "reshape"),
    "measurement not finite": (
        lambda: gf.MatrixSensing([[[1.0, NAN]]], [1.0]), "measurements[0, 0, 1] is nan", "replace"),
    "label not finite": (lambda: gf.MatrixSensing([[[1.0]]], [INF]), "labels[0]", "replace"),
    "measurements without rows": (
        lambda: gf.MatrixSensing(np.zeros((2, 0, 3)), [1.0, 2.0]), "(0, 3)", "positive integers"),
    "inputs and targets": (
        lambda: gf.LeastSquares(X, [1.0]), "6 inputs but 1 targets", "one for each"),
    "no input": (lambda: gf.LeastSquares(np.zeros((0, 2)), []), "no observation", "give some"),
    "no target column": (
        lambda: gf.LeastSquares(X, np.zeros((6, 0))), "(3, 0)", "positive integers"),
    "targets of three axes": (
        lambda: gf.LeastSquares(X, np.ones((6, 1, 1))), "(6, 1, 1)", "1 or 2 axes"),
    "input not finite": (
        lambda: gf.LeastSquares([[1.0], [NAN]], [1.0, 2.0]), "inputs[1, 0] is nan", "replace"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
