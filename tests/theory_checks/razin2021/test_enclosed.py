"""Enclosed components: their field is the library's gradient, their ends are SciPy's."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import gradflow as gf
from gradflow.claims.proofs import enclose_flow
from gradflow.claims.proofs.interval import ends
from theory_checks.razin2020 import _enclosed
from theory_checks.razin2021._enclosed import ONE, TWO
from theory_checks.razin2021.norm_blowup import problem

FLOWS = (*ONE, *TWO)
ids = [flow.title for flow in FLOWS]


def factors(x, order, rank):
    """The library's: (2, rank) each, with 0 for what does not move."""
    parts = np.reshape(x, (rank, -1)).T
    first, second = jnp.array(parts[:2]), jnp.array(parts[2:4])
    rest = [jnp.array([c, np.zeros(rank)]) for c in parts[4:]]
    assert len(rest) == order - 2
    return first, second, *rest


@pytest.mark.parametrize("flow", FLOWS, ids=ids)
def test_the_field_is_the_gradient(flow):
    order, rank = flow.of.depth, flow.of.rank
    x = np.random.default_rng(0).normal(size=len(flow.start))
    posed = gf.Objective(problem((2,) * order), gf.CPTensor((2,) * order, rank))
    slopes = jax.grad(lambda f: posed.problem.loss(posed.factorization.product(f)))(
        factors(x, order, rank)
    )
    moved = factors(np.array(flow.of.velocities(list(x))), order, rank)
    for k, (a, b) in enumerate(zip(moved, slopes, strict=True)):
        rows = slice(None) if k < 2 else slice(1)
        np.testing.assert_allclose(a[rows], -np.asarray(b)[rows], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("flow", (ONE[0], TWO[0]), ids=(ids[0], ids[-1]))
def test_a_series_in_30_digits_ends_inside_and_a_twin_does_not(flow):
    time = Fraction(1, 2)
    *_, last = enclose_flow(flow.of.velocities, flow.start, end=time)
    moved = (flow.start[0] + Fraction(1, 2**60), *flow.start[1:])
    *_, twin = enclose_flow(flow.of.velocities, moved, end=time)
    with mpmath.workdps(34):
        error = mpmath.mpf(10) ** -30  # of the series
        start = [mpmath.mpf(x.numerator) / x.denominator for x in flow.start]
        follow = mpmath.odefun(lambda t, x: flow.of.velocities(x), 0, start, tol=1e-32)
        for true, inside in zip(follow(0.5), last.end, strict=True):
            low, high = ends(inside)
            assert low - error < true < high + error and high - low < error
        assert not -error < ends(twin.end[0])[0] - follow(0.5)[0] < error


@pytest.mark.parametrize("flow", FLOWS, ids=ids)
def test_scipy_ends_there(flow):
    step = _enclosed.steps(flow)[-1]
    found = solve_ivp(
        lambda t, x: flow.of.velocities(list(x)), (0, float(step.time + step.width)),
        np.array(flow.start, float), rtol=1e-12, atol=1e-14, method="DOP853",
    )  # fmt: skip
    middles = np.array([float(x.mid) for x in step.end])
    np.testing.assert_allclose(found.y[:, -1], middles, rtol=1e-7, atol=1e-9)
    assert max(float(x.delta) for x in step.end) < 1e-18
    assert _enclosed.last_loss(flow) < 5e-3
