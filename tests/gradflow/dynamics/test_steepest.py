"""The flows of sign descent and of Muon: SciPy, closed forms, sliding, the descents themselves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.dynamics import SignFlow, SpectralFlow
from tests.gradflow.dynamics.adam import numpy_gradients, objective, start
from tests.helpers import flow_by_scipy, refuses

WIDTH = 0.05


def sign(g, width=WIDTH):
    return g / np.sqrt(g**2 + width**2)


def spectral(g, width=WIDTH):
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    return (u * (s / np.sqrt(s**2 + width**2))) @ vt


KINDS = {"sign": (SignFlow, sign), "spectral": (SpectralFlow, spectral)}


@pytest.mark.parametrize("kind", KINDS)
def test_flows_agree_with_scipy(kind):
    make, rule = KINDS[kind]
    model = objective(2)
    factors = start(model)
    wanted = flow_by_scipy(
        lambda y: [-rule(g) for g in numpy_gradients(y)], [np.asarray(f) for f in factors], 0.6
    )
    flow = gf.solve_flow(
        model, factors, dynamics=make(WIDTH), horizon=0.6, rtol=1e-9, observe=["loss"]
    )
    assert flow.config["dynamics"]["name"] == kind
    for k, factor in enumerate(wanted, start=1):
        np.testing.assert_allclose(flow.final[f"W_{k}"], factor, atol=2e-7)
    assert np.all(np.diff(flow["loss"]) < 0)


TARGET = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0] @ np.diag(
    [1.0, 0.6, 0.6, 0.2]
)
QUADRATIC = gf.Objective(gf.LeastSquares(np.eye(4), TARGET), gf.MatrixProduct((4, 4)))


@pytest.mark.parametrize("kind", KINDS)
def test_errors_fall_at_speed_one_until_they_are_gone_and_slide(kind):
    """Filippov's solution from 0: what is missing, by entries or singular values, is max(b-t, 0).

    Singular values of what is missing meet on the way, and come down to 0 one after the other.
    """
    errors = []
    for width in (2e-2, 1e-2):
        flow = gf.solve_flow(
            QUADRATIC, (np.zeros((4, 4)),), dynamics=KINDS[kind][0](width), horizon=0.7,
            record=np.linspace(0.1, 0.7, 7), observe=["product"],
        )  # fmt: skip
        left = TARGET - flow["product"]
        t = flow.times[:, None]
        if kind == "sign":
            found, at_first = np.abs(left).reshape(len(t), -1), np.abs(TARGET).ravel()
        else:
            found, at_first = np.linalg.svd(left, compute_uv=False), np.array([1, 0.6, 0.6, 0.2])
        errors.append(np.abs(found - np.maximum(at_first - t, 0)).max())
    # Within a layer of the width, and a little later: the speed is below 1 near it.
    assert errors[0] < 2e-2
    assert errors[1] < 0.6 * errors[0]


def test_muon_tends_to_the_flow():
    """Where no singular value of a gradient comes down to 0: at first order."""
    problem = gf.LeastSquares(np.eye(2), 5 * np.eye(2) + 1.0)
    model = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    factors = tuple(0.5 * np.random.default_rng(k).normal(size=(2, 2)) for k in (1, 2))
    flow = gf.solve_flow(
        model, factors, dynamics=SpectralFlow(1e-6), horizon=0.5, observe=["product"], rtol=1e-9
    )
    muon = partial(
        gf.optimizers.muon, momentum=0.0, nesterov=False, weight_decay=0.0, polar="exact"
    )
    errors = []
    for steps in (10, 20):
        run = gf.run_descent(
            model, factors, muon, learning_rate=0.5 / steps, max_steps=steps, observe=["product"]
        )
        errors.append(np.linalg.norm(run["product"][-1] - flow["product"][-1]))
    assert errors[0] < 0.02
    assert 1.8 < errors[0] / errors[1] < 2.3


def test_the_velocity_has_a_derivative_where_singular_values_meet_and_vanish():
    flow = SpectralFlow(0.3)
    point = (jnp.asarray(TARGET @ np.diag([1, 2.0, 3.0, 0.0])),)
    way = (jnp.asarray(np.random.default_rng(4).normal(size=(4, 4))),)

    def velocity(t):
        return flow.velocity(QUADRATIC, (point[0] + t * way[0],))[0]

    found = jax.jit(lambda: jax.jvp(velocity, (0.0,), (1.0,))[1])()
    wanted = (velocity(1e-5) - velocity(-1e-5)) / 2e-5
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_can_be_followed_and_differentiated(kind):
    model = objective(2)
    noise = start(model)
    make = KINDS[kind][0]

    def loss(scale):
        factors = jax.tree.map(lambda f: scale * f, noise)
        flow = gf.flow.follow(model, factors, 0.2, dynamics=make(WIDTH), rtol=1e-8)
        return model.loss(flow.factors)

    value, slope = jax.jit(jax.value_and_grad(loss))(1.0)
    flow = gf.solve_flow(model, noise, dynamics=make(WIDTH), horizon=0.2, rtol=1e-8)
    np.testing.assert_allclose(value, flow["loss"][-1], rtol=1e-6)
    losses = jax.jit(loss)
    np.testing.assert_allclose(slope, (losses(1.001) - losses(0.999)) / 2e-3, rtol=1e-4)


def test_misuse_is_refused_by_value_and_remedy():
    refuses(lambda: SignFlow(0.0), "smoothing", "above 0, but it is 0.0")
    refuses(lambda: SpectralFlow(-1.0), "smoothing", "above 0, but it is -1.0")
    model = objective(2)
    factors = start(model)
    for make in (SignFlow, SpectralFlow):
        refuses(
            lambda make=make: gf.solve_flow(model, factors, dynamics=make(1e-16), horizon=1.0),
            "1e-16", "give one of at least",
        )  # fmt: skip
    network = gf.Objective(gf.LeastSquares(np.eye(3), np.ones(3)), gf.DiagonalNetwork(3, 2))
    refuses(
        lambda: gf.solve_flow(
            network, (np.ones(3), np.ones(3)), dynamics=SpectralFlow(0.1), horizon=1.0
        ),
        "W_1 has shape (3,)", "SignFlow",
    )  # fmt: skip
