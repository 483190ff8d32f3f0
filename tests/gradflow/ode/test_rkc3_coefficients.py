"""The table of RKC3: what the formulas give, order conditions, stability."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.ode import rkc3_coefficients
from gradflow.ode.chebyshev import RKC2, RKC3
from tests.gradflow.ode.stabilized import RATES, decays, one_step, stabilized


@functools.cache
def stored():
    with np.load(rkc3_coefficients.TABLE) as table:
        return dict(table)


def row(k):
    """The stored method of the k-th stage count."""
    table = stored()
    stages, offset = int(table["stages"][k]), int(table["offset"][k])
    part = slice(offset, offset + stages + 1)
    values = [
        table[name][k] if table[name].ndim == 1 and name in ("reach", "w0", "w1")
        else table[name][part] for name in rkc3_coefficients.Method._fields
    ]  # fmt: skip
    return stages, rkc3_coefficients.Method(*values)


SOME = [0, 1, 5, 20, 30, 40]


@pytest.mark.parametrize("k", SOME)
def test_the_table_is_what_the_formulas_give(k):
    stages, found = row(k)
    wanted = rkc3_coefficients.method(stages)
    for name, a, b in zip(found._fields, found, wanted, strict=True):
        # Weights solve a linear system of condition 1e3 or so: another LAPACK, other last digits.
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=name)


def test_the_table_holds_every_stage_count():
    counts = rkc3_coefficients.stage_counts()
    np.testing.assert_array_equal(stored()["stages"], counts)
    assert np.all(np.diff(stored()["reach"]) > 0)
    # The next method reaches at most a fifth further (10% more stages), so little is wasted.
    share = stored()["reach"] / stored()["stages"] ** 2.0
    assert share.min() > 0.38
    assert np.max(stored()["reach"][10:] / stored()["reach"][9:-1]) < 1.21


def chebyshev_series(method, weights, z):
    """1 + sum_j weight_j b_j (T_j(w0 + w1 z) - T_j(w0)), in extended precision."""
    x = np.longdouble(method.w0) + np.longdouble(method.w1) * np.asarray(z, np.longdouble)
    before, now = np.ones_like(x), x
    total = weights[0] * np.ones_like(x)
    for j in range(2, len(weights)):
        before, now = now, 2 * x * now - before
        scale, constant = np.longdouble(method.scale[j]), np.longdouble(method.chebyshev[j])
        total = total + np.longdouble(weights[j]) * (1 + scale * (now - constant))
    return total


@pytest.mark.parametrize("k", range(0, len(rkc3_coefficients.stage_counts()), 3))
def test_every_stored_polynomial_is_stable_on_its_whole_interval(k):
    stages, method = row(k)
    angles = np.linspace(0, np.pi, 5 * stages)
    z = -method.reach * (1 - np.cos(angles)) / 2
    r = np.abs(chebyshev_series(method, method.gamma, z))
    assert r.max() < 1 + 1e-11
    assert r[z < -4].max() < (0.8 if stages > 5 else 0.95)
    # The error estimate does not see stiff components much larger than they are.
    assert np.abs(chebyshev_series(method, method.delta, z)).max() < 10


@pytest.mark.parametrize("k", SOME)
def test_the_order_conditions_of_the_table(k):
    _, method = row(k)
    t, first, second, third = (
        np.polynomial.chebyshev.chebval(
            method.w0,
            np.polynomial.chebyshev.chebder(np.eye(len(method.scale)), n) if n else
            np.eye(len(method.scale)),
        )
        for n in range(4)
    )  # fmt: skip
    np.testing.assert_allclose(method.chebyshev, t, rtol=1e-10)
    c, half, sixth = (
        method.scale * d * method.w1**n / f
        for n, d, f in ((1, first, 1), (2, second, 2), (3, third, 6))
    )
    used = np.arange(len(c)) != 1
    np.testing.assert_allclose(half[used], c[used] ** 2 / 2, atol=1e-12)
    # Sums of some hundred terms of order 1e-2 to 1: round-off of 1e-13; T''' adds s^2 eps or so.
    for weights, at in ((method.gamma, 1), (method.third, 1 / 3), (method.two_thirds, 2 / 3)):
        assert weights[used].sum() == pytest.approx(1, abs=1e-11)
        assert weights @ c == pytest.approx(at, abs=1e-11)
        assert weights @ c**2 == pytest.approx(at**2, abs=1e-11)
        assert weights @ sixth == pytest.approx(at**3 / 6, abs=1e-8)
    for condition in (np.ones_like(c), c, c**2):
        assert method.delta[used] @ condition[used] == pytest.approx(0, abs=1e-11)
    assert method.delta @ sixth == pytest.approx(0, abs=1e-8)


def trees(t, y, rate):
    """From 0, after one step of 1: sums of b_i, b_i c_i, b_i c_i^2 (two ways), b_i a_ij c_j."""
    return jnp.array([1.0, y[0], y[0] ** 2, t**2, y[1], t * y[0], -rate * y[6]])


@stabilized
def test_the_order_conditions_of_the_recurrence(solver):
    """All rooted trees, nonlinear ones and ones in time, through the code's own stages."""
    for rate in (1.0, 30.0, 1e3, 3e4):
        y1, _, work = one_step(solver, trees, jnp.asarray(1.0), jnp.zeros(7), jnp.asarray(rate))
        assert int(work.fields) > 1.1 * np.sqrt(rate)  # the rate does ask for many stages
        wanted = np.array([1, 1 / 2, 1 / 3, 1 / 3, 1 / 6, 1 / 3])
        kept = 6 if isinstance(solver, RKC3) else 2
        # The first stage's difference quotient, over eps^(1/3) of the step, is wrong by that much
        # times its weight, which is less than a tenth; the rest is round-off.
        np.testing.assert_allclose(y1[:kept], wanted[:kept], atol=6e-7)
        if isinstance(solver, RKC2):
            assert np.all(np.abs(y1[2:6] - wanted[2:]) > 1e-3)  # it has order 2, no more


def test_five_hundred_stages_lose_few_digits():
    """One step in float64 against its polynomial in extended precision."""
    h = 1.05e5
    y = jnp.ones(len(RATES))
    y1, _, work = one_step(RKC3(), decays, jnp.asarray(h), y, jnp.asarray(RATES))
    stages = int(work.fields) - 1  # one evaluation more than stages: the slope before the first
    assert stages > 500
    k = int(np.flatnonzero(stored()["stages"] == stages)[0])
    _, method = row(k)
    wanted = chebyshev_series(method, method.gamma, h * RATES)
    # Round-off of a stage goes on at most linearly: s^2 eps = 6e-11.
    assert np.max(np.abs(np.asarray(y1) - wanted)) < 6e-11
