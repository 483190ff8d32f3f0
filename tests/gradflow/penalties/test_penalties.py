"""Penalties: NumPy, differences, closed forms, misuse."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from tests.gradflow.penalties.examples import DEFICIENT, PENALTIES, numpy_value, objective
from tests.helpers import central_gradient, refuses, with_singular_values

RNG = np.random.default_rng(0)


FULL_RANK = {
    "square": RNG.normal(size=(3, 3)),
    "tall": with_singular_values(RNG, (4, 2), [2.0, 0.3]),
    "wide": with_singular_values(RNG, (2, 4), [2.0, 0.3]),
    "column": RNG.normal(size=(3, 1)),
    "one by one": np.array([[-0.7]]),
    "repeated": with_singular_values(RNG, (3, 3), [2.0, 1.0, 1.0]),
    "identity": 1.5 * np.eye(3),
    "negative determinant": np.diag([2.0, -1.0]),
}


@pytest.mark.parametrize("matrix", FULL_RANK)
@pytest.mark.parametrize("name", PENALTIES)
def test_the_value_agrees_with_numpy_and_the_gradient_with_its_differences(name, matrix):
    w, penalty = FULL_RANK[matrix], PENALTIES[name]
    np.testing.assert_allclose(penalty.value(w), numpy_value(name, w), rtol=1e-13)
    assert penalty.smooth(jnp.asarray(w))
    # Fourth-order differences with step 1e-3: error 1e-12 times fifth derivatives, which reach
    # 1e3 where a singular value is 0.3 or a little less.
    np.testing.assert_allclose(
        penalty.gradient(jnp.asarray(w)),
        central_gradient(lambda x: numpy_value(name, x), w, 1e-3),
        atol=1e-8,
    )


@pytest.mark.parametrize("matrix", FULL_RANK)
@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_is_what_differentiation_gives(name, matrix):
    w, penalty = jnp.asarray(FULL_RANK[matrix]), PENALTIES[name]
    np.testing.assert_allclose(penalty.gradient(w), jax.grad(penalty.value)(w), atol=1e-13)


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e200])
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_homogeneous(name, scale):
    """r(c W) = c^k r(W), so <W, dr/dW> = k r; without over- or underflow."""
    w, penalty = FULL_RANK["square"], PENALTIES[name]
    k = 0 if name == "ratio" or ":" in name else 1
    assert penalty.degree == k
    value, gradient = penalty.value(scale * w), np.asarray(penalty.gradient(jnp.asarray(scale * w)))
    np.testing.assert_allclose(value, scale**k * numpy_value(name, w), rtol=1e-12)
    np.testing.assert_allclose(np.sum(w * gradient) * scale / value, k, atol=1e-12)
    np.testing.assert_allclose(
        gradient * scale ** (1 - k), penalty.gradient(jnp.asarray(w)), atol=1e-13
    )


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_do_not_see_rotations(name):
    w, penalty = jnp.asarray(FULL_RANK["tall"]), PENALTIES[name]
    q, r = (np.linalg.qr(RNG.normal(size=(n, n)))[0] for n in w.shape)
    np.testing.assert_allclose(penalty.value(q @ w @ r), penalty.value(w), rtol=1e-13)
    np.testing.assert_allclose(penalty.gradient(q @ w @ r), q @ penalty.gradient(w) @ r, atol=1e-13)


def test_closed_forms_at_a_diagonal_matrix():
    w = jnp.diag(jnp.array([4.0, -1.0]))
    cases = [
        (gf.NuclearNorm(2.0), 10.0, [2.0, -2.0]),
        (gf.NuclearFrobeniusRatio(1.0), 5 / 17**0.5, [-3 / 17**1.5, -12 / 17**1.5]),
        (gf.SchattenNorm(0.5, 1.0), 9.0, [1.5, -3.0]),
        (gf.SchattenNorm(2, 1.0), 17**0.5, [4 / 17**0.5, -1 / 17**0.5]),
        (gf.SchattenRatio(0.5, 1.0, 1.0), 9 / 5, [-3 / 50, -6 / 25]),
    ]
    for penalty, value, slopes in cases:
        np.testing.assert_allclose(penalty.value(w), value, rtol=1e-15)
        np.testing.assert_allclose(penalty.gradient(w), np.diag(slopes), atol=1e-15)


def test_the_gradient_of_the_ratio_in_the_norms_and_where_the_paper_prints_the_same():
    w = RNG.normal(size=(4, 3))
    for scale, same in [(1.0, False), (1 / np.linalg.norm(w), True)]:
        u, s, vt = np.linalg.svd(scale * w, full_matrices=False)
        nuclear, frobenius = np.sum(s), np.linalg.norm(s)
        found = gf.NuclearFrobeniusRatio(1.0).gradient(jnp.asarray(scale * w))
        wanted = (u @ vt - nuclear / frobenius**2 * scale * w) / frobenius
        printed = (u @ vt - nuclear / frobenius * (u * s) @ vt) / frobenius**2
        np.testing.assert_allclose(found, wanted, atol=1e-14)
        assert np.allclose(found, printed, atol=1e-14) is same


@pytest.mark.parametrize("matrix", [*FULL_RANK, *DEFICIENT])
def test_schatten_penalties_contain_the_named_ones(matrix):
    w = jnp.asarray((FULL_RANK | DEFICIENT)[matrix])
    for named, schatten in [
        (gf.NuclearNorm(0.3), gf.SchattenNorm(1, 0.3)),
        (gf.NuclearFrobeniusRatio(0.3), gf.SchattenRatio(1, 2, 0.3)),
    ]:
        np.testing.assert_allclose(named.value(w), schatten.value(w), rtol=1e-14)
        np.testing.assert_allclose(named.gradient(w), schatten.gradient(w), atol=1e-14)
        assert named.smooth(w) == schatten.smooth(w)


@pytest.mark.parametrize("name", PENALTIES)
def test_value_and_gradient_are_proportional_to_the_weight(name):
    w, once = jnp.asarray(FULL_RANK["wide"]), PENALTIES[name]
    twice = eqx.tree_at(lambda p: p.weight, once, 2 * once.weight)
    np.testing.assert_allclose(twice.value(w), 2 * once.value(w), rtol=1e-15)
    np.testing.assert_allclose(twice.gradient(w), 2 * once.gradient(w), rtol=1e-15)


def test_another_weight_does_not_compile_again():
    traced = []

    @eqx.filter_jit
    def value(penalty, w):
        traced.append(None)
        return penalty.value(w)

    for weight in (1, 0.5, np.float32(2.0)):
        value(gf.SchattenNorm(0.5, weight), jnp.eye(2))
    assert len(traced) == 1


@pytest.mark.parametrize("name", PENALTIES)
def test_single_precision_stays_single(name):
    penalty = gf.astype(PENALTIES[name], jnp.float32)
    w = jnp.asarray(FULL_RANK["tall"], jnp.float32)
    assert penalty.value(w).dtype == penalty.gradient(w).dtype == jnp.float32
    np.testing.assert_allclose(
        penalty.gradient(w), PENALTIES[name].gradient(w.astype(jnp.float64)), atol=1e-5
    )


REFUSED = {
    "weight zero": (lambda: gf.NuclearNorm(0), "weight must be a finite number above 0", "0"),
    "weight negative": (lambda: gf.NuclearFrobeniusRatio(-1.0), "weight", "-1.0"),
    "weight infinite": (lambda: gf.SchattenNorm(1, math.inf), "weight", "inf"),
    "weight text": (lambda: gf.SchattenRatio(1, 2, "much"), "weight", "'much'"),
    "p zero": (lambda: gf.SchattenNorm(0, 1.0), "p must be a finite number above 0", "0"),
    "p infinite": (lambda: gf.SchattenNorm(math.inf, 1.0), "p must be a finite number", "inf"),
    "q infinite": (lambda: gf.SchattenRatio(1, math.inf, 1.0), "q must be a finite number", "inf"),
    "p above q": (lambda: gf.SchattenRatio(2, 1, 1.0), "p is 2 and q is 1", "exchange them"),
    "p is q": (lambda: gf.SchattenRatio(1, 1, 1.0), "p must be below q", "p is 1 and q is 1"),
    "no penalty": (
        lambda: gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)), 0.05),
        "gradflow.NuclearNorm(0.05)", "but it is 0.05"),
    "tensor": (
        lambda: gf.Objective(
            gf.TensorCompletion((2, 2, 2), [[0, 1, 0]], [3.0]), gf.CPTensor((2, 2, 2), 1),
            gf.NuclearNorm(1.0)),
        "shape (2, 2, 2)", "leave penalty away"),
    "product coordinates": (
        lambda: gf.solve_flow(
            objective(2, gf.NuclearNorm(1.0)), (jnp.eye(4), jnp.eye(4)), horizon=1.0,
            coordinates="product"),
        "NuclearNorm", "use coordinates='factors'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
