"""Penalised flows: SciPy's integrator, kinks at their times, balanced factors that have none."""

import math

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import gradflow as gf
from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation
from tests.helpers import chain, with_singular_values

WEIGHT = 0.2
PENALTIES = {
    "nuclear": gf.NuclearNorm(WEIGHT),
    "ratio": gf.NuclearFrobeniusRatio(WEIGHT),
    "Schatten 1/2": gf.SchattenNorm(0.5, WEIGHT),
    "Schatten 2": gf.SchattenNorm(2, WEIGHT),
    "Schatten 1/2 : 1": gf.SchattenRatio(0.5, 1, WEIGHT),
}
PROBLEM = gf.synthetic.matrix_completion(jax.random.key(0), (6, 5), 2, 18, norm=3.0, loss="sum")
MASK, TARGET = np.asarray(PROBLEM.mask), np.asarray(PROBLEM.target)
MANY = 2000


def model(depth, penalty, problem=PROBLEM):
    return gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth), penalty)


def numpy_slopes(name, s):
    def norm(p):
        return np.sum(s**p) ** (1 / p)

    if name == "nuclear":
        return WEIGHT * np.ones_like(s)
    if name == "ratio":
        return WEIGHT * (1 / norm(2) - norm(1) * s / norm(2) ** 3)
    if name == "Schatten 2":
        return WEIGHT * s / norm(2)
    half = norm(0.5) ** 0.5 * s**-0.5
    if name == "Schatten 1/2":
        return WEIGHT * half
    return WEIGHT * (half / norm(1) - norm(0.5) / norm(1) ** 2)


def scipy_flow(name, factors, end):
    """The factors at the end, by an eighth-order method on the chain rule written out."""
    shapes = [f.shape for f in factors]
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]

    def unpack(y):
        return [part.reshape(s) for part, s in zip(np.split(y, cuts), shapes, strict=True)]

    def field(_, y):
        w_j = unpack(y)
        u, s, vt = np.linalg.svd(chain(w_j), full_matrices=False)
        g = 2 * MASK * (chain(w_j) - TARGET) + (u * numpy_slopes(name, s)) @ vt
        after = [chain([*w_j[j + 1 :], np.eye(6)]) for j in range(len(w_j))]
        before = [chain([np.eye(5), *w_j[:j]]) for j in range(len(w_j))]
        parts = [a.T @ g @ b.T for a, b in zip(after, before, strict=True)]
        return -np.concatenate([part.ravel() for part in parts])

    start = np.concatenate([np.ravel(f) for f in factors])
    solution = solve_ivp(field, (0, end), start, method="DOP853", rtol=1e-11, atol=1e-12)
    return unpack(solution.y[:, -1])


def attempts(flow):
    return flow.stats["steps"] + flow.stats["rejected"]


def start(depth, kind):
    shape = model(depth, None).factorization
    if kind == "repeated":
        return shape.balanced(np.eye(6, 5))
    factors = shape.balanced(
        with_singular_values(np.random.default_rng(1), (6, 5), [2.0, 1.6, 1.3, 1.0, 0.8]),
    )
    rng = np.random.default_rng(2)
    return tuple(f + 0.1 * rng.normal(size=f.shape) for f in factors)


SMOOTH = [
    ("nuclear", 1), ("ratio", 2), ("Schatten 2", 1),
    *[pytest.param(*case, marks=pytest.mark.slow)
      for case in [("nuclear", 2), ("nuclear", 3), ("Schatten 1/2", 2), ("Schatten 1/2 : 1", 3)]],
]  # fmt: skip


@pytest.mark.parametrize(("name", "depth"), SMOOTH)
def test_smooth_flows_agree_with_scipy(name, depth):
    """With both choices of a solver, from singular values that are repeated, too."""
    end = 0.3
    for kind in ("unbalanced", "repeated"):
        objective, factors = model(depth, PENALTIES[name]), start(depth, kind)
        flow = gf.solve_flow(
            objective, factors, horizon=end, observe=["value", "singular_values", "loss"]
        )
        assert flow.outcome is gf.Outcome.REACHED_HORIZON
        assert flow["singular_values"].min() > 0.05  # far from a kink
        assert flow.stats["solver"] == (
            "LinearlyImplicitExtrapolation" if depth == 1 else "StiffnessSwitch"
        )
        # rtol 1e-8 a step; errors of some hundreds of steps add up.
        for k, wanted in enumerate(scipy_flow(name, factors, end)):
            np.testing.assert_allclose(flow.final[f"W_{k + 1}"], wanted, atol=1e-6)
        assert np.all(np.diff(flow["value"]) < 0)
        assert np.all(flow["value"] > flow["loss"])
        assert flow.stats.get("invariant_drift", 0.0) < 1e-7
        assert attempts(flow) < MANY


# Kinks: at their times


OFF_DIAGONAL = gf.MatrixCompletion((2, 2), [[0, 1]], [0.0], loss="half_sum")
"""Diagonal matrices fit it: what moves them is the penalty alone."""


def angle_time(value, a, b):
    """At a degree 0 the norm is conserved; the angle falls to 0 at the rate of dvalue/dangle."""
    angle, h = math.atan2(b, a), 1e-6

    def rate(x):
        ends = [value(math.cos(x + k * h), math.sin(x + k * h)) for k in (1, -1)]
        return (ends[0] - ends[1]) / (2 * h)

    # The square root's slope is infinite at 0: in the variable angle = x^2 all is smooth.
    return (a**2 + b**2) / WEIGHT * quad(lambda x: 2 * x / rate(x**2), 2e-3, angle**0.5)[0]


def half_time(a, b):
    """(p + q)^2 with a = p^2, b = q^2: p^3 - q^3 is conserved, dq/dt = -weight (p + q)/(2 q^2)."""
    p, q = a**0.5, b**0.5
    kept = p**3 - q**3
    return quad(lambda x: 2 * x**2 / (x + (kept + x**3) ** (1 / 3)), 0, q)[0] / WEIGHT


TIMES = {
    # ds/dt = -weight.
    "nuclear": lambda a, b: b / WEIGHT,
    # r = cos + sin = sqrt(2) sin(angle + pi/4): the integral of a secant.
    "ratio": lambda a, b: (
        (a**2 + b**2)
        / (2**0.5 * WEIGHT)
        * (np.arctanh(math.sin(math.atan2(b, a) + math.pi / 4)) - np.arctanh(math.sin(math.pi / 4)))
    ),
    "Schatten 1/2": half_time,
    "Schatten 1/2 : 1": lambda a, b: angle_time(
        lambda c, s: (c**0.5 + s**0.5) ** 2 / (c + s), a, b
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_a_penalty_alone_loses_its_gradient_at_the_right_time(name):
    a, b = 1.0, 0.4
    objective = model(1, PENALTIES[name], OFF_DIAGONAL)
    for rtol in (1e-8, 1e-6):
        flow = gf.solve_flow(
            objective, (jnp.diag(jnp.array([a, b])),), horizon=100.0, rtol=rtol,
            observe=["singular_values", "value"],
        )  # fmt: skip
        assert flow.outcome is gf.Outcome.LOST_GRADIENT
        # It ends where b = rtol a, that much too early.
        np.testing.assert_allclose(flow.stats["end"], TIMES[name](a, b), rtol=10 * rtol)
        assert flow["singular_values"][-1, 1] <= rtol * flow["singular_values"][-1, 0]
        assert np.all(np.diff(flow["value"]) < 0)
        assert attempts(flow) < 500


FULL = {
    # Target and start of each singular value, whose loss is (s - b)^2 / 2.
    "one of three": ([2.0, 1.0, 0.1], [2.0, 1.5, 0.5]),
    "two at once": ([2.0, 0.1, 0.1], [2.0, 0.5, 0.5]),
    "all at once": ([0.1, 0.1, 0.1], [1.0, 1.0, 1.0]),
    "through to the other side": ([2.0, 1.0, -1.0], [2.0, 1.5, 0.5]),
}
SOLVERS = {
    "implicit": LinearlyImplicitExtrapolation(), "hand-over": gf.ode.StiffnessSwitch(),
    "explicit": diffrax.Tsit5(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("solver", "shape"),
    [("implicit", (3, 3)), ("hand-over", (3, 3)), ("explicit", (3, 3)), ("implicit", (4, 3))],
)
def test_soft_thresholding_ends_where_a_singular_value_is_zero(solver, shape):
    """s = (b - weight) + (s_0 - b + weight) exp(-t), whether the flow would stay at 0 or not."""
    where = [[i, j] for i in range(shape[0]) for j in range(3)]
    for case, (target, values) in FULL.items():
        b, s0 = np.array(target), np.array(values)
        entries = (np.eye(*shape) * b).ravel()
        problem = gf.MatrixCompletion(shape, where, entries, loss="half_sum")
        flow = gf.solve_flow(
            model(1, PENALTIES["nuclear"], problem), (jnp.asarray(np.eye(*shape) * s0),),
            horizon=50.0, solver=SOLVERS[solver], observe=["loss"],
        )  # fmt: skip
        falls = b < WEIGHT
        wanted = np.min(np.log((s0 - b + WEIGHT)[falls] / (WEIGHT - b)[falls]))
        assert flow.outcome is gf.Outcome.LOST_GRADIENT, case
        np.testing.assert_allclose(flow.stats["end"], wanted, rtol=1e-6, err_msg=case)
        assert attempts(flow) < 500, case


def test_a_vector_ends_at_zero():
    """Its only singular value is the largest, at any distance from 0."""
    problem = gf.MatrixCompletion((3, 1), [[0, 0]], [0.0], loss="half_sum")
    w = jnp.array([[0.0], [0.3], [0.4]])
    flow = gf.solve_flow(model(1, PENALTIES["nuclear"], problem), (w,), horizon=50.0)
    assert flow.outcome is gf.Outcome.LOST_GRADIENT
    np.testing.assert_allclose(flow.stats["end"], 0.5 / WEIGHT, rtol=1e-9)
    assert attempts(flow) < 500


def test_factors_of_different_size_reach_a_kink():
    """Depth 2 on a diagonal: a' = -weight b and b' = -weight a, so a = 0 at tanh = a_0 / b_0."""
    a, b = 0.3, 0.5
    factors = (jnp.diag(jnp.array([1.0, a])), jnp.diag(jnp.array([1.1, b])))
    for solver in (LinearlyImplicitExtrapolation(), gf.ode.StiffnessSwitch()):
        flow = gf.solve_flow(
            model(2, PENALTIES["nuclear"], OFF_DIAGONAL), factors, horizon=50.0, solver=solver
        )
        assert flow.outcome is gf.Outcome.LOST_GRADIENT
        np.testing.assert_allclose(flow.stats["end"], math.atanh(a / b) / WEIGHT, rtol=1e-6)
        assert flow.stats["invariant_drift"] < 1e-8
        assert attempts(flow) < 500


def square(seed):
    key = jax.random.key(seed)
    return gf.synthetic.matrix_completion(key, (5, 5), 2, 15, norm=5.0, loss="sum")


@pytest.mark.parametrize("name", ["nuclear", "ratio"])
def test_kinks_are_found_whatever_the_steps(name):
    """The stopping time does not depend on the tolerance, nor on the solver.

    Without a look at singular values, steps jump over the kink; and where an extrapolation's
    columns all cross it in their first substep, they agree on going on from there.
    """
    for seed, problem in enumerate(map(square, range(4))):
        objective = model(1, gf.NuclearNorm(0.3) if name == "nuclear" else
                          gf.NuclearFrobeniusRatio(0.5), problem)  # fmt: skip
        factors = gf.factorizations.gaussian_factors(jax.random.key(seed + 10), (5, 5), std=0.5)
        times = []
        for solver, rtol in [("implicit", 1e-10), ("implicit", 1e-8), ("implicit", 1e-6),
                             ("explicit", 1e-8)]:  # fmt: skip
            flow = gf.solve_flow(
                objective, factors, horizon=100.0, solver=SOLVERS[solver], rtol=rtol,
                max_steps=MANY, observe=["value"],
            )  # fmt: skip
            assert flow.outcome is gf.Outcome.LOST_GRADIENT
            times.append(flow.stats["end"])
        np.testing.assert_allclose(times, times[0], rtol=1e-3)
        np.testing.assert_allclose(times[1], times[0], rtol=1e-5)


# Balanced factors


def test_balanced_factors_go_on_where_the_product_alone_has_a_kink():
    """Depth 2 on a diagonal: s = s_0 exp(-2 weight t), for ever; it is followed down to rtol."""
    problem = gf.MatrixCompletion((2, 2), [[0, 0], [0, 1]], [1.0, 0.0], loss="half_sum")
    flow = gf.solve_flow(
        model(2, PENALTIES["nuclear"], problem), jnp.diag(jnp.array([1.0, 0.5])),
        horizon=1e4, observe=["singular_values", "value"],
    )  # fmt: skip
    assert flow.outcome is gf.Outcome.REACHED_HORIZON
    s, wanted = flow["singular_values"], 0.5 * np.exp(-2 * WEIGHT * flow.times)
    seen = wanted > 1e-7
    np.testing.assert_allclose(s[seen, 1], wanted[seen], rtol=1e-4)
    assert np.all(s[~seen, 1] < 2e-7)
    # s_1 ends where (s - 1) + weight = 0.
    np.testing.assert_allclose(s[-1, 0], 1 - WEIGHT, rtol=1e-7)
    assert attempts(flow) < 1000


@pytest.mark.parametrize("name", ["nuclear", "ratio"])
def test_balanced_flows_do_not_chatter_where_singular_values_vanish(name):
    """Their last digits are not balanced, and small steps used to hop about the kink for ever."""
    for seed in range(3):
        w = with_singular_values(np.random.default_rng(seed), (6, 5), [2.0, 1.0, 0.5, 0.3, 0.1])
        flow = gf.solve_flow(
            model(2, PENALTIES[name]), w, horizon=2e3, max_steps=2 * MANY,
            observe=["value", "singular_values", "loss"],
        )  # fmt: skip
        assert flow.outcome is gf.Outcome.REACHED_HORIZON
        assert flow.stats["invariant_drift"] < 1e-5
        # The value is resolved to rtol: the ramp takes the place of a kink there.
        assert np.max(np.diff(flow["value"])) < 1e-7
        assert flow["singular_values"][-1, -1] < 1e-6


# Starts


@pytest.mark.parametrize(("depth", "least"), [(1, 0.0), (1, 5e-9), (2, 0.0), (3, 5e-9)])
def test_a_start_on_a_kink_is_refused(depth, least):
    w = with_singular_values(np.random.default_rng(3), (6, 5), [2.0, 1.0, 0.5, 0.3, least])
    factors = (jnp.asarray(w), *(jnp.eye(6) + 0.1 for _ in range(depth - 1)))
    sizes = (5, *[6] * depth)
    objective = gf.Objective(PROBLEM, gf.MatrixProduct(sizes), PENALTIES["nuclear"])
    charts = ["auto", "factors", gf.adam_chart(objective, factors, variance=1.0)]
    for coordinates in charts:
        with pytest.raises(ValueError, match="NuclearNorm has no gradient at the start") as refused:
            gf.solve_flow(objective, factors, horizon=1.0, coordinates=coordinates)
        assert "rtol = 1e-08" in str(refused.value)
        assert "gradflow.run_descent" in str(refused.value)


def test_low_rank_is_no_kink_where_factors_are_balanced_or_powers_above_one():
    w = with_singular_values(np.random.default_rng(3), (6, 5), [2.0, 1.0])
    for depth, penalty in [(2, PENALTIES["nuclear"]), (1, PENALTIES["Schatten 2"])]:
        flow = gf.solve_flow(
            model(depth, penalty), w, horizon=0.3, observe=["value", "singular_values", "loss"]
        )
        assert flow.outcome is gf.Outcome.REACHED_HORIZON
        assert np.all(np.diff(flow["value"]) < 0)
