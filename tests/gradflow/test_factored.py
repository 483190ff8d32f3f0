"""Completion by observations: it equals the dense path, and forms no matrix."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import factored
from gradflow.linalg import thin_products
from gradflow.problems import SparseCompletion
from tests.helpers import chain, refuses

SHAPE = (12, 9)
RNG = np.random.default_rng(0)
FLAT = RNG.permutation(np.prod(SHAPE))[:50]
INDICES, VALUES = np.stack(np.divmod(FLAT, SHAPE[1]), axis=1), RNG.normal(size=50)
SEEN, HIDDEN = slice(40), slice(40, 50)
HUGE = SparseCompletion((10**6, 10**6), [[0, 1], [5, 5]], [1.0, 2.0])
THIN = gf.MatrixProduct((10**6, 2, 3, 10**6))


def problems(dtype="float64", **asked):
    values = VALUES[SEEN].astype(dtype)
    held_out = (INDICES[HIDDEN], VALUES[HIDDEN].astype(dtype))
    return (
        gf.MatrixCompletion(SHAPE, INDICES[SEEN], values, **asked),
        SparseCompletion(SHAPE, INDICES[SEEN], values, held_out=held_out, **asked),
    )


def start_of(depth, dtype="float64"):
    model = gf.MatrixProduct.of(SHAPE, depth, hidden=3)
    return model, tuple(f.astype(dtype) for f in model.gaussian(jax.random.key(depth), std=0.6))


@pytest.fixture(autouse=True)
def _several_chunks(monkeypatch):
    monkeypatch.setitem(thin_products._CHUNKS, "cpu", 16)  # and a rest of 8


@eqx.filter_jit
def all_of(objective, start):
    return (*objective.gradient(start), objective.loss(start), objective.value(start))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depth", [2, 3])
def test_loss_and_gradient_are_the_dense_ones(depth, dtype):
    penalty = gf.astype(gf.WeightDecay(0.1), dtype)
    dense, sparse = problems(dtype, loss="mean")
    model, start = start_of(depth, dtype)
    wanted = gf.Objective(dense, model, penalty, path="dense")
    tolerance = {"float32": 2e-6, "float64": 4e-15}[dtype]  # sums of a dozen terms
    for problem in (dense, sparse):
        found = gf.Objective(problem, model, penalty, path="observations")
        assert found.by_observations and not wanted.by_observations
        for ours, theirs in zip(*(all_of(o, start) for o in (found, wanted)), strict=True):
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=tolerance)


def test_cut_is_at_the_thinnest_size_wherever_it_is():
    upper, lower = factored.halves(gf.MatrixProduct((9, 5, 3, 7, 12)))
    assert (upper.sizes, lower.sizes) == ((3, 7, 12), (9, 5, 3))
    assert [one.sizes for one in factored.halves(gf.MatrixProduct((9, 3, 12)))] == [
        (3, 12), (9, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [2, 3])
def test_descents_are_the_dense_ones(depth):
    dense, sparse = problems()
    model, start = start_of(depth)
    ours, theirs = gf.Objective(sparse, model), gf.Objective(dense, model)
    asked = {"learning_rate": 0.02, "max_steps": 40, "record": [20]}
    found, wanted = (gf.run_descent(o, start, optax.sgd, **asked) for o in (ours, theirs))
    w = chain(list(found.final.values()))
    np.testing.assert_allclose(w, chain(list(wanted.final.values())), atol=1e-13)
    assert set(found.observables) == {*wanted.observables, "test_error"}
    s = wanted["singular_values"][:, : found["singular_values"].shape[1]]
    np.testing.assert_allclose(found["singular_values"], s, atol=1e-13)
    hidden = w[tuple(INDICES[HIDDEN].T)] - VALUES[HIDDEN]
    error = np.sum(hidden**2) / np.sum(VALUES[HIDDEN] ** 2)
    np.testing.assert_allclose(found["test_error"][-1], error, rtol=1e-12)


@pytest.mark.slow
def test_flows_are_the_dense_ones():
    model, start = start_of(3)
    found, wanted = (
        gf.solve_flow(gf.Objective(p, model), start, horizon=0.5, rtol=1e-6)
        for p in reversed(problems())
    )
    assert found.stats["steps"] == wanted.stats["steps"]
    np.testing.assert_allclose(found["loss"], wanted["loss"], rtol=1e-11)


@eqx.filter_jit
def of_flow(objective, start, other):
    """A Hessian-vector product, and what a flow asks of the product's size."""
    coordinates = gf.coordinates.FactorCoordinates(objective).with_tolerance(jnp.asarray(1e-6))
    return (
        *jax.jvp(objective.gradient, (start,), (other,))[1],
        coordinates.time_scale(start),
        coordinates.amplification(start),
        coordinates.growth(start),
    )


def test_derivatives_and_scales_of_the_flow_are_those_of_the_product():
    dense, sparse = problems()
    model, start = start_of(3)
    other = tuple(jnp.cos(f) for f in start)
    ours, theirs = gf.Objective(sparse, model), gf.Objective(dense, model)
    for found, wanted in zip(*(of_flow(o, start, other) for o in (ours, theirs)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)


def test_rounding_of_a_fit_is_that_of_the_product():
    model, start = start_of(3)
    fitted = chain(start)[tuple(INDICES.T)]
    found, wanted = (
        gf.coordinates.FactorCoordinates(gf.Objective(kind(SHAPE, INDICES, fitted), model))
        for kind in (SparseCompletion, gf.MatrixCompletion)
    )
    noise = [float(c.loss_by_rounding(start)) for c in (found, wanted)]
    np.testing.assert_allclose(*noise, rtol=0.5)  # the fit is itself rounded


def test_no_array_has_the_size_of_the_matrix():
    objective = gf.Objective(HUGE, THIN)
    start = tuple(jax.ShapeDtypeStruct(s, jnp.dtype("float64")) for s in THIN.factor_shapes)
    text = jax.jit(lambda at: objective.loss_and_gradient(at)).lower(start).as_text()
    sizes = [
        np.prod(list(map(int, s.split("x")[:-1]))) for s in re.findall(r"tensor<([^>]*)>", text)
    ]
    assert max(sizes) == 3 * 10**6
    controls = [gf.observables.product, gf.observables.alignment]
    state = gf.state.State(gf.state.FactorsView(objective), start)
    for control in controls:
        with pytest.raises(ValueError, match=r"1\.0e\+12 entries .* record what the factors tell"):
            eqx.filter_eval_shape(control, state)


def test_auto_takes_it_where_it_pays():
    model = gf.MatrixProduct((1000, 5, 1000))
    few, many = (
        gf.MatrixCompletion((1000, 1000), np.stack(np.divmod(np.arange(n), 1000), 1), np.ones(n))
        for n in (10_000, 100_000)
    )
    assert gf.Objective(few, model).by_observations
    assert not gf.Objective(few, model, path="dense").by_observations
    assert not gf.Objective(few, model, gf.NuclearNorm(0.1)).by_observations
    assert gf.Objective(few, model, gf.WeightDecay(0.1)).by_observations
    assert not gf.Objective(many, model).by_observations
    assert not gf.Objective(few, gf.MatrixProduct.of((1000, 1000), 2)).by_observations
    assert not gf.Objective(few, gf.MatrixProduct((1000, 1000))).by_observations


def sparse(**asked):
    return SparseCompletion(SHAPE, INDICES[SEEN], VALUES[SEEN], **asked)


REFUSED = {
    "penalty on W": (
        lambda: gf.Objective(sparse(), start_of(2)[0], gf.NuclearNorm(0.1)),
        "NuclearNorm", "WeightDecay(weight)"),
    "depth 1": (
        lambda: gf.Objective(sparse(), gf.MatrixProduct((9, 12))), "(9, 12)", "hidden=10"),
    "other problem": (
        lambda: gf.Objective(gf.LeastSquares(np.eye(2), np.eye(2)), gf.MatrixProduct((2, 1, 2)),
                             path="observations"),
        "LeastSquares", "SparseCompletion"),
    "dense": (
        lambda: gf.Objective(sparse(), start_of(2)[0], path="dense"), "'dense'", "leave path away"),
    "path": (
        lambda: gf.Objective(sparse(), start_of(2)[0], path="quick"), "'quick'", "observations"),
    "held out twice": (
        lambda: sparse(held_out=(INDICES[:1], VALUES[:1])), str(INDICES[0].tolist()), "give each"),
    "held out, no pair": (lambda: sparse(held_out=3), "3", "(indices, values)"),
    "no test error": (
        lambda: gf.run_descent(gf.Objective(sparse(), start_of(2)[0]), start_of(2)[1],
                               optax.sgd(0.1), max_steps=1, observe=["test_error"]),
        "no entry out", "held_out="),
    "whole W": (
        lambda: gf.run_descent(gf.Objective(HUGE, THIN), THIN.gaussian(jax.random.key(0), std=1.0),
                               optax.sgd(0.1), max_steps=1, observe=["product"]),
        "1.0e+12", "singular_values"),
    "no room": (
        lambda: gf.MatrixCompletion((10**6, 10**6), [[0, 0]], [1.0]),
        "14901 GiB", "SparseCompletion"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused(case):
    refuses(*REFUSED[case])
