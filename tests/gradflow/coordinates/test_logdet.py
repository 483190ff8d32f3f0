"""The 2x2 chart that carries log |det|: against the other charts, and against high precision."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.coordinates.logdet import LogDetCoordinates, _one_sign, _Powers, choose_pivot
from tests.helpers import all_coordinates, assert_same_flow, moved_by_factors

CELLS = list(itertools.product((0, 1), (0, 1)))
GENERIC = np.array([[1.3, 0.4], [-0.7, 0.9]])  # determinant 1.45


def completion(hidden, loss="half_sum"):
    """Observe all cells but the hidden ones."""
    seen = [at for at in CELLS if at not in hidden]
    values = [0.5 - 1.1 * i + 0.8 * j for i, j in seen]
    return gf.MatrixCompletion((2, 2), seen, values, loss=loss)


def with_sign(sign):
    return GENERIC if sign > 0 else GENERIC[::-1].copy()


def chart_at(problem, w, depth, pivot):
    sign, log = np.linalg.slogdet(w)
    chart = LogDetCoordinates(
        problem, jnp.asarray(sign), jnp.asarray(np.sign(w[pivot])), depth, pivot
    )
    return chart, chart.at(jnp.asarray(w), jnp.asarray(log))


@eqx.filter_jit
def derivatives(chart, y):
    """Velocity, how it moves the product, and its Jacobian forwards and backwards."""
    velocity = chart.velocity(y)
    moved = jax.jvp(chart.product, (y,), (velocity,))[1]
    return velocity, moved, (jax.jacfwd(chart.velocity)(y), jax.jacrev(chart.velocity)(y))


HIDDEN = [
    ((0, 0),),
    ((0, 1),),
    ((1, 0),),
    ((1, 1),),
    ((0, 0), (1, 1)),
    ((0, 1), (0, 0), (1, 1)),
    (),
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("pivot", CELLS, ids=str)
@pytest.mark.parametrize(
    ("hidden", "depth"), [*((h, 3) for h in HIDDEN), (HIDDEN[0], 2), (HIDDEN[0], 4)]
)
def test_it_is_the_same_flow(hidden, pivot, sign, depth):
    problem, w = completion(hidden), with_sign(sign)
    chart, y = chart_at(problem, w, depth, pivot)
    assert_same_flow(problem, chart, y, w, moved_by_factors(problem, w, depth))
    # The determinant is a coordinate of its own: its speed must be that of the product's.
    found = derivatives(chart, y)[0][3]
    moved = moved_by_factors(problem, w, depth)
    np.testing.assert_allclose(found, np.trace(np.linalg.solve(w, moved)), rtol=1e-9)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("depth", [2, 3])
def test_it_knows_the_loss_conventions(loss, depth):
    problem = completion(((0, 1),), loss)
    chart, y = chart_at(problem, GENERIC, depth, (0, 0))
    assert_same_flow(problem, chart, y, GENERIC, moved_by_factors(problem, GENERIC, depth))


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_all_four_charts_agree(sign, depth):
    problem, w = completion(((0, 0),)), with_sign(sign)
    chart, y = chart_at(problem, w, depth, (0, 0))
    charts = {**all_coordinates(problem, w, depth), "logdet": (chart, y)}
    for chart, y in charts.values():
        assert_same_flow(problem, chart, y, w, moved_by_factors(problem, w, depth))
        found = chart.slogdet(y)
        np.testing.assert_allclose(found, np.linalg.slogdet(w), atol=1e-12)


# Where singular values coincide


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("alpha", [1e-6, 1e-2, 1.0, -0.3])
def test_it_is_smooth_at_a_multiple_of_the_identity(alpha, depth):
    problem = gf.synthetic.norm_blowup()
    chart, y = chart_at(problem, alpha * np.eye(2), depth, (0, 0))
    _, moved, jacobians = derivatives(chart, y)
    wanted = (
        -depth * abs(alpha) ** (2 - 2 / depth) * np.asarray(problem.gradient(alpha * np.eye(2)))
    )
    np.testing.assert_allclose(moved, wanted, atol=1e-12 * np.abs(wanted).max())
    assert all(np.all(np.isfinite(jacobian)) for jacobian in jacobians)


@pytest.mark.parametrize("depth", [2, 3])
def test_its_jacobian_agrees_with_differences_at_a_multiple_of_the_identity(depth):
    chart, y = chart_at(gf.synthetic.norm_blowup(), 0.5 * np.eye(2), depth, (0, 0))
    jacobian = jax.jacfwd(chart.velocity)(y)
    step = 1e-3
    for k in range(4):
        e = jnp.zeros(4).at[k].set(step)
        f = chart.velocity
        wanted = (8 * (f(y + e) - f(y - e)) - (f(y + 2 * e) - f(y - 2 * e))) / (12 * step)
        # Fourth order in the step of 1e-3; derivatives here are of size 10.
        np.testing.assert_allclose(jacobian[:, k], wanted, atol=1e-8)


# Determinants far below the smallest float64


def precise_velocity(problem, w, log_det, sign, depth):
    """dW/dt and d log|det|/dt from explicit powers in 60 digits, the determinant given apart.

    (W W^T)^p by Lagrange interpolation at the two eigenvalues, whose product is det^2.
    """
    with mpmath.workdps(60):
        mpf = mpmath.mpf
        d = mpmath.exp(mpf(log_det))
        row, column, pivot = mpf(float(w[0, 1])), mpf(float(w[1, 0])), mpf(float(w[0, 0]))
        m = mpmath.matrix([[pivot, row], [column, (sign * d + row * column) / pivot]])
        f = sum(x**2 for x in m)
        large = (f + mpmath.sqrt((f - 2 * d) * (f + 2 * d))) / 2
        small = d**2 / large

        def power(square, p):
            if p == 0:
                return mpmath.eye(2)
            a = (large**p - small**p) / (large - small)
            c = (large * small**p - small * large**p) / (large - small)
            return a * square + c * mpmath.eye(2)

        target, mask = np.asarray(problem.target), np.asarray(problem.mask)
        g = mpmath.matrix(2, 2)
        for i, j in CELLS:
            g[i, j] = 2 * mpf(problem.weight) * mpf(mask[i, j]) * (m[i, j] - mpf(target[i, j]))
        moved = mpmath.matrix(2, 2)
        for k in range(depth):
            left = power(m * m.T, mpf(k) / depth)
            right = power(m.T * m, mpf(depth - 1 - k) / depth)
            moved -= left * g * right
        # d log det = trace(adj(W) dW) / det, as a sum over singular values without cancellation:
        # -N sum_r s_r^(1-2/N) u_r^T g v_r, with U S^e V^T = x W + z cof(W) solved from both values.
        s1, s2, e = mpmath.sqrt(large), mpmath.sqrt(small), 1 - mpf(2) / depth
        x = (s1 ** (1 + e) - s2 ** (1 + e)) / (large - small)
        z = (s1 * s2**e - s2 * s1**e) / (large - small)
        cof = sign * mpmath.matrix([[m[1, 1], -m[1, 0]], [-m[0, 1], m[0, 0]]])
        both = x * m + z * cof
        rate = -depth * sum(both[i, j] * g[i, j] for i, j in CELLS)
        return np.array(moved.tolist(), dtype=float), float(rate)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("log_det", [-1e6, -1e3, -40.0, -2.0])
def test_velocity_agrees_with_high_precision_at_tiny_determinants(log_det, sign, depth):
    problem = gf.synthetic.norm_blowup()
    w = np.array([[7.0, 1.003], [0.994, 0.0]])
    chart = LogDetCoordinates(problem, jnp.asarray(float(sign)), jnp.asarray(1.0), depth, (0, 0))
    y = chart.at(jnp.asarray(w), jnp.asarray(log_det))
    moved, rate = precise_velocity(problem, w, log_det, sign, depth)
    found, _, jacobians = derivatives(chart, y)
    wanted = [moved[0, 0] / 7.0, moved[0, 1], moved[1, 0], rate]
    # Half a dozen roundings; log det itself is rounded to 1e-16 |log det| of an exponent.
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)
    assert all(np.all(np.isfinite(jacobian)) for jacobian in jacobians)


def test_the_determinant_moves_even_where_it_underflows():
    chart = LogDetCoordinates(
        gf.synthetic.norm_blowup(), jnp.asarray(1.0), jnp.asarray(1.0), 2, (0, 0)
    )
    y = chart.at(jnp.array([[50.0, 0.999], [0.999, 0.0]]), jnp.array(-1e6))
    assert chart.slogdet(y) == (1.0, -1e6)
    assert abs(chart.velocity(y)[3]) > 1e-3
    np.testing.assert_allclose(
        chart.singular_values(y)[0], np.sqrt(jnp.sum(chart.product(y) ** 2)), rtol=1e-14
    )


def precise_powers(theta, log_det, p, e):
    """a, c of (W W^T)^p and x, z of U S^e V^T, by interpolation at the two singular values."""
    with mpmath.workdps(80):
        mpf = mpmath.mpf
        root = mpmath.exp(mpf(log_det) / 2)
        s1, s2 = root * mpmath.exp(mpf(theta) / 2), root * mpmath.exp(-mpf(theta) / 2)
        gap = s1**2 - s2**2
        p, e = mpf(p), mpf(e)
        values = (
            (s1 ** (2 * p) - s2 ** (2 * p)) / gap,
            (s1**2 * s2 ** (2 * p) - s2**2 * s1 ** (2 * p)) / gap,
            (s1 ** (1 + e) - s2 ** (1 + e)) / gap,
            (s1 * s2**e - s2 * s1**e) / gap,
        )
        return float(s1**2 + s2**2), [float(v) for v in values]


@pytest.mark.parametrize("p", [0.2, 0.25, 1 / 3, 0.5, 0.75, 0.8])
@pytest.mark.parametrize(
    # theta = log(s_1/s_2), on both sides of the switch at cosh(theta) = 1.1 (theta = 0.4436).
    ("theta", "log_det"),
    [(1e-9, 0.0), (1e-3, -18.0), (0.44, -3.0), (0.4436, 2.0), (0.45, -3.0), (3.0, -30.0),
     (100.0, -250.0), (600.0, -590.0)],
)  # fmt: skip
def test_fractional_powers_agree_with_high_precision(theta, log_det, p):
    e = 1 - p  # covers 1 - 2/N for N = 2.5, ..., 10
    frobenius_squared, wanted = precise_powers(theta, log_det, p, e)
    powers = _Powers(jnp.asarray(frobenius_squared), jnp.asarray(log_det))
    found = [*powers.square_root_power(p), *powers.singular_power(e)]
    # Round-off of log det (up to 590) is multiplied into the exponents: 590 eps = 1e-13.
    np.testing.assert_allclose(found, wanted, rtol=2e-12)


@pytest.mark.parametrize("e", [0.0, -1.0])
def test_zeroth_and_inverse_singular_powers(e):
    """U V^T = (W + cof)/(s_1 + s_2), and U S^-1 V^T = cof/det."""
    s1, s2 = 3.0, 0.2
    x, z = _Powers(jnp.asarray(s1**2 + s2**2), jnp.log(s1 * s2)).singular_power(e)
    wanted = (1 / (s1 + s2), 1 / (s1 + s2)) if e == 0 else (0.0, 1 / (s1 * s2))
    np.testing.assert_allclose([x, z], wanted, rtol=1e-14, atol=1e-16)


# Encoding and the pivot


@pytest.mark.parametrize("pivot", CELLS)
@pytest.mark.parametrize("sign", [1, -1])
def test_encoding_is_undone(sign, pivot):
    w = with_sign(sign)
    chart, y = chart_at(completion(((1, 0),)), w, 2, pivot)
    np.testing.assert_allclose(chart.product(y), w, rtol=1e-14)


def test_small_differences_from_observed_neighbours_keep_their_digits():
    problem = gf.synthetic.norm_blowup()
    chart = LogDetCoordinates(problem, jnp.asarray(1.0), jnp.asarray(1.0), 2, (0, 0))
    y = jnp.array([np.log(50.0), 1e-20, -2e-20, -1e4])
    # w_22 = w_12 w_21 / w_11 = 1/50 to 1e-20, so the loss is that alone.
    np.testing.assert_allclose(chart.loss(y), 0.5 / 50.0**2, rtol=1e-14)
    fitted = gf.synthetic.norm_blowup(epsilon=0.02)
    chart = LogDetCoordinates(fitted, jnp.asarray(1.0), jnp.asarray(1.0), 2, (0, 0))
    assert chart.loss(y) < 1e-33  # squares of round-off in w_22, and 5e-40


@pytest.mark.parametrize("cell", CELLS)
def test_the_pivot_is_the_unobserved_entry_if_it_is_not_small(cell):
    problem = completion((cell,))
    w = np.full((2, 2), 1.0)
    w[cell] = 0.5
    assert choose_pivot(problem, w) == cell
    w[cell] = 1e-3
    assert choose_pivot(problem, w) != cell


def test_the_pivot_is_the_largest_entry_otherwise():
    w = np.array([[0.1, -3.0], [0.2, 0.3]])
    assert choose_pivot(completion(()), w) == (0, 1)
    assert choose_pivot(completion(((0, 0), (1, 1))), w) == (0, 1)


def test_what_is_kept_of_a_problem_belongs_to_no_program():
    """Signs and turned problems are kept; made while a program was traced, they were its own."""
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    start = (jnp.diag(jnp.array([0.3, 0.2])),) * 2

    def encoded():
        return LogDetCoordinates.encode(objective, gf.GradientFlow(), start)

    _one_sign.cache_clear()
    traced = jax.jit(lambda: encoded()[1])()
    coordinates, y = encoded()
    np.testing.assert_array_equal(traced, y)
    np.testing.assert_allclose(
        coordinates.product(y), np.diag([0.09, 0.04]), rtol=1e-14, atol=1e-17
    )
