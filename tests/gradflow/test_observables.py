"""Observables: closed forms, gradients by differences, names."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gradflow as gf
from gradflow import observables, synthetic
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.product import ProductCoordinates
from gradflow.observables import default_observables, resolve
from gradflow.state import State
from tests.helpers import central_gradient, chain, refuses

RNG = np.random.default_rng(0)
TRUTH = np.array([[1.0, 2.0], [-1.0, 0.5]])
PROBLEM = gf.MatrixCompletion((2, 2), [[0, 1], [1, 0], [1, 1]], [2.0, -1.0, 0.5], truth=TRUTH)
OBJECTIVE = gf.Objective(PROBLEM, gf.MatrixProduct((2, 2, 2)), gf.NuclearNorm(0.25))
FACTORS = tuple(jnp.asarray(RNG.normal(size=(2, 2))) for _ in range(2))
STATE = State(FactorCoordinates(OBJECTIVE), FACTORS)
W = chain(FACTORS)
S = np.linalg.svd(W, compute_uv=False)
DIAGONAL = State(ProductCoordinates(PROBLEM, 2), jnp.diag(jnp.array([3.0, 1.0])))


def oracle_alignment():
    u, _, vt = np.linalg.svd(W)
    g = np.abs(u.T @ np.asarray(PROBLEM.gradient(W)) @ vt.T)
    return [(g[0, 0] + g[1, 1]) / 2, (g[0, 1] + g[1, 0]) / 2]


def oracle_effective_rank():
    p = S / S.sum()
    return np.exp(-np.sum(p * np.log(p)))


def oracle_loss():
    return 0.5 * ((W[0, 1] - 2) ** 2 + (W[1, 0] + 1) ** 2 + (W[1, 1] - 0.5) ** 2)


WANTED = {
    "loss": oracle_loss,
    "penalty": lambda: 0.25 * S.sum(),
    "value": lambda: oracle_loss() + 0.25 * S.sum(),
    "gradient_norm": lambda: np.sqrt(
        sum(np.sum(np.asarray(g) ** 2) for g in jax.grad(OBJECTIVE.value)(FACTORS))
    ),
    "test_error": lambda: np.sum((W - TRUTH) ** 2) / np.sum(TRUTH**2),
    "mean_squared_error": lambda: np.mean((W - TRUTH) ** 2),
    "product": lambda: W,
    "singular_values": lambda: S,
    "effective_rank": oracle_effective_rank,
    "log_abs_det": lambda: np.log(abs(np.linalg.det(W))),
    "det_sign": lambda: np.sign(np.linalg.det(W)),
    "unobserved_entries": lambda: [W[0, 0]],
    "unbalancedness": lambda: np.linalg.norm(
        FACTORS[1].T @ FACTORS[1] - FACTORS[0] @ FACTORS[0].T, "nuc"
    ),
    "alignment": oracle_alignment,
}
NAMED = dict(resolve([*WANTED, "factors"]))


@pytest.mark.parametrize("name", WANTED)
def test_named_observables_agree_with_numpy(name):
    np.testing.assert_allclose(NAMED[name](STATE), WANTED[name](), rtol=1e-12)


def test_components_of_a_tensor():
    model = gf.CPTensor((2, 3), 2)
    problem = gf.TensorCompletion((2, 3), [[0, 1]], [1.0])
    factors = (jnp.array([[3.0, 0.0], [4.0, 1.0]]), jnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    state = State(FactorCoordinates(gf.Objective(problem, model)), factors)
    found = observables.log_component_norms(state)
    np.testing.assert_allclose(found, np.log([5.0, 2.0]), rtol=1e-15)
    for other in (STATE, DIAGONAL):
        with pytest.raises(ValueError, match="no components; they are those of a CPTensor"):
            observables.log_component_norms(other)


def test_every_named_observable_is_tested_here():
    elsewhere = {"learning_rate"}  # of descents: tests/gradflow/descent/test_schedules.py
    assert set(observables._BY_NAME) == {*WANTED, "factors", "log_component_norms", *elsewhere}


def test_without_a_penalty_it_is_zero_and_the_value_is_the_loss():
    for chart, y in [
        (FactorCoordinates(gf.Objective(PROBLEM, OBJECTIVE.factorization)), FACTORS),
        (ProductCoordinates(PROBLEM, 2), jnp.asarray(W)),
    ]:
        assert observables.penalty(State(chart, y)) == 0
        assert observables.value(State(chart, y)) == observables.loss(State(chart, y))


def test_factors_are_given_as_they_are():
    assert NAMED["factors"](STATE) is FACTORS


MADE = {
    "spectral": (observables.schatten_norm(math.inf), 3.0),
    "Frobenius": (observables.schatten_norm(2), math.sqrt(10)),
    "nuclear": (observables.schatten_norm(1), 4.0),
    "Schatten 1/2": (observables.schatten_norm(0.5), (math.sqrt(3) + 1) ** 2),
    "distance from rank 0": (observables.distance_from_rank(0), math.sqrt(10)),
    "distance from rank 1": (observables.distance_from_rank(1), 1.0),
    "distance from rank 2": (observables.distance_from_rank(2), 0.0),
}


@pytest.mark.parametrize("name", MADE)
def test_made_observables_at_a_diagonal_matrix(name):
    observable, wanted = MADE[name]
    np.testing.assert_allclose(observable(DIAGONAL), wanted, rtol=1e-14)


SMOOTH = {name: NAMED[name] for name in WANTED if name != "det_sign"}
SMOOTH |= {
    name: observable for name, (observable, _) in MADE.items() if name != "distance from rank 2"
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_agree_with_differences(name):
    flat, unravel = ravel_pytree(FACTORS)

    @jax.jit
    def weighted(y):
        value = jnp.ravel(jnp.asarray(SMOOTH[name](State(STATE.view, unravel(y)))))
        return jnp.sum(value * jnp.arange(1.0, value.size + 1))

    # Fourth-order differences with step 1e-4: round-off, 1e-16/1e-4, is what is left.
    np.testing.assert_allclose(
        jax.grad(weighted)(flat), central_gradient(weighted, flat, 1e-4), rtol=1e-7, atol=1e-8
    )


def test_observables_of_a_tensor():
    problem = synthetic.tensor_completion(jax.random.key(0), (2, 3, 2), 1, 8)
    objective = gf.Objective(problem, gf.CPTensor((2, 3, 2), 2))
    factors = tuple(jnp.asarray(RNG.normal(size=(n, 2))) for n in (2, 3, 2))
    state = State(FactorCoordinates(objective), factors)
    w = np.asarray(objective.product(factors))
    seen = {tuple(at) for at in np.asarray(problem.indices).tolist()}
    wanted = [w[at] for at in np.ndindex(2, 3, 2) if at not in seen]
    np.testing.assert_array_equal(observables.unobserved_entries(state), wanted)
    np.testing.assert_allclose(
        observables.test_error(state), np.sum((w - problem.truth) ** 2), rtol=1e-12
    )  # the truth has norm 1


def test_alignment_where_the_singular_vectors_diagonalise_the_gradient():
    problem = gf.LeastSquares(np.eye(2), np.diag([5.0, 2.0]))
    state = State(ProductCoordinates(problem, 2), jnp.diag(jnp.array([3.0, 1.0])))
    np.testing.assert_allclose(observables.alignment(state), [1.5, 0.0], atol=1e-15)


def test_alignment_of_a_column_has_no_off_diagonal():
    problem = gf.LeastSquares(np.eye(2), np.ones((2, 1)))
    found = observables.alignment(State(ProductCoordinates(problem, 2), jnp.array([[2.0], [0.0]])))
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-15)


def test_nothing_is_unobserved_where_all_is_seen():
    problem = gf.MatrixCompletion((1, 2), [[0, 0], [0, 1]], [1.0, 2.0])
    assert observables.unobserved_entries(
        State(ProductCoordinates(problem, 2), jnp.ones((1, 2)))
    ).shape == (0,)


def test_a_start_at_zero_has_no_gradient_and_an_undefined_effective_rank():
    state = State(STATE.view, (jnp.zeros((2, 2)), jnp.zeros((2, 2))))
    norm, slope = jax.value_and_grad(lambda y: observables.gradient_norm(State(STATE.view, y)))(
        state.y
    )
    assert norm == 0 and all(jnp.all(part == 0) for part in slope)
    assert observables.det_sign(state) == 0
    assert jnp.isnan(observables.effective_rank(state))


def test_state_shows_its_parts():
    assert STATE.problem is PROBLEM
    assert STATE.factors is FACTORS
    np.testing.assert_allclose(STATE.product, W, rtol=1e-14)


# Names


def test_the_loss_is_always_recorded_and_first_unless_placed():
    assert [name for name, _ in resolve(["product"])] == ["loss", "product"]
    assert [name for name, _ in resolve(["product", "loss"])] == ["product", "loss"]
    assert [name for name, _ in resolve("alignment")] == ["loss", "alignment"]
    assert [name for name, _ in resolve(())] == ["loss"]


def test_a_dictionary_of_functions_is_taken():
    def trace(state):
        return jnp.trace(state.product)

    assert resolve({"trace": trace}) == (("loss", observables.loss), ("trace", trace))


@pytest.mark.parametrize(
    ("problem", "wanted"),
    [
        (PROBLEM, ["singular_values", "effective_rank", "test_error", "unobserved_entries"]),
        (synthetic.norm_blowup(), ["singular_values", "effective_rank", "unobserved_entries"]),
        (synthetic.norm_blowup(shape=(9, 9)), ["singular_values", "effective_rank"]),
        (synthetic.matrix_sensing(jax.random.key(0), (2, 2), 1, 2),
         ["singular_values", "effective_rank", "test_error"]),
        (synthetic.tensor_completion(jax.random.key(0), (2, 2, 2), 1, 4),
         ["test_error", "unobserved_entries"]),
    ],
    ids=["with truth", "without", "large", "sensing", "tensor"],
)  # fmt: skip
def test_default_observables_are_what_the_problem_has(problem, wanted):
    assert default_observables(problem) == ("loss", "gradient_norm", *wanted)


REFUSED = {
    "unknown": (lambda: resolve(["los"]), "'los'", "known are alignment, det_sign"),
    "no truth": (
        lambda: observables.test_error(State(ProductCoordinates(synthetic.norm_blowup(), 2),
            jnp.eye(2))),
        "no ground truth", "pass truth="),
    "no truth, mean": (
        lambda: observables.mean_squared_error(
            State(ProductCoordinates(synthetic.norm_blowup(), 2), jnp.eye(2))),
        "no ground truth", "pass truth="),
    "no unobserved entries": (
        lambda: observables.unobserved_entries(
            State(ProductCoordinates(gf.LeastSquares(np.eye(2), np.eye(2)), 2), jnp.eye(2))),
        "LeastSquares", "record something else"),
    "factors of a product": (
        lambda: NAMED["factors"](DIAGONAL), "'product'", "coordinates='factors'"),
    "p": (lambda: observables.schatten_norm(0.0)(DIAGONAL), "0.0", "above 0"),
    "rank": (lambda: observables.distance_from_rank(-1), "-1", "whole number of at least 0"),
    "half a rank": (lambda: observables.distance_from_rank(1.5), "1.5", "whole number"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


NAMES_REFUSED = {
    "the loss": ({"loss": lambda state: 0.0}, "'loss' is always recorded", "own loss"),
    "time": ({"time": lambda state: 0.0}, "'time' is always recorded", "own time"),
    "colon": ({"a:b": lambda state: 0.0}, "'a:b'", "choose another"),
    "slash": ({"a/b": lambda state: 0.0}, "'a/b'", "choose another"),
    "a folder": ({".": lambda state: 0.0}, "'.'", "choose another"),
    "netCDF's own": (
        {"_nc4_non_coord_time": lambda state: 0.0},
        "'_nc4_non_coord_time'",
        "choose another",
    ),
    "no name": ({" ": lambda state: 0.0}, "' '", "must be a word"),
    "no function": ({"a": 1.0}, "'a' must be a function", "1.0"),
}


@pytest.mark.parametrize("case", NAMES_REFUSED)
def test_names_that_hide_something_or_cannot_be_stored_are_refused(case):
    observe, value, remedy = NAMES_REFUSED[case]
    with pytest.raises(ValueError) as refused:
        resolve(observe)
    assert value in str(refused.value)
    assert remedy in str(refused.value)


def test_the_loss_may_be_named_and_tuples_do_not_take_names_of_others():
    assert resolve({"loss": observables.loss}) == (("loss", observables.loss),)


@pytest.mark.parametrize("engine", ["flow", "descent"])
def test_entries_that_take_the_name_of_another_are_refused_before_the_run(engine, monkeypatch):
    observe = {"factors": observables.factors, "factors_1": lambda state: state.product}
    monkeypatch.setattr("gradflow.flow.solve.run", None)
    monkeypatch.setattr("gradflow.descent.run.RunningBatch", None)
    with pytest.raises(ValueError, match="Two observables are called 'factors_1'"):
        if engine == "flow":
            gf.solve_flow(OBJECTIVE, FACTORS, horizon=0.1, observe=observe)
        else:
            gf.run_descent(OBJECTIVE, FACTORS, gf.optimizers.gd(0.1), max_steps=1, observe=observe)


def test_names_alike_that_no_entry_takes_are_kept():
    observe = {
        "norm": lambda state: state.product[0, 0],
        "norm_1": lambda state: state.product[0, 1],
        "factors": observables.factors,
        "factors_9": lambda state: state.product[0, 0],
    }
    run = gf.run_descent(OBJECTIVE, FACTORS, gf.optimizers.gd(0.1), max_steps=1, observe=observe)
    assert {"norm", "norm_1", "factors_1", "factors_9"} <= set(run.observables)


@pytest.mark.parametrize("name", ["log_abs_det", "det_sign"])
def test_a_product_that_is_not_square_has_no_determinant(name):
    problem = gf.MatrixCompletion.from_array(np.ones((2, 3)))
    objective = gf.Objective(problem, gf.MatrixProduct((3, 2, 2)))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) has no determinant"):
        gf.solve_flow(objective, np.ones((2, 3)), horizon=1.0, observe=[name])


@pytest.mark.parametrize(
    "observe",
    [
        *({name: getattr(observables, name)} for name in
          ("singular_values", "effective_rank", "alignment")),
        {"norm": observables.schatten_norm(1.0)},
        {"distance": observables.distance_from_rank(1)},
    ],
    ids=lambda observe: next(iter(observe)),
)  # fmt: skip
@pytest.mark.parametrize("kind", ["tensor", "vector"])
def test_what_is_not_a_matrix_has_no_singular_values(kind, observe):
    if kind == "tensor":
        problem = synthetic.tensor_completion(jax.random.key(0), (3, 4, 2), 1, 12)
        model = gf.CPTensor(problem.shape, 2)
        start = model.gaussian(jax.random.key(1), std=0.3)
    else:
        problem = synthetic.least_squares(jax.random.key(0), 3, 4)
        model = gf.DiagonalNetwork(4, 2)
        start = model.identity(0.3)
    objective = gf.Objective(problem, model)
    refuses(
        lambda: gf.run_descent(
            objective, start, gf.optimizers.gd, learning_rate=0.1, max_steps=2, observe=observe
        ),
        str(problem.shape),
        "flattening",
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_thin_products_nothing_is_made_of_rounding(dtype):
    """Powers make much of 27 singular values of 1e-16: at 0.1 a norm was 5.7 times what it is."""
    model = gf.MatrixProduct((30, 3, 30))
    problem = gf.MatrixCompletion((30, 30), [[0, 0], [1, 2]], [1.0, 2.0])
    start = model.gaussian(jax.random.key(0), std=1.0)
    p = 0.1
    objective, start = gf.astype(
        (gf.Objective(problem, model, gf.SchattenNorm(p, 0.5)), start), dtype
    )
    seen = {
        "norm": observables.schatten_norm(p), "penalty": observables.penalty,
        "log": observables.log_abs_det, "sign": observables.det_sign,
        "singular": observables.singular_values,
    }  # fmt: skip
    run = gf.run_descent(
        objective, start, gf.optimizers.gd, learning_rate=1e-20, max_steps=1, observe=seen
    )
    right, left = (np.asarray(f, np.float64) for f in start)
    s = np.linalg.svd(np.linalg.qr(left)[1] @ np.linalg.qr(right.T)[1].T, compute_uv=False)
    norm = np.sum(s**p) ** (1 / p)
    rtol = 1e-12 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(run["norm"][0], norm, rtol=rtol)
    np.testing.assert_allclose(run["penalty"][0], norm / 2, rtol=rtol)
    np.testing.assert_allclose(objective.penalty_at(start), norm / 2, rtol=rtol)
    assert run["log"].tolist() == [-np.inf] * 2
    assert run["sign"].tolist() == [0.0] * 2
    assert np.count_nonzero(run["singular"][0]) == 3
    if dtype == np.float64:
        asked = {"norm": seen["norm"], "singular": seen["singular"]}
        flow = gf.solve_flow(gf.Objective(problem, model), start, horizon=1e-9, observe=asked)
        np.testing.assert_allclose(flow["norm"][0], norm, rtol=1e-12)
        assert np.count_nonzero(flow["singular"][0]) == 3


def test_an_own_value_of_a_penalty_on_singular_values_is_the_one_that_counts():
    class Shifted(gf.NuclearNorm):
        def value(self, w):
            return super().value(w) + 7.0

    model = gf.MatrixProduct((3, 1, 3))
    problem = gf.MatrixCompletion((3, 3), [[0, 0]], [1.0])
    start = (jnp.ones((1, 3)), jnp.ones((3, 1)))
    found = gf.Objective(problem, model, Shifted(1.0)).penalty_at(start)
    np.testing.assert_allclose(found, 10.0, rtol=1e-12)


@pytest.mark.parametrize("observe", [lambda state: state.product, ["loss", lambda state: 0.0]])
def test_functions_without_names_are_refused_with_an_example(observe):
    with pytest.raises(ValueError, match=r"in one dictionary, such as \{'loss'"):
        observables.resolve(observe)
