"""Flows of Adam's model: SciPy, sliding solutions, stops."""

import itertools

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import gradflow as gf
from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation
from gradflow.state import State
from tests.gradflow.dynamics.adam import (
    MASK,
    PROBLEM,
    TARGET,
    in_factors,
    numpy_gradients,
    objective,
    spread,
    start,
)
from tests.helpers import chain

FIELD = diffrax.ODETerm(lambda t, y, held: held.velocity(y))


def solve(held, y, end):
    return diffrax.diffeqsolve(
        FIELD,
        diffrax.Tsit5(), 0.0, end, 1e-3, y, held,
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
        saveat=diffrax.SaveAt(ts=jnp.linspace(0, end, 21)), max_steps=200_000,
    ).ys  # fmt: skip


def test_depth_one_follows_the_sign_until_an_entry_is_fitted_and_then_slides():
    """Filippov's solution is W_ij = sign(b_ij) min(t, |b_ij|) from 0, at observed entries."""
    model = objective(1)
    zero = (jnp.zeros((4, 3)),)
    errors = []
    for smoothing in (2e-2, 1e-2):
        (path,) = solve(in_factors(model, zero, smoothing=smoothing), zero, 1.5)
        t = np.linspace(0, 1.5, 21)[:, None, None]
        wanted = MASK * np.sign(TARGET) * np.minimum(t, np.abs(TARGET))
        errors.append(np.abs(path - wanted).max())
    # An entry's gradient is 2 (W - b): it comes to rest within a layer of width epsilon / 2.
    assert errors[0] < 2e-2
    assert errors[1] < 1e-2
    assert np.any((np.abs(TARGET) > 0) & (np.abs(TARGET) < 1.2))  # some of them slide


def test_half_the_smoothing_leaves_half_the_error():
    """On a path where gradients change sign: its distance from the next is O(epsilon)."""
    model = objective(2)
    factors = start(model)
    smoothings = [2.5e-3 / 2**k for k in range(4)]
    ends = []
    for smoothing in smoothings:
        held = in_factors(model, factors, smoothing=smoothing)
        end = tuple(f[-1] for f in solve(held, factors, 0.2))
        ends.append(chain(end))
        assert (
            0 < gf.dynamics.smoothed_share(State(held, end)) < 1
        )  # some entries slide, others move on
    gaps = [np.linalg.norm(a - b) for a, b in itertools.pairwise(ends)]
    assert all(gap < 0.6 * e for gap, e in zip(gaps, smoothings[:-1], strict=True))
    for first, second in itertools.pairwise(gaps):
        assert 1.8 < first / second < 2.5  # 2, and terms of the next order


@pytest.mark.parametrize("variance", [None, 0.05])
def test_the_loss_never_rises_along_a_solution(variance):
    model = objective(3)
    factors = start(model)
    held = in_factors(model, factors, variance, 0.05)
    path = solve(held, factors, 1.0)
    values = np.array([held.value(tuple(f[k] for f in path)) for k in range(21)])
    assert np.all(np.diff(values) < 0)
    assert values[-1] < 0.1 * values[0]


# solve_flow


SOLVERS = {"implicit": LinearlyImplicitExtrapolation(), "hand-over": gf.ode.StiffnessSwitch()}


def scipy_flow(factors, variance, smoothing, end, penalty=0.0):
    """The factors at the end, by an eighth-order method on the formula."""
    shapes = [f.shape for f in factors]
    cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def unpack(y):
        return [part.reshape(s) for part, s in zip(np.split(y, cuts), shapes, strict=True)]

    def field(_, y):
        gradients = numpy_gradients(unpack(y), penalty)
        parts = [
            -g / np.sqrt(g**2 + s2 + smoothing**2)
            for g, s2 in zip(gradients, variance, strict=True)
        ]
        return np.concatenate([part.ravel() for part in parts])

    first = np.concatenate([np.ravel(f) for f in factors])
    solution = solve_ivp(field, (0, end), first, method="DOP853", rtol=1e-11, atol=1e-12)
    return unpack(solution.y[:, -1])


@pytest.mark.parametrize(
    ("depth", "solver", "penalty"),
    [(1, "auto", 0.0), (2, "implicit", 0.0), (3, "hand-over", 0.0), (2, "auto", 0.3)],
)
def test_flows_with_a_variance_agree_with_scipy(depth, solver, penalty):
    model = objective(depth, gf.NuclearNorm(penalty) if penalty else None)
    factors = start(model)
    variance = spread(factors)
    held = in_factors(model, factors, variance)
    end = 0.3
    flow = gf.solve_flow(
        model, factors, dynamics=held.dynamics, horizon=end, solver=SOLVERS.get(solver, "auto"),
        observe=["value", "singular_values"],
    )  # fmt: skip
    assert flow.outcome is gf.Outcome.REACHED_HORIZON
    assert not penalty or flow["singular_values"].min() > 1e-2  # far from a kink
    # rtol 1e-8 a step; errors of some hundreds of steps add up.
    for k, wanted in enumerate(scipy_flow(factors, variance, 0.0, end, penalty)):
        np.testing.assert_allclose(flow.final[f"W_{k + 1}"], wanted, atol=1e-6)
    assert np.all(np.diff(flow["value"]) < 0)
    assert flow.config["dynamics"]["name"] == "adam"
    assert flow.stats["coordinates"] == "factors"
    assert "invariant_drift" not in flow.stats  # nothing is conserved
    assert flow.stats["steps"] + flow.stats["rejected"] < 1000


@pytest.mark.parametrize("solver", SOLVERS)
def test_full_batches_converge_to_the_sliding_solution(solver):
    """Filippov's, W_ij = sign(b_ij) min(t, |b_ij|), in proportion to the smoothing."""
    model = objective(1)
    zero = (jnp.zeros((4, 3)),)
    times = np.linspace(0, 1.5, 31)
    wanted = MASK * np.sign(TARGET) * np.minimum(times[:, None, None], np.abs(TARGET))
    errors, attempts = [], []
    smoothings = [1e-2, 1e-3, 1e-4]
    for smoothing in smoothings:
        flow = gf.solve_flow(
            model, zero, dynamics=gf.AdamFlow(smoothing=smoothing),
            record=times, horizon=1.5, solver=SOLVERS[solver], observe=["product"],
        )  # fmt: skip
        assert flow.outcome is gf.Outcome.REACHED_HORIZON
        errors.append(np.abs(flow["product"] - wanted).max())
        attempts.append(flow.stats["steps"] + flow.stats["rejected"])
    # At rest within a layer of width epsilon / 2: its gradient is 2 (W - b).
    assert all(error < smoothing for error, smoothing in zip(errors, smoothings, strict=True))
    for first, second in itertools.pairwise(errors):
        assert second < first / 5
    # Stiffness does not matter, which is 2 / epsilon: explicit steps number 1 / epsilon at least.
    assert attempts[-1] < 2 * attempts[0] < 2000


def test_at_depth_two_full_batches_converge_and_both_solvers_agree():
    """Half the smoothing, half the distance: O(epsilon) on a path that slides."""
    model = objective(2)
    factors = start(model)
    ends = []
    for smoothing in (4e-4, 2e-4, 1e-4):
        held = in_factors(model, factors, smoothing=smoothing)
        pair = [
            gf.solve_flow(model, factors, dynamics=held.dynamics, horizon=0.2, solver=solver,
                          rtol=1e-9, observe=["product", "value"])
            for solver in SOLVERS.values()
        ]  # fmt: skip
        products = [flow["product"][-1] for flow in pair]
        # Where an entry's gradient changes sign, an error of rtol in the factors decides when. A
        # looser tolerance may step over a layer and be wrong by hundreds of tolerances.
        np.testing.assert_allclose(products[0], products[1], atol=1e-7)
        assert all(np.all(np.diff(flow["value"]) < 0) for flow in pair)
        assert pair[1].stats["spectral_radius"] > 0.1 / smoothing
        assert all(flow.stats["steps"] + flow.stats["rejected"] < 5000 for flow in pair)
        ends.append(products[0])
    gaps = [np.linalg.norm(a - b) for a, b in itertools.pairwise(ends)]
    assert 1.8 < gaps[0] / gaps[1] < 2.2


@pytest.mark.parametrize("depth", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_stopping_loss_is_reached(depth):
    """At depth 2 by the implicit solver, at depth 3 and twice the width by the hand-over."""
    model = gf.Objective(PROBLEM, gf.MatrixProduct.of((4, 3), depth, 3 if depth == 2 else 6))
    factors = start(model)
    held = in_factors(model, factors, smoothing=1e-2)
    flow = gf.solve_flow(
        model, factors, dynamics=held.dynamics, stop_loss=1e-4, observe=["loss", "gradient_norm"]
    )
    assert flow.outcome is gf.Outcome.REACHED_LOSS
    np.testing.assert_allclose(flow["loss"][-1], 1e-4, rtol=1e-6)
    gradient = model.gradient(tuple(flow.final.values()))
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient))
    np.testing.assert_allclose(flow["gradient_norm"][-1], norm, rtol=1e-9)
    assert flow.stats["solver"] == (
        "LinearlyImplicitExtrapolation" if depth == 2 else "StiffnessSwitch"
    )
    if depth == 3:
        assert flow.stats["steps"] < flow.stats["gradients"] < 20 * flow.stats["steps"]


def test_a_kink_ends_an_adam_flow():
    """A diagonal that fits all observations moves by the penalty, at the smoothed rate of 1."""
    problem = gf.MatrixCompletion((2, 2), [[0, 1]], [0.0])
    model = gf.Objective(problem, gf.MatrixProduct((2, 2)), gf.NuclearNorm(0.3))
    factors = (jnp.diag(jnp.array([1.0, 0.4])),)
    held = in_factors(model, factors, smoothing=0.4)
    flow = gf.solve_flow(model, factors, dynamics=held.dynamics, horizon=10.0)
    assert flow.outcome is gf.Outcome.LOST_GRADIENT
    # The rate is 0.3 / hypot(0.3, 0.4).
    np.testing.assert_allclose(flow.stats["end"], 0.4 / 0.6, rtol=1e-6)
    assert flow.stats["steps"] + flow.stats["rejected"] < 500
