"""Log-polar coordinates of CP tensors: every component keeps its relative accuracy at any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gradflow as gf
from gradflow.coordinates import logpolar
from gradflow.coordinates.logpolar import LogPolarCoordinates
from gradflow.flow.options import FlowOptions
from gradflow.flow.setup import prepare_flow
from tests.gradflow.coordinates import tensor_taylor
from tests.helpers import product_by_scipy

SEEN = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 1)]
VALUES = [1.0, 0.5, -0.75, 0.25, 0.4]
FACTORS = (
    np.array([[0.126, -0.132], [0.64, 0.105]]),
    np.array([[-0.536, 0.362], [1.304, 0.947]]),
    np.array([[-0.704, -1.265], [-0.623, 0.041]]),
)
LEVEL = 0.25
"""Of the loss, which is 1.0175 at zero: the larger component has risen, the other has not."""
ENDS = {
    -3: tensor_taylor.End(
        1748.0394213567156, (-21.285356211417408, 0.2066819841335216), -0.07885469684266698
    ),
    -6: tensor_taylor.End(
        1747979.5080776357, (-42.00706586823864, 0.19575248637689674), -0.08072403024669575
    ),
}
"""By the exponent of ten of the factors' scale."""


def small():
    problem = gf.TensorCompletion((2, 2, 2), SEEN, VALUES)
    return gf.Objective(problem, gf.CPTensor((2, 2, 2), 2))


def larger(rank=7, shape=(3, 4, 2)):
    problem = gf.synthetic.tensor_completion(jax.random.key(0), shape, 1, 12)
    return gf.Objective(problem, gf.CPTensor(shape, rank))


def starts(model):
    return {
        "unbalanced": model.gaussian(jax.random.key(1), std=0.3),
        "balanced": model.random_balanced(jax.random.key(2), 0.3),
    }


@pytest.fixture(params=["unbalanced", "balanced"])
def placed(request):
    """Coordinates of a start, the start in them, and the start."""
    objective = larger()
    factors = starts(objective.factorization)[request.param]
    return *LogPolarCoordinates.encode(objective, gf.GradientFlow(), factors), factors


def test_factors_come_back(placed):
    made, y, factors = placed
    for found, wanted in zip(made.factors(y), factors, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
    np.testing.assert_allclose(made.product(y), made.objective.product(factors), atol=1e-15)
    norms = made.objective.factorization.component_norms(factors)
    np.testing.assert_allclose(made.log_component_norms(y), np.log(norms), rtol=1e-13, atol=1e-14)


def test_the_velocity_is_that_of_the_factors(placed):
    made, y, factors = placed
    moved = jax.jvp(made.factors, (y,), (made.velocity(y),))[1]
    gradient = made.objective.gradient(factors)
    for found, g in zip(moved, gradient, strict=True):
        np.testing.assert_allclose(found, -g, atol=1e-15)
    square = sum(float(jnp.sum(g**2)) for g in gradient)
    np.testing.assert_allclose(made.squared_gradient_norm(y), square, rtol=1e-13)


def test_lengths_of_directions_do_not_count(placed):
    made, (s, units), factors = placed
    longer = s, tuple(1.7 * u for u in units)
    for found, wanted in zip(made.factors(longer), factors, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
    rise, turning = made.velocity(longer)
    np.testing.assert_allclose(rise, made.velocity((s, units))[0], rtol=1e-12)
    for u, v in zip(units, turning, strict=True):
        np.testing.assert_allclose(jnp.sum(u * v, axis=0), 0, atol=1e-16)


def test_the_stiff_part_is_the_largest_components_jacobian(placed, monkeypatch):
    made, y, _ = placed
    monkeypatch.setattr(logpolar, "STIFF", 35)  # of 10 unknowns a component
    flat, unravel = ravel_pytree(y)
    whole = jax.jit(jax.jacfwd(lambda x: ravel_pytree(made.velocity(unravel(x)))[0]))(flat)
    part = jax.jit(lambda at: made.stiff_part(at))(y)
    assert part is not None
    assert made.stiff_components == 3
    np.testing.assert_allclose(part.jacobian, whole[part.where][:, part.where], atol=1e-15)
    top = np.argsort(-np.asarray(made.log_component_norms(y)))[:3]
    assert sorted(part.where[:3].tolist()) == sorted(top.tolist())  # the lengths come first


def test_some_components_implicit_and_others_explicit_give_the_same_flow(monkeypatch):
    objective = larger(rank=12, shape=(3, 3, 3))
    start = objective.factorization.random_balanced(jax.random.key(5), 0.3)
    monkeypatch.setattr(logpolar, "STIFF", 40)
    flow = gf.solve_flow(
        objective, start, coordinates="logpolar", horizon=30.0, observe=["product"]
    )
    assert "4 largest components" in flow.stats["solver_reason"]
    wanted = product_by_scipy(objective, start, 30.0)
    np.testing.assert_allclose(flow["product"][-1], wanted, atol=1e-7)


def at_level(exponent, rtol):
    log_scale = 3 * exponent * np.log(10)
    return gf.solve_flow(
        small(), gf.LogScaled(FACTORS, log_scale), stop_loss=LEVEL, rtol=rtol,
        observe=["log_component_norms", "product"],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:In this flow errors grow")
@pytest.mark.parametrize("exponent", [-3, -6])
def test_ends_are_those_of_a_long_taylor_series(exponent):
    wanted = ENDS[exponent]
    for rtol in (1e-8, 1e-10):  # tighter tolerances come nearer
        flow = at_level(exponent, rtol)
        error = np.abs(flow["log_component_norms"][-1] - wanted.log_norms).max()
        assert error < 5 * rtol
        assert abs(flow["product"][-1, -1, -1, -1] - wanted.entry) < 5 * rtol
        assert abs(flow.stats["end"] / wanted.time - 1) < 10 * rtol


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [-3, -6])
def test_the_long_taylor_series_again(exponent):
    found = tensor_taylor.follow(SEEN, VALUES, FACTORS, exponent, LEVEL)
    np.testing.assert_allclose(found.log_norms, ENDS[exponent].log_norms, rtol=1e-14)
    np.testing.assert_allclose((found.time, found.entry), ENDS[exponent][::2], rtol=1e-14)


@pytest.mark.filterwarnings("ignore:In this flow errors grow")
def test_starts_far_below_the_least_number_leave_at_the_same_rescaled_time():
    # The product: e^-690 is 1e-300, e^-1400 is 1e-608.
    found = {x: gf.solve_flow(
        small(), gf.LogScaled(FACTORS, x), stop_loss=LEVEL, observe=["log_component_norms"],
    ) for x in (-120.0, -690.0, -1400.0)}  # fmt: skip
    scaled = [flow.stats["end"] * np.exp(x / 3) for x, flow in found.items()]
    np.testing.assert_allclose(scaled, scaled[0], rtol=1e-9)
    # The component that stays behind does so by the same share of its start.
    behind = [flow["log_component_norms"][-1, 0] - x for x, flow in found.items()]
    np.testing.assert_allclose(behind, behind[0], atol=1e-8)
    risen = [flow["log_component_norms"][-1, 1] for flow in found.values()]
    np.testing.assert_allclose(risen, risen[0], atol=1e-7)


def test_a_flow_goes_on_from_where_it_ended():
    objective = small()
    first = gf.solve_flow(objective, gf.LogScaled(FACTORS, -30.0), stop_loss=0.5)
    second = gf.solve_flow(objective, first.final, stop_loss=LEVEL, observe=["factors"])
    assert second.stats["coordinates"] == "logpolar"
    whole = gf.solve_flow(objective, gf.LogScaled(FACTORS, -30.0), stop_loss=LEVEL)
    for k in (1, 2, 3):
        np.testing.assert_allclose(second.final[f"W_{k}"], whole.final[f"W_{k}"], atol=1e-6)
        np.testing.assert_allclose(second[f"factors_{k}"][-1], second.final[f"W_{k}"], rtol=1e-14)


def test_auto_takes_them_from_tiny_starts_and_says_why():
    objective = larger()
    model = objective.factorization
    for std, coordinates, why in (
        (1e-5, "logpolar", "tiny start: each keeps its relative accuracy"),
        (1e-1, "factors", "not tiny"),
    ):
        start = model.gaussian(jax.random.key(3), std=std)
        flow = prepare_flow(objective, start, FlowOptions(horizon=1.0))
        assert flow.coordinates.name == coordinates
        assert why in flow.reasons[0]


def test_auto_leaves_them_where_second_derivatives_jump():
    rows = np.random.default_rng(0).normal(size=(3, 3, 4, 2))
    objective = gf.Objective(gf.problems.HuberSensing(rows, np.ones(3)), larger().factorization)
    start = objective.factorization.gaussian(jax.random.key(3), std=1e-5)
    flow = prepare_flow(objective, start, FlowOptions(horizon=1.0))
    assert flow.coordinates.name == "factors" and "derivatives jump" in flow.reasons[0]


ZERO = tuple(f * np.array([1.0, 0.0]) for f in FACTORS)
DECAYING = gf.Objective(small().problem, small().factorization, gf.penalties.WeightDecay(0.1))
LINE = gf.Objective(gf.TensorCompletion((1, 2, 2), [(0, 0, 0)], [1.0]), gf.CPTensor((1, 2, 2), 1))
TREE = gf.HierarchicalTensor((2, 2, 2), 2)
REFUSED = {
    "a zero component": (small(), ZERO, {}, "Column 1 of W_1 is zero", "leave such"),
    "a penalty": (DECAYING, FACTORS, {}, "WeightDecay", "coordinates='factors'"),
    "another dynamics": (
        small(), FACTORS, {"dynamics": gf.dynamics.MomentumFlow(0.5)}, "momentum", "'factors'"),
    "a tree": (
        gf.Objective(small().problem, TREE), TREE.gaussian(jax.random.key(0), std=0.1), {},
        "HierarchicalTensor has no components", "coordinates='factors'"),
    "a vector of one entry": (
        LINE, (np.array([[0.1]]), np.ones((2, 1)), np.ones((2, 1))), {},
        "component 0 has one entry", "a balanced start"),
    "a scaled array": (
        small(), gf.LogScaled(np.ones((2, 2, 2)), -9.0), {}, "single array", "one array an axis"),
    "scaled for ever": (
        small(), gf.LogScaled(FACTORS, -3000.0), {}, "log_scale -3000", "take a larger one"),
    "a scale that is no number": (
        small(), gf.LogScaled(FACTORS, np.nan), {}, "log_scale must be finite", "nan"),
    "half a state": (
        small(), {"log_lengths": np.zeros(2)}, {}, "no log_gaps", "log_lengths"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_value_and_the_remedy(name):
    objective, start, asked, value, remedy = REFUSED[name]
    with pytest.raises(ValueError) as refusal:
        gf.solve_flow(objective, start, horizon=1.0, coordinates="logpolar", **asked)
    assert value in str(refusal.value)
    assert remedy in str(refusal.value)
