"""Factorisations: products against NumPy, gradients against differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from tests.helpers import central_gradient, chain, refuses

SIZES = [(3, 2), (4, 1), (3, 2, 4), (3, 5, 2, 4), (2, 3, 4, 3, 5), (1, 1, 1)]
TENSORS = [((4, 3), 2), ((3, 1), 1), ((2, 3, 4), 3), ((4, 2, 3), 1), ((2, 3, 2, 2), 2)]
LETTERS = "abcd"


def draw(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes)


def cp_oracle(factors):
    letters = LETTERS[: len(factors)]
    return np.einsum(",".join(f"{c}r" for c in letters) + f"->{letters}", *map(np.asarray, factors))


MODELS = [(gf.MatrixProduct(sizes), chain) for sizes in SIZES]
MODELS += [(gf.CPTensor(shape, rank), cp_oracle) for shape, rank in TENSORS]
# Leaves a, b, ..., then weights, from the definition: letters p, q, r count the local components.
HIERARCHICAL = [
    (gf.HierarchicalTensor(*arguments), lambda f, rule=rule: np.einsum(rule, *map(np.asarray, f)))
    for rule, *arguments in [
        ("ap,bp,pz->ab", (4, 3), 2),
        ("ap,bp,cq,pq,qz->abc", (2, 3, 4), 3),
        ("ap,bq,cp,pq,qz->abc", (2, 4, 3), (2, 3), ((0, 2), 1)),
        ("ap,bp,cp,pz->abc", (2, 3, 2), 4, (0, 1, 2)),
        ("ap,bp,cq,dq,pr,qr,rz->abcd", (2, 3, 2, 2), (3, 2, 4)),
        ("ap,bq,cp,dq,pr,qr,rz->abcd", (2, 3, 2, 4), (3, 1, 2), ((0, 2), (1, 3))),
        ("ap,bq,cr,dp,pq,qr,rz->abcd", (3, 2, 2, 2), (2, 4, 3), (((3, 0), 1), 2)),
        ("ap,bp,cp,dq,pq,qz->abcd", (2, 2, 3, 2), (4, 2), ((0, 1, 2), 3)),
        ("aq,bp,cp,dq,pq,qz->abcd", (2, 2, 3, 2), (2, 3), (0, (2, 1), 3)),
    ]
]
MODELS += HIERARCHICAL


@pytest.fixture(params=MODELS, ids=lambda pair: repr(pair[0]), name="case")
def _case(request):
    model, oracle = request.param
    return model, oracle, draw(model.factor_shapes)


def test_product_agrees_with_numpy(case):
    model, oracle, factors = case
    w = model.product(factors)
    assert w.shape == model.shape
    np.testing.assert_allclose(w, oracle(factors), rtol=1e-12, atol=1e-13)  # a few roundings


def test_pullback_agrees_with_differentiation_and_with_differences(case):
    model, oracle, factors = case
    g = draw([model.shape], seed=1)[0]
    w, partial = model.forward(factors)
    np.testing.assert_array_equal(w, model.product(factors))
    found = model.pullback(factors, partial, g)
    wanted = jax.grad(lambda fs: jnp.sum(g * model.product(fs)))(factors)
    for j, (a, b) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)

        def linear(x, j=j):
            return np.sum(g * oracle((*factors[:j], x, *factors[j + 1 :])))

        # The product is linear in each factor: differences are exact for any step.
        np.testing.assert_allclose(a, central_gradient(linear, factors[j], 1.0), atol=1e-11)


def test_each_factor_meets_its_gradient_in_the_same_number(case):
    """<W_j, dL/dW_j> = <W, G> for every j: the product is homogeneous in each factor."""
    model, _, factors = case
    g = draw([model.shape], seed=1)[0]
    w, partial = model.forward(factors)
    for factor, gradient in zip(factors, model.pullback(factors, partial, g), strict=True):
        np.testing.assert_allclose(jnp.sum(factor * gradient), jnp.sum(w * g), atol=1e-11)


def test_depth_one_is_the_matrix_itself():
    model = gf.MatrixProduct((3, 2))
    (w,) = draw(model.factor_shapes)
    assert model.depth == 1
    np.testing.assert_array_equal(model.product((w,)), w)
    np.testing.assert_array_equal(model.pullback((w,), (w,), 2 * w)[0], 2 * w)


def test_zero_factors_give_zero_and_no_gradient_from_depth_two_on():
    model = gf.MatrixProduct((3, 2, 4))
    zeros = tuple(jnp.zeros(s) for s in model.factor_shapes)
    w, partial = model.forward(zeros)
    assert not jnp.any(w)
    assert all(not jnp.any(g) for g in model.pullback(zeros, partial, jnp.ones((4, 3))))


def test_a_tensor_of_order_two_is_a_product_of_two_matrices():
    a, b = draw([(4, 2), (3, 2)])
    np.testing.assert_allclose(gf.CPTensor((4, 3), 2).product((a, b)), a @ b.T, rtol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        (((4, 3), 1), (3, 4)),
        (((4, 3), 3), (3, 3, 3, 4)),
        (((3, 4), 2), (4, 3, 3)),
        (((4, 3), 2, 7), (3, 7, 4)),
    ],
)
def test_of_builds_the_sizes(arguments, sizes):
    model = gf.MatrixProduct.of(*arguments)
    assert model.sizes == sizes
    assert model.depth == arguments[1]
    assert model.shape == arguments[0]


REFUSED = {
    "one size": (lambda: gf.MatrixProduct((3,)), "(3,)", "N >= 1"),
    "hidden size zero": (lambda: gf.MatrixProduct((3, 0, 3)), "(3, 0, 3)", "positive integers"),
    "text": (lambda: gf.MatrixProduct("ab"), "'ab'", "positive integers"),
    "depth zero": (lambda: gf.MatrixProduct.of((2, 2), 0), "0", "at least 1"),
    "depth one and a half": (lambda: gf.MatrixProduct.of((2, 2), 1.5), "1.5", "whole number"),
    "depth as text": (lambda: gf.MatrixProduct.of((2, 2), "two"), "'two'", "whole number"),
    "hidden": (lambda: gf.MatrixProduct.of((2, 2), 2, -1), "-1", "positive integers"),
    "three axes": (lambda: gf.MatrixProduct.of((2, 2, 2), 2), "(2, 2, 2)", "2 entries"),
    "vector": (lambda: gf.CPTensor((3,), 2), "(3,)", "at least 2 axes"),
    "rank zero": (lambda: gf.CPTensor((3, 3), 0), "(0,)", "positive integers"),
    "missing factor": (
        lambda: gf.MatrixProduct((2, 2, 2)).check((jnp.eye(2),)), "((2, 2),)", "factors[0] is W_1"),
    "factors reversed": (
        lambda: gf.MatrixProduct((3, 2, 4)).check((jnp.ones((4, 2)), jnp.ones((2, 3)))),
        "((4, 2), (2, 3))", "factors[0] is W_1"),
    "objective": (
        lambda: gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 3))),
        "(2, 2) but the factorization has shape (3, 2)", "MatrixProduct.of"),
    "objective, tensor": (
        lambda: gf.Objective(gf.synthetic.norm_blowup(), gf.CPTensor((2, 2, 2), 1)),
        "(2, 2, 2)", "MatrixProduct.of"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


@pytest.mark.parametrize("model", [gf.MatrixProduct((2, 3, 2)), gf.CPTensor((2, 2), 3)], ids=repr)
def test_objective_is_the_problem_at_the_product(model):
    objective = gf.Objective(gf.synthetic.norm_blowup(), model)
    factors = draw(model.factor_shapes)
    w = model.product(factors)
    np.testing.assert_array_equal(objective.product(factors), w)
    assert objective.loss(factors) == objective.problem.loss(w)
    loss, gradients = objective.loss_and_gradient(factors)
    np.testing.assert_allclose(loss, objective.loss(factors), rtol=1e-15)
    for found, wanted, again in zip(
        gradients,
        jax.grad(objective.loss)(factors),
        objective.gradient(factors),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        np.testing.assert_array_equal(found, again)


def test_check_returns_a_tuple_of_arrays():
    factors = gf.MatrixProduct((2, 2)).check([[[1.0, 2.0], [3.0, 4.0]]])
    assert isinstance(factors, tuple)
    assert factors[0].shape == (2, 2)
