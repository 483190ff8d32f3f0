"""The hand-over between an explicit solver and a stabilised one."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.ode.chebyshev import RKC2, RKC3
from tests.gradflow.ode.stabilized import decays, solve, towards_cosine

TRACED = []


def stiff_for_a_while(t, y, stiffness):
    """Towards cos t: at rate 1 before t = 2 and after t = 4, and `stiffness` between."""
    TRACED.append(None)
    bump = jax.nn.sigmoid(20 * (t - 2)) * jax.nn.sigmoid(20 * (4 - t))
    return towards_cosine(t, y, 1 + stiffness * bump)


def to(end, stiffness, start=(1.0, 2.0)):
    return solve(
        stiff_for_a_while, gf.HandOver(), 0.0, jnp.asarray(end), jnp.asarray(start),
        jnp.asarray(stiffness), rtol=jnp.asarray(1e-5),
        saveat=diffrax.SaveAt(t1=True, solver_state=True),
    )  # fmt: skip


def test_it_hands_over_where_the_problem_is_stiff_and_back():
    found = [to(end, 1e5) for end in (1.5, 3.5, 30.0)]
    assert [bool(run.solver_state.stiff) for run in found] == [False, True, False]
    assert float(found[1].solver_state.work.radius) == pytest.approx(1e5, rel=0.1)
    np.testing.assert_allclose(found[2].ys[-1], np.cos(30.0), atol=1e-3)
    # An explicit method alone needs two units of time times 1e5 / 3 steps.
    assert int(found[1].stats["num_steps"]) < 300


def test_stiffness_and_stage_counts_do_not_trace_again():
    to(1.0, 1.0)
    count = len(TRACED)
    assert count > 0
    work = [int(to(3.5, stiffness).solver_state.work.fields) for stiffness in (0.0, 1e3, 1e6)]
    assert len(set(work)) == 3
    assert len(TRACED) == count


@pytest.mark.parametrize("explicit", [diffrax.Heun(), diffrax.Ralston()])
def test_an_explicit_solver_that_does_not_use_its_last_stage_again_is_refused(explicit):
    with pytest.raises(ValueError, match=rf"use its last stage again.*{type(explicit).__name__}"):
        gf.HandOver(explicit=explicit)


SLOW_TO_FAST = np.geomspace(0.1, 3e4, 12)


@pytest.mark.parametrize(
    ("explicit", "tail"),
    [
        (diffrax.Tsit5(), RKC2()),
        pytest.param(diffrax.Bosh3(), RKC3(), marks=pytest.mark.slow),
        pytest.param(diffrax.Dopri8(), RKC3(), marks=pytest.mark.slow),
    ],
)
def test_other_pairs_work_too(explicit, tail):
    solver = gf.HandOver(explicit=explicit, stabilized=tail)
    assert solver.order(None) == min(explicit.order(None), tail.order(None))
    solution = solve(
        decays, solver, 0.0, 1.0, jnp.ones(12), jnp.asarray(-SLOW_TO_FAST), rtol=1e-5,
        saveat=diffrax.SaveAt(t1=True, solver_state=True),
    )  # fmt: skip
    assert bool(solution.solver_state.stiff)
    # h rho = 3 a step of six evaluations would be 60000.
    assert int(solution.solver_state.work.fields) < 4000
    # Errors of some ten tolerances, since a long step may have as many as it has stages, in units
    # of an explicit step's; the fast components have none left.
    np.testing.assert_allclose(solution.ys[-1], np.exp(-SLOW_TO_FAST), atol=6e-4)
