"""The stabilised solvers, and one solve by diffrax."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.ode.chebyshev import RKC2, RKC3


def solvers(*some):
    return pytest.mark.parametrize("solver", some, ids=lambda s: type(s).__name__)


# Each solver of each test compiles for a second or two: those that could differ are tried.
stabilized = solvers(RKC2(), RKC3())


@eqx.filter_jit
def solve(field, solver, t0, t1, y0, args=None, rtol=None, dt0=None, wrap=lambda c: c, **keywords):
    """Adaptive steps to rtol = atol, or constant steps dt0."""
    adaptive = rtol is not None
    controller = diffrax.PIDController(rtol=rtol, atol=rtol) if adaptive else None
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), solver, t0, t1, (t1 - t0) * 1e-4 if adaptive else dt0, y0, args,
        stepsize_controller=wrap(controller) if adaptive else diffrax.ConstantStepSize(),
        max_steps=4096, **keywords,
    )  # fmt: skip


RATES = -np.r_[np.linspace(0, 1, 1500), np.geomspace(1e-6, 1, 501)]


@eqx.filter_jit
def one_step(solver, field, h, y, args):
    terms = diffrax.ODETerm(field)
    state = solver.init(terms, 0.0, h, y, args)
    y1, error, _, state, _ = solver.step(terms, 0.0, h, y, args, state, False)
    return y1, error, state.work


def decays(t, y, rates):
    return rates * y


def towards_cosine(t, y, stiffness):
    """Prothero and Robinson's problem: cos t attracts, and its own slope keeps y on it."""
    return -stiffness * (y - jnp.cos(t)) - jnp.sin(t)
