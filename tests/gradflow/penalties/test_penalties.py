"""Penalties: NumPy, differences, subgradients; objectives, charts and descent that have one."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import penalties
from gradflow._util.provenance import describe
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.product import balanced_start
from gradflow.observables import State
from tests.helpers import central_gradient, chain, with_singular_values

RNG = np.random.default_rng(0)
PENALTIES = {
    "nuclear": gf.NuclearNorm(0.3),
    "ratio": gf.NuclearFrobeniusRatio(0.3),
    "Schatten 1/3": gf.SchattenNorm(1 / 3, 0.3),
    "Schatten 1/2": gf.SchattenNorm(0.5, 0.3),
    "Schatten 1": gf.SchattenNorm(1, 0.3),
    "Schatten 2": gf.SchattenNorm(2, 0.3),
    "Schatten 7/2": gf.SchattenNorm(3.5, 0.3),
    "Schatten 1/2 : 2/3": gf.SchattenRatio(1 / 2, 2 / 3, 0.3),
    "Schatten 1/3 : 2/3": gf.SchattenRatio(1 / 3, 2 / 3, 0.3),
    "Schatten 1/3 : 1/2": gf.SchattenRatio(1 / 3, 1 / 2, 0.3),
    "Schatten 1 : 3": gf.SchattenRatio(1, 3, 0.3),
    "Schatten 3/2 : 2": gf.SchattenRatio(1.5, 2, 0.3),
}
KINKED = [name for name, penalty in PENALTIES.items() if penalty.exponent <= 1]
CONVEX = ["nuclear", "Schatten 1", "Schatten 2", "Schatten 7/2"]
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
DEFICIENT = {
    "rank 2, square": with_singular_values(RNG, (4, 4), [2.0, 0.5]),
    "rank 1, tall": np.outer([1.0, 2.0, -1.0], [1.0, 0.5]),
    "rank 2, wide, repeated": with_singular_values(RNG, (3, 5), [1.0, 1.0]),
}


def numpy_value(name, w):
    s = np.linalg.svd(w, compute_uv=False)

    def norm(p):
        return np.sum(s**p) ** (1 / p)

    penalty = PENALTIES[name]
    if name == "nuclear":
        return 0.3 * np.sum(s)
    if name == "ratio":
        return 0.3 * np.sum(s) / np.linalg.norm(w)
    if isinstance(penalty, gf.SchattenNorm):
        return 0.3 * norm(penalty.p)
    return 0.3 * norm(penalty.p) / norm(penalty.q)


# At matrices of full rank


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


# At matrices of low rank


@pytest.mark.parametrize("matrix", DEFICIENT)
@pytest.mark.parametrize("name", PENALTIES)
def test_smooth_says_where_a_gradient_exists(name, matrix):
    assert PENALTIES[name].smooth(jnp.asarray(DEFICIENT[matrix])) == (name not in KINKED)


@pytest.mark.parametrize("matrix", DEFICIENT)
@pytest.mark.parametrize("name", KINKED)
def test_null_directions_get_no_gradient(name, matrix):
    """The rest of it is that of the singular values above zero, by NumPy at full precision."""
    w = DEFICIENT[matrix]
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    r = int(np.sum(s > 1e-10))
    # On the rank-r part alone the matrix has full rank, and the gradient is known.
    core = PENALTIES[name].gradient(jnp.diag(jnp.asarray(s[:r])))
    np.testing.assert_allclose(
        PENALTIES[name].gradient(jnp.asarray(w)), u[:, :r] @ core @ vt[:r], atol=1e-13
    )


@pytest.mark.parametrize("matrix", DEFICIENT)
def test_the_nuclear_norm_has_the_smallest_subgradient(matrix):
    w, penalty = DEFICIENT[matrix], gf.NuclearNorm(1.0)
    g = np.asarray(penalty.gradient(jnp.asarray(w)))
    # All subgradients are U_r V_r^T + M, with M orthogonal to it in rows and columns.
    np.testing.assert_allclose(np.sum(g**2), np.linalg.matrix_rank(w), rtol=1e-13)


@pytest.mark.parametrize("matrix", [*DEFICIENT, "zero"])
@pytest.mark.parametrize("name", CONVEX)
def test_subgradients_of_norms_support_them_from_below(name, matrix):
    w, penalty = (DEFICIENT | {"zero": np.zeros((3, 2))})[matrix], PENALTIES[name]
    g = np.asarray(penalty.gradient(jnp.asarray(w)))
    for size in (1e-3, 1.0, 10.0):
        moved = w + size * RNG.normal(size=w.shape)
        gap = numpy_value(name, moved) - float(penalty.value(w)) - np.sum(g * (moved - w))
        assert gap > -1e-14


@pytest.mark.parametrize("name", [n for n in PENALTIES if n not in KINKED])
def test_powers_above_one_have_gradients_at_low_rank(name):
    w = DEFICIENT["rank 2, square"]
    found = np.asarray(PENALTIES[name].gradient(jnp.asarray(w)))
    # The power p of a singular value of size h: the error is h^(p - 1), p = 3/2 at the least.
    wanted = central_gradient(lambda x: numpy_value(name, x), w, 1e-8)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name", KINKED)
def test_where_smooth_says_no_the_sides_differ(name):
    w = DEFICIENT["rank 2, square"]
    u, _, vt = np.linalg.svd(w)
    null = 1e-6 * np.outer(u[:, -1], vt[-1])
    forward = numpy_value(name, w + null) - numpy_value(name, w)
    backward = numpy_value(name, w) - numpy_value(name, w - null)
    assert abs(forward - backward) > 1e-7


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (1, 1)])
def test_at_zero_there_is_no_gradient_but_a_convention(name, shape):
    penalty, zero = PENALTIES[name], jnp.zeros(shape)
    assert penalty.value(zero) == 0
    np.testing.assert_array_equal(penalty.gradient(zero), zero)
    assert not penalty.smooth(zero)


@pytest.mark.parametrize(("least", "smooth"), [(1e-12, True), (8e-13, False), (0.0, False)])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("name", KINKED)
def test_smooth_goes_by_the_smallest_singular_value_next_to_the_largest(name, scale, least, smooth):
    w = scale * jnp.diag(jnp.array([1.0, 0.5, least]))
    assert PENALTIES[name].smooth(w) == smooth
    assert math.isclose(penalties.resolution(w.dtype), 9.09e-13, rel_tol=1e-3)


@pytest.mark.parametrize("shape", [(2, 2), (20, 30), (100, 100)])
def test_products_of_low_rank_are_found_to_be_so(shape):
    """Their null singular values are rounding, and must not enter the gradient."""
    a, b = RNG.normal(size=(shape[0], 1)), RNG.normal(size=(1, shape[1]))
    w = jnp.asarray(a @ b)
    found = gf.NuclearNorm(1.0).gradient(w)
    np.testing.assert_allclose(found, a @ b / np.linalg.norm(a @ b), atol=1e-14)
    assert not gf.NuclearNorm(1.0).smooth(w)


def test_a_matrix_that_is_not_a_number_is_not_smooth():
    assert not gf.NuclearNorm(1.0).smooth(jnp.full((2, 2), jnp.nan))
    assert not gf.SchattenNorm(2, 1.0).smooth(jnp.full((2, 2), jnp.nan))


# Between two matrices


@pytest.mark.parametrize("tolerance", [1e-10, 1e-3])
@pytest.mark.parametrize("name", ["nuclear", "Schatten 1/2"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 4), (3, 1), (1, 1)])
def test_a_singular_value_that_goes_through_zero_has_crossed(shape, name, tolerance):
    rng, penalty = np.random.default_rng(3), PENALTIES[name]
    k = min(shape)
    u, v = (np.linalg.qr(rng.normal(size=(n, k)))[0] for n in shape)
    turn = (np.eye(n) + 0.1 * rng.normal(size=(n, n)) for n in shape)
    left, right = turn

    def matrix(least):
        s = np.append(np.linspace(2, 1, k - 1), least)
        return (u * s) @ v.T

    before = matrix(0.02)
    for least, crossed in [(0.03, False), (0.01, False), (-0.01, True), (-0.02, True)]:
        after = left @ matrix(least) @ right
        assert penalty.crossed(before, after, tolerance) == crossed, least
    # The whole of it, which keeps the sign of a determinant of even order.
    assert penalty.crossed(before, -before, tolerance)
    assert not penalty.crossed(before, before, tolerance)


def test_null_singular_values_do_not_cross():
    before, after = (np.diag([1.0, 0.5, least]) for least in (1e-5, -1e-5))
    assert gf.NuclearNorm(1.0).crossed(before, after, 1e-6)
    assert not gf.NuclearNorm(1.0).crossed(before, after, 1e-4)
    for end in (0.0, 1e-7, -1e-7):
        assert not gf.NuclearNorm(1.0).crossed(before, np.diag([1.0, 0.5, end]), 1e-6)


def test_turning_singular_vectors_do_not_cross():
    """A quarter turn, and an exchange of two singular values."""
    w = np.diag([1.0, 0.5, 0.2])
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for after in (quarter @ w, quarter @ w @ quarter.T, w @ quarter):
        assert not gf.NuclearNorm(1.0).crossed(w, after, 1e-8)


def test_only_penalties_with_a_kink_are_asked():
    """Else the answer is known before any number is."""
    for penalty, known in [
        (None, True), (gf.SchattenNorm(2, 0.3), True), (gf.NuclearNorm(0.3), False)
    ]:  # fmt: skip
        model = objective(1, penalty)
        before = (jnp.eye(4),)
        trace = jax.make_jaxpr(lambda a, b, m=model: m.crossed(a, b, 1e-8))(before, (-jnp.eye(4),))
        assert (len(trace.eqns) == 0) == known
        assert model.crossed(before, (-jnp.eye(4),), 1e-8) != known


# The weight, precisions, compilation


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
    "balanced coordinates": (
        lambda: balanced_start(objective(2, gf.NuclearNorm(1.0)), (jnp.eye(4), jnp.eye(4))),
        "NuclearNorm", "use coordinates='factors'"),
    "product coordinates": (
        lambda: gf.solve_flow(
            objective(2, gf.NuclearNorm(1.0)), (jnp.eye(4), jnp.eye(4)), horizon=1.0,
            coordinates="product"),
        "NuclearNorm", "use coordinates='factors'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        call()
    assert value in str(refused.value)
    assert remedy in str(refused.value)


# Objectives


PROBLEM = gf.synthetic.matrix_completion(jax.random.key(0), (4, 4), 2, 10, norm=2.0, loss="sum")


def objective(depth, penalty=None):
    return gf.Objective(PROBLEM, gf.MatrixProduct.of(PROBLEM.shape, depth), penalty)


def start(model, seed=1):
    return model.factorization.gaussian(jax.random.key(seed), std=0.6)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", PENALTIES)
def test_an_objective_is_loss_and_penalty(name, depth):
    model, penalty = objective(depth, PENALTIES[name]), PENALTIES[name]
    factors = start(model)
    loss, gradient = model.loss_and_gradient(factors)
    assert loss == objective(depth).loss(factors) == model.loss(factors)
    np.testing.assert_allclose(
        model.value(factors), loss + numpy_value(name, chain(factors)), rtol=1e-13
    )
    assert model.penalty_at(factors) == penalty.value(model.product(factors))
    assert model.smooth(factors)
    for found, wanted in zip(gradient, jax.grad(model.value)(factors), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)


def test_an_objective_without_a_penalty_has_none():
    model = objective(2)
    factors = start(model)
    assert model.penalty_at(factors) == 0
    assert model.value(factors) == model.loss(factors)
    assert model.smooth(factors)


def test_a_matrix_written_as_a_cp_tensor_takes_a_penalty():
    model = gf.Objective(PROBLEM, gf.CPTensor((4, 4), 4), gf.NuclearNorm(0.1))
    factors = tuple(jnp.asarray(RNG.normal(size=(4, 4))) for _ in range(2))
    for found, wanted in zip(model.gradient(factors), jax.grad(model.value)(factors), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)
    assert model.smooth(factors)
    assert not model.smooth((factors[0], jnp.zeros((4, 4))))


def test_a_vector_problem_has_no_penalty_on_matrices():
    problem = gf.LeastSquares(np.eye(2), [1.0, 2.0])
    with pytest.raises(ValueError, match="shape"):
        gf.Objective(problem, gf.MatrixProduct((1, 2)), gf.NuclearNorm(1.0))


LOW = with_singular_values(np.random.default_rng(1), (4, 4), [2.0, 0.5])
TURN = np.linalg.qr(np.arange(16.0).reshape(4, 4) ** 0.5)[0]


def jump_of_slope(model, factors, step=1e-6):
    """How far the slopes ahead and behind along a line differ: O(step) without a kink."""
    rng = np.random.default_rng(2)
    line = [rng.normal(size=f.shape) for f in factors]
    behind, here, ahead = (
        float(model.value(tuple(f + k * step * d for f, d in zip(factors, line, strict=True))))
        for k in (-1, 0, 1)
    )
    return abs(ahead + behind - 2 * here) / step


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("penalty", [gf.NuclearNorm(0.3), gf.NuclearFrobeniusRatio(0.3)])
def test_balanced_factors_of_low_rank_have_no_kink(penalty, depth):
    model = objective(depth, penalty)
    factors = model.factorization.balanced(LOW)
    assert not penalty.smooth(model.product(factors))
    assert model.smooth(factors)
    assert jump_of_slope(model, factors) < 1e-4
    for j, found in enumerate(model.gradient(factors)):

        def value(x, j=j):
            return model.value((*factors[:j], jnp.asarray(x), *factors[j + 1 :]))

        np.testing.assert_allclose(found, central_gradient(value, factors[j], 1e-3), atol=1e-10)


KINKS = {
    "depth 1": (1, gf.NuclearNorm(0.3), lambda: (LOW,)),
    "full rank beside": (2, gf.NuclearNorm(0.3), lambda: (LOW, TURN)),
    "little beside": (
        2, gf.NuclearFrobeniusRatio(0.3), lambda: (LOW, LOW @ LOW.T + 1e-2 * np.eye(4))),
    "power below one": (
        2, gf.SchattenNorm(0.5, 0.3), lambda: gf.factorizations.balanced_factors(LOW, (4, 4, 4))),
}  # fmt: skip


@pytest.mark.parametrize("case", KINKS)
def test_other_factors_of_low_rank_have_one(case):
    depth, penalty, make = KINKS[case]
    model, factors = objective(depth, penalty), tuple(map(jnp.asarray, make()))
    assert not model.smooth(factors)
    assert jump_of_slope(model, factors) > 5e-4


def test_a_kink_beyond_the_singular_vectors_of_a_tall_product_is_seen():
    """W = e_1 e_1^T, and W_1 also reaches e_4, which need be no singular vector of W."""
    problem = gf.MatrixCompletion((4, 2), [[0, 0]], [1.0])
    model = gf.Objective(problem, gf.MatrixProduct((2, 4, 4)), gf.NuclearNorm(0.3))
    first = jnp.zeros((4, 2)).at[0, 0].set(1.0)
    for reach, smooth in [(1.0, False), (0.0, True)]:
        factors = (first, jnp.diag(jnp.array([1.0, 0.0, 0.0, reach])))
        assert model.smooth(factors) == smooth
        assert (jump_of_slope(model, factors) < 1e-4) == smooth


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_zero_factors_are_not_smooth(depth):
    model = objective(depth, gf.NuclearNorm(0.3))
    zeros = tuple(jnp.zeros((4, 4)) for _ in range(depth))
    assert not model.smooth(zeros)
    assert all(jnp.all(jnp.isfinite(g)) for g in model.gradient(zeros))


def test_neighbours_are_the_products_on_either_side():
    model = gf.MatrixProduct((2, 3, 4, 5))
    a, b, c = (RNG.normal(size=s) for s in model.factor_shapes)
    left, right = model.neighbours(tuple(map(jnp.asarray, (a, b, c))))
    for found, wanted in zip(left, (c @ b, c, np.eye(5)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-14)
    for found, wanted in zip(right, (np.eye(2), a, b @ a), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-14)


# Charts and observables


@pytest.mark.parametrize("name", ["nuclear", "ratio", "Schatten 1/2"])
def test_the_value_falls_along_the_flow(name):
    model = objective(3, PENALTIES[name])
    factors, chart = start(model), FactorCoordinates(model)
    value, falling = jax.jvp(chart.value, (factors,), (chart.velocity(factors),))
    np.testing.assert_allclose(chart.squared_gradient_norm(factors), -falling, rtol=1e-11)
    np.testing.assert_allclose(value, model.value(factors), rtol=1e-15)
    assert chart.penalty(factors) == model.penalty_at(factors)
    assert chart.loss(factors) == model.loss(factors)
    assert chart.smooth(factors)
    assert not chart.smooth(tuple(0 * f for f in factors))


def test_observables_tell_loss_penalty_and_value_apart():
    model = objective(2, gf.NuclearNorm(0.3))
    factors = start(model)
    state = State(FactorCoordinates(model), factors)
    names = ("loss", "penalty", "value")
    found = [float(getattr(gf.observables, name)(state)) for name in names]
    np.testing.assert_allclose(found[2], found[0] + found[1], rtol=1e-15)
    np.testing.assert_allclose(found[1], numpy_value("nuclear", chain(factors)), rtol=1e-13)


def test_a_stored_run_says_its_penalty():
    assert describe(objective(1))["penalty"] is None
    assert describe(objective(1, gf.NuclearNorm(0.3)))["penalty"] == {
        "kind": "NuclearNorm", "weight": 0.3
    }  # fmt: skip
    assert describe(objective(1, gf.SchattenRatio(0.5, 1, 0.3)))["penalty"] == {
        "kind": "SchattenRatio", "p": 0.5, "q": 1.0, "weight": 0.3
    }  # fmt: skip


# Descent


@pytest.mark.parametrize("name", ["nuclear", "ratio", "Schatten 1/2 : 2/3"])
def test_penalised_descent_agrees_with_a_loop_over_differentiation(name):
    model = objective(2, PENALTIES[name])
    factors = start(model)
    run = gf.run_descent(
        model, factors, optax.sgd, learning_rate=0.01, max_steps=50, observe=["product", "value"]
    )
    gradient = jax.jit(jax.grad(model.value))
    for _ in range(50):
        factors = tuple(f - 0.01 * g for f, g in zip(factors, gradient(factors), strict=True))
    w = chain(factors)
    np.testing.assert_allclose(run["product"][-1], w, atol=1e-12)
    np.testing.assert_allclose(run["loss"][-1], PROBLEM.loss(w), rtol=1e-11)
    np.testing.assert_allclose(run["value"][-1], run["loss"][-1] + numpy_value(name, w), rtol=1e-11)
    assert run.config["objective"]["penalty"]["weight"] == 0.3


def test_an_optimiser_that_asks_gets_the_whole_value():
    """The step goes by `value` and `value_fn`, in different proportions."""

    def update(gradient, state, parameters, *, value, value_fn, grad, **_):
        rate = 1e-3 * (value + 3 * value_fn(parameters))
        return jax.tree.map(lambda g: -rate * g, grad), state

    asking = optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)
    model = objective(2, gf.NuclearNorm(0.3))
    factors = start(model)
    run = gf.run_descent(model, factors, asking, max_steps=5, observe=["product"])
    for _ in range(5):
        value, gradient = jax.value_and_grad(model.value)(factors)
        factors = tuple(f - 4e-3 * value * g for f, g in zip(factors, gradient, strict=True))
    np.testing.assert_allclose(run["product"][-1], chain(factors), atol=1e-12)


def test_the_stop_is_decided_by_the_loss_alone():
    model = objective(1, gf.NuclearNorm(0.01))
    run = gf.run_descent(
        model, start(model), optax.sgd, learning_rate=0.1, max_steps=1000, stop_loss=1e-2,
        observe=["loss", "value"],
    )  # fmt: skip
    assert run.outcome is gf.Outcome.REACHED_LOSS
    assert run["loss"][-1] <= 1e-2 < run["value"][-1]


def test_the_nuclear_norm_shrinks_singular_values_by_half_its_weight():
    """Where ||W - B||_F^2 + weight ||W||_* is least, W has max(s - weight / 2, 0) for each s."""
    b = with_singular_values(RNG, (3, 3), [2.0, 1.0, 0.1])
    where = [[i, j] for i in range(3) for j in range(3)]
    problem = gf.MatrixCompletion((3, 3), where, b.ravel(), loss="sum")
    model = gf.Objective(problem, gf.MatrixProduct((3, 3)), gf.NuclearNorm(0.5))
    rate = 1e-2
    run = gf.run_descent(
        model, (jnp.asarray(b),), optax.sgd, learning_rate=rate, max_steps=2000,
        observe=["singular_values"],
    )  # fmt: skip
    # The third would fall below zero; it hops about zero by single steps.
    np.testing.assert_allclose(run["singular_values"][-1][:2], [1.75, 0.75], atol=1e-10)
    assert run["singular_values"][-1][2] < rate
