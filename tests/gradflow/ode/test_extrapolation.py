"""Linearly implicit extrapolation: order of convergence, stiffness, use through diffrax."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation

START = np.array([0.8, 0.1])


def nonlinear(t, y, args):
    """Depends on time, nonlinear, with a closed form."""
    return jnp.array([-(y[0] ** 2) * jnp.cos(t), y[1] * (1 - y[1]) * (1 + 0.5 * jnp.sin(3 * t))])


def closed_form(t):
    grown = t + 0.5 * (1 - np.cos(3 * t)) / 3
    return np.array([1 / (1 / START[0] + np.sin(t)), 1 / (1 + (1 / START[1] - 1) * np.exp(-grown))])


def error_after(columns, steps):
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(nonlinear), LinearlyImplicitExtrapolation(columns), 0.0, 2.0, 2.0 / steps,
        jnp.asarray(START), stepsize_controller=diffrax.ConstantStepSize(), max_steps=128,
    )  # fmt: skip
    return np.max(np.abs(solution.ys[0] - closed_form(2.0)))


@pytest.mark.parametrize("columns", [2, 3, 4, 5])
def test_the_order_of_convergence_is_the_number_of_columns(columns):
    steps = np.array([8, 16, 32])
    errors = [error_after(columns, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    # One order off would be 1; the next term of the error shifts the slope by some per cent.
    assert abs(slope - columns) < 0.25


def solve(field, t1, y0, rtol, solver=None, **keywords):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), solver or LinearlyImplicitExtrapolation(), 0.0, t1, 1e-6, y0,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol), max_steps=4096, **keywords,
    )  # fmt: skip


@pytest.mark.parametrize("rtol", [1e-5, 1e-8])
def test_adaptive_steps_keep_the_tolerance(rtol):
    solution = solve(nonlinear, 2.0, jnp.asarray(START), rtol)
    # A dozen steps of a problem that does not amplify errors.
    assert np.max(np.abs(solution.ys[0] - closed_form(2.0))) < 30 * rtol


@pytest.mark.parametrize("stiffness", [1e3, 1e6, 1e9])
def test_a_stiff_problem_takes_few_steps(stiffness):
    """Prothero and Robinson's problem, whose solution is cos t for any stiffness."""

    def field(t, y, args):
        return -stiffness * (y - jnp.cos(t)) - jnp.sin(t)

    solution = solve(field, 10.0, jnp.ones(1), 1e-6)
    assert abs(solution.ys[0, 0] - np.cos(10.0)) < 1e-5
    assert solution.stats["num_steps"] < 150  # an explicit method takes about 3 * stiffness


def test_van_der_pol_agrees_with_radau():
    def field(t, y, args):
        return jnp.array([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])

    wanted = scipy.integrate.solve_ivp(
        lambda t, y: [y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]],
        (0, 500), [2.0, 0.0], method="Radau", rtol=1e-10, atol=1e-12,
    ).y[:, -1]  # fmt: skip
    found = solve(field, 500.0, jnp.array([2.0, 0.0]), 1e-8)
    np.testing.assert_allclose(found.ys[0], wanted, rtol=1e-6)


def test_one_huge_step_on_a_stiff_linear_problem_is_damped():
    """The stability function vanishes at infinity."""
    field = diffrax.ODETerm(lambda t, y, args: -1e12 * y)
    y1, error, *_ = LinearlyImplicitExtrapolation().step(
        field, 0.0, 1.0, jnp.ones(2), None, None, False
    )
    assert jnp.max(jnp.abs(y1)) < 1e-8
    assert jnp.max(jnp.abs(error)) < 1e-8


def test_any_tree_of_arrays_is_a_state_and_saved_times_are_interpolated():
    def field(t, y, args):
        return {"a": -y["a"], "b": (args * y["b"][0],)}

    solution = solve(
        field, 1.0, {"a": jnp.ones((2, 2)), "b": (jnp.ones(3),)}, 1e-8,
        args=-2.0, saveat=diffrax.SaveAt(ts=jnp.array([0.3, 1.0])),
    )  # fmt: skip
    # At the end of a step to the tolerance; between, a cubic through ends and slopes.
    np.testing.assert_allclose(solution.ys["a"][1], np.exp(-1.0) * np.ones((2, 2)), rtol=1e-7)
    np.testing.assert_allclose(solution.ys["b"][0][1], np.exp(-2.0) * np.ones(3), rtol=1e-7)
    np.testing.assert_allclose(solution.ys["b"][0][0], np.exp(-0.6) * np.ones(3), rtol=1e-2)


@pytest.mark.parametrize("columns", [1, 0])
def test_fewer_than_two_columns_are_refused(columns):
    with pytest.raises(ValueError, match=f"at least 2, but it is {columns}"):
        LinearlyImplicitExtrapolation(columns)
