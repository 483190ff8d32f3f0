"""Hierarchical tensors: einsum, CP tensors, local components along flows, balance, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from tests.gradflow.factorizations.test_factorizations import HIERARCHICAL, draw
from tests.helpers import refuses

KEY = jax.random.key(3)
MODEL = gf.HierarchicalTensor((2, 3, 2, 2), (3, 2, 4))
FACTORS = draw(MODEL.factor_shapes)
UNEVEN = gf.HierarchicalTensor((2, 3, 2), (2, 3), ((0, 2), 1))
ALL = [model for model, _ in HIERARCHICAL]


def completion(shape, count=6, seed=0, **options):
    rng = np.random.default_rng(seed)
    flat = rng.choice(int(np.prod(shape)), count, replace=False)
    indices = np.stack(np.unravel_index(flat, shape), axis=1)
    return gf.TensorCompletion(shape, indices, rng.normal(size=count), **options)


def lengths(model, factors):
    """Plainly from the definition: for each node (vectors, rank) the lengths of its vectors."""
    at, found = len(model.shape), {}
    positions = {(n,): n for n in range(at)} | {v: at + k for k, v in enumerate(model.nodes)}
    for node in model.nodes:
        below = [other for other in positions if set(other) < set(node)]
        children = [c for c in below if not any(set(c) < set(other) for other in below)]
        weights = [np.asarray(factors[positions[c]]) for c in children]
        own = np.asarray(factors[positions[node]])
        found[node] = np.array(
            [[np.linalg.norm(own[r])] + [np.linalg.norm(w[:, r]) for w in weights]
             for r in range(len(own))]
        ).T  # fmt: skip
    return found


def sorted_along(array):
    return np.sort(array, axis=0)


def test_nodes_and_shapes():
    assert MODEL.nodes == ((0, 1), (2, 3), (0, 1, 2, 3))
    assert MODEL.factor_shapes == ((2, 3), (3, 3), (2, 2), (2, 2), (3, 4), (2, 4), (4, 1))
    assert MODEL.degree == 7 and gf.HierarchicalTensor((4, 3), 2).highest_rank == 2
    assert UNEVEN.factor_shapes == ((2, 2), (3, 3), (2, 2), (2, 3), (3, 1))
    equal = gf.HierarchicalTensor((2, 2, 2), 3)
    assert equal == gf.HierarchicalTensor((2, 2, 2), (3, 3), [[0, 1], 2])
    assert hash(equal) == hash(gf.HierarchicalTensor([2, 2, 2], [3, 3]))


def test_a_flat_tree_is_a_cp_tensor():
    flat, cp = gf.HierarchicalTensor((2, 3, 4), 5, (0, 1, 2)), gf.CPTensor((2, 3, 4), 5)
    *leaves, top = draw(flat.factor_shapes)
    np.testing.assert_allclose(
        flat.product((*leaves, jnp.ones((5, 1)))), cp.product(tuple(leaves)), rtol=1e-13
    )
    longer = gf.CPTensor((2, 3, 4, 1), 5)
    factors, their = (*leaves, top), (*leaves, top.T)
    np.testing.assert_allclose(
        flat.product(factors), longer.product(their)[..., 0], rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(
        flat.local_component_norms(factors)[(0, 1, 2)], longer.component_norms(their), rtol=1e-14
    )
    np.testing.assert_allclose(flat.unbalancedness(factors), longer.unbalancedness(their))
    for name in ("balanced", "nearest_balanced"):
        *found, last = getattr(flat, name)(factors)
        for a, b in zip((*found, last.T), getattr(longer, name)(their), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)


def test_a_flow_on_a_flat_tree_is_that_of_the_cp_tensor_with_one_more_axis():
    flat, longer = gf.HierarchicalTensor((2, 2, 2), 2, (0, 1, 2)), gf.CPTensor((2, 2, 2, 1), 2)
    problem = completion((2, 2, 2), 4)
    indices = np.pad(np.asarray(problem.indices), ((0, 0), (0, 1)))
    other = gf.TensorCompletion((2, 2, 2, 1), indices, problem.values)
    *leaves, top = flat.gaussian(KEY, std=0.7)
    one, two = (
        gf.solve_flow(gf.Objective(p, m), start, horizon=2.0, rtol=1e-10)
        for p, m, start in (
            (problem, flat, (*leaves, top)), (other, longer, (*leaves, top.T)),
        )
    )  # fmt: skip
    for a, b in zip(one.final.values(), two.final.values(), strict=True):
        np.testing.assert_allclose(a, np.reshape(b, a.shape) if b.size == 2 else b, atol=1e-8)


def test_a_matrix_on_its_only_tree():
    model = gf.HierarchicalTensor((4, 3), 2)
    a, b, top = draw(model.factor_shapes)
    np.testing.assert_allclose(model.product((a, b, top)), (a * top[:, 0]) @ b.T, rtol=1e-12)


@pytest.mark.parametrize("model", ALL, ids=repr)
def test_local_components_norms_and_invariants_are_those_of_the_definition(model):
    factors = draw(model.factor_shapes, seed=5)
    wanted = lengths(model, factors)
    norms, vectors = model.local_component_norms(factors), model.local_components(factors)
    assert tuple(norms) == tuple(vectors) == model.nodes
    spreads = []
    for node, each in zip(model.nodes, model.invariants(factors), strict=True):
        np.testing.assert_allclose(norms[node], np.prod(wanted[node], axis=0), rtol=1e-13)
        found = np.array([np.linalg.norm(v, axis=0) for v in vectors[node]])
        np.testing.assert_allclose(sorted_along(found), sorted_along(wanted[node]), rtol=1e-14)
        np.testing.assert_allclose(each, np.diff(found**2, axis=0), atol=1e-13)
        spreads.append(np.ptp(wanted[node] ** 2, axis=0).max())
    np.testing.assert_allclose(model.unbalancedness(factors), max(spreads), rtol=1e-13)


@pytest.mark.parametrize("model", ALL, ids=repr)
def test_local_components_sum_to_the_tensor_at_each_node(model):
    factors = draw(model.factor_shapes, seed=6)
    w, norms = model.product(factors), model.local_component_norms(factors)
    for node in model.nodes:
        parts = [
            norm * model.local_component_tensor(factors, node, r)
            for r, norm in enumerate(norms[node])
        ]
        np.testing.assert_allclose(sum(parts), w, atol=1e-12 * float(jnp.max(jnp.abs(w))))


@pytest.mark.parametrize("model", ALL, ids=repr)
def test_norms_of_local_components_move_as_their_alignment_says(model):
    """d sigma/dt = sigma^2 gamma sum_v ||v||^-2 along every gradient, over a component's vectors v.

    d||v||^2/dt = -2 <v, dL/dv> = 2 sigma gamma for each vector, gamma = <-dL/dW, C>.
    """
    factors = draw(model.factor_shapes, seed=7)
    g = draw([model.shape], seed=8)[0]
    velocity = tuple(-v for v in model.pullback(factors, model.forward(factors)[1], g))
    norms, rates = jax.jvp(model.local_component_norms, (factors,), (velocity,))
    for node, each in lengths(model, factors).items():
        for r in range(each.shape[1]):
            gamma = -jnp.sum(g * model.local_component_tensor(factors, node, r))
            wanted = norms[node][r] ** 2 * gamma * np.sum(each[:, r] ** -2.0)
            np.testing.assert_allclose(rates[node][r], wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("model", [UNEVEN, MODEL], ids=repr)
def test_a_flow_conserves_the_differences_of_squared_norms(model):
    objective = gf.Objective(completion(model.shape), model)
    start = model.gaussian(KEY, std=0.8)
    flow = gf.solve_flow(objective, start, horizon=5.0, rtol=1e-10, coordinates="factors")
    assert flow["loss"][-1] < 0.1 * flow["loss"][0]  # it went somewhere
    final = tuple(map(jnp.asarray, flow.final.values()))
    before, after = lengths(model, start), lengths(model, final)
    for node in model.nodes:
        found, wanted = (np.diff(each[node] ** 2, axis=0) for each in (after, before))
        np.testing.assert_allclose(found, wanted, atol=1e-8)
        assert np.max(np.abs(after[node] - before[node])) > 0.05
    assert flow.stats["invariant_drift"] < 1e-8


@pytest.mark.parametrize("model", ALL, ids=repr)
def test_balanced_factors_have_vectors_of_one_length_and_the_same_tensor(model):
    factors = draw(model.factor_shapes, seed=9)
    found, w = model.balanced(factors), model.product(factors)
    size = float(jnp.max(jnp.abs(w)))
    np.testing.assert_allclose(model.product(found), w, atol=1e-11 * size)
    for each in lengths(model, found).values():
        np.testing.assert_allclose(each, each[:1] * np.ones_like(each), rtol=1e-13)
    for node, norms in model.local_component_norms(factors).items():
        if node == model.nodes[-1] and len(model.nodes) == 1:  # nothing above, nothing below
            np.testing.assert_allclose(model.local_component_norms(found)[node], norms, rtol=1e-13)


def test_balanced_factors_have_the_least_sum_of_squares():
    """Against other scalings that leave W: a factor t for a vector and 1/t for another."""
    found = MODEL.balanced(FACTORS)
    least = sum(float(jnp.sum(f**2)) for f in found)
    assert least < sum(float(jnp.sum(f**2)) for f in FACTORS)
    for t in (0.9, 1.1):
        moved = list(found)
        moved[0] = moved[0].at[:, 1].multiply(t)
        moved[4] = moved[4].at[1].multiply(1 / t)
        np.testing.assert_allclose(
            MODEL.product(tuple(moved)), MODEL.product(found), rtol=1e-10, atol=1e-13
        )
        assert sum(float(jnp.sum(f**2)) for f in moved) > least


def test_a_local_component_with_a_vector_of_zeros_is_balanced_as_zero():
    factors = (FACTORS[0].at[:, 1].set(0.0), *FACTORS[1:])
    found = MODEL.balanced(factors)
    np.testing.assert_allclose(MODEL.product(found), MODEL.product(factors), atol=1e-12)
    assert not (jnp.any(found[0][:, 1]) or jnp.any(found[1][:, 1]) or jnp.any(found[4][1]))
    nothing = tuple(jnp.zeros(shape) for shape in MODEL.factor_shapes)
    assert not any(jnp.any(f) for f in MODEL.balanced(nothing))


@pytest.mark.parametrize("model", ALL[3:6], ids=repr)
def test_near_balanced_factors(model):
    start = model.random_balanced(KEY, 0.5)
    assert model.relative_unbalancedness(start) < 1e-13
    for a, b in zip(model.nearest_balanced(start), start, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
    distances = []
    for size in (1e-2, 1e-3):
        near = tuple(f + size * d for f, d in zip(start, draw(model.factor_shapes), strict=True))
        found = model.nearest_balanced(near)
        assert model.relative_unbalancedness(found) < 1e-14
        distances.append(
            max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(found, near, strict=True))
        )
    assert 0 < distances[1] < 0.2 * distances[0] < 0.05


def test_zeros_become_balanced_vectors():
    zeros = (jnp.zeros((2, 1)), jnp.ones((2, 1)), jnp.ones((1, 1)))
    model = gf.HierarchicalTensor((2, 2), 1)
    found = model.nearest_balanced(zeros)
    assert model.unbalancedness(found) < 1e-14
    np.testing.assert_allclose(jnp.linalg.norm(found[0]), (0 + 2**0.5 + 1) / 3, rtol=1e-14)


def test_balance_in_single_precision():
    factors = gf.astype(FACTORS, jnp.float32)
    for found in (MODEL.balanced(factors), MODEL.nearest_balanced(factors)):
        assert found[0].dtype == jnp.float32
        assert MODEL.relative_unbalancedness(found) < 1e-5


def test_gaussian_weights_give_tensors_of_the_given_deviation():
    model = gf.HierarchicalTensor((2, 3, 2), (2, 4))

    def first(key):
        return model.product(model.gaussian(key, product_std=0.2))[0, 0, 0]

    samples = np.asarray(jax.vmap(first)(jax.random.split(KEY, 100_000))) ** 2
    error = samples.std() / len(samples) ** 0.5
    assert error < 0.1 * 0.04  # else the gate would say nothing
    assert abs(samples.mean() - 0.04) < 4 * error


def test_a_descent_and_its_stored_trajectory(tmp_path):
    objective = gf.Objective(completion(MODEL.shape), MODEL)
    run = gf.run_descent(
        objective, MODEL.random_balanced(KEY, 0.7), optax.sgd(0.05), max_steps=2000,
        observe={"norms": lambda s: MODEL.local_component_norms(s.factors)[(0, 1)]},
    )  # fmt: skip
    assert run["loss"][-1] < 0.01 * run["loss"][0]
    assert run["norms"].shape[1:] == (3,)
    again = gf.Trajectory.load(run.save(tmp_path / "run.nc"))
    told = again.config["objective"]
    assert told["factorization"] == "HierarchicalTensor"
    assert told["factorization_fields"]["tree"] == [[0, 1], [2, 3]]
    assert told["factorization_fields"]["ranks"] == [3, 2, 4]
    for name, array in run.final.items():
        np.testing.assert_array_equal(again.final[name], array)


def made(shape=(2, 2, 2), ranks=2, tree=None):
    return gf.HierarchicalTensor(shape, ranks, tree)


REFUSED = {
    "vector": (lambda: made((3,)), "(3,)", "at least 2 axes"),
    "no length": (lambda: made((2, 0, 2)), "(2, 0, 2)", "positive integers"),
    "rank zero": (lambda: made(ranks=0), "ranks", "positive integers"),
    "rank as text": (lambda: made(ranks="two"), "'two'", "positive integers"),
    "a rank too few": (lambda: made((2,) * 4, (2, 2)), "(2, 2)", "the 3 nodes ((0, 1), (2, 3)"),
    "a rank too many": (lambda: made(ranks=(2, 2, 2)), "(2, 2, 2)", "the 2 nodes"),
    "a missing axis": (lambda: made(tree=(0, 1)), "axis 2 is there 0 times", "once"),
    "another order": (lambda: made(tree=((0, 1), (2, 3))), "holds 3", "as ((0, 1), 2)"),
    "tensor": (lambda: MODEL.balanced(np.ones((2, 3, 2, 2))), "single array", "a tuple of arrays"),
    "shapes": (lambda: MODEL.balanced(FACTORS[:4]), "((2, 3), (3, 3)", "needs"),
    "not finite": (
        lambda: MODEL.balanced((FACTORS[0].at[0, 0].set(jnp.nan), *FACTORS[1:])), "w[0][0, 0] is "
        "nan", "replace"),
    "squares overflow": (
        lambda: MODEL.balanced(tuple(1e200 * f for f in FACTORS)), "After 0 sweeps", "scale"),
    "no node": (
        lambda: MODEL.local_component_tensor(FACTORS, (0, 2), 0), "(0, 2)", "one of ((0, 1)"),
    "no component": (
        lambda: MODEL.local_component_tensor(FACTORS, (2, 3), 2), "it is 2", "below 2"),
    "identity": (lambda: MODEL.identity(1.0), "HierarchicalTensor", "gaussian(key"),
    "a matrix start": (
        lambda: gf.solve_flow(gf.Objective(completion((2, 2, 2), 2), made()),
                              np.ones((2, 2, 2)), horizon=1.0),
        "HierarchicalTensor", "needs its factors as the start"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
