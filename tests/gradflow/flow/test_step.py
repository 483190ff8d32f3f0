"""Parts of a step by themselves."""

import jax.numpy as jnp
import pytest

import gradflow as gf
from gradflow.coordinates import LogDetCoordinates
from gradflow.flow.clock import Clock
from gradflow.flow.loop import Leg
from gradflow.flow.options import FlowOptions
from gradflow.flow.setup import prepare_flow
from gradflow.flow.stopping import Stop


@pytest.mark.parametrize(("dt", "change", "late"), [(0.0, 1e-16, False), (1e-3, 1e-16, False),
                                                    (1e-3, 20.0, True)])  # fmt: skip
def test_a_clock_is_not_too_coarse_for_a_step_that_was_not_taken(monkeypatch, dt, change, late):
    """Two products of one y may differ by rounding, in a program that fuses one of them."""
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = prepare_flow(objective, objective.factorization.identity(0.1), FlowOptions(horizon=1.0))
    clock = Clock(True, jnp.asarray(flow.scale), jnp.asarray(0.0))
    stop = Stop(None, None, jnp.asarray(10))
    leg = Leg(
        coordinates=flow.coordinates,
        clock=clock,
        solver=flow.solver,
        rtol=jnp.asarray(1e-8),
        atol=jnp.asarray(1e-10),
        stop=stop,
        first=jnp.asarray(flow.grid[1]),
        horizon=jnp.asarray(flow.grid[-1]),
        interpolate=jnp.asarray(False),
    )
    stepper = leg.stepper()
    before = stepper.begin(flow.y, jnp.asarray(0.0))
    monkeypatch.setattr(
        LogDetCoordinates, "relative_change", lambda self, a, b: jnp.asarray(change)
    )
    landed = before.__class__(**(vars(before) | {"clock": before.clock + dt}))
    assert bool(stepper.sudden(before, landed)) is late
