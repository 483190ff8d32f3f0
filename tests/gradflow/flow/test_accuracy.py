"""The flow's error against what was asked: tolerances, records, stops, batches, other problems."""

import functools
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.sparse.linalg

import gradflow as gf
from gradflow.trajectory import Outcome

# The error and the tolerance, on random completion problems


class Problem(NamedTuple):
    """Sizes of a completion problem, and the standard deviation of its start's entries."""

    rows: int
    columns: int
    depth: int
    rank: int
    seen: int
    std: float


def _draw():
    """Twenty problems, 5 to 60 rows, depths 1 to 5 in turn, two in five rectangular."""
    rng = np.random.default_rng(2024)
    for k in range(20):
        rows = round(np.exp(rng.uniform(np.log(5), np.log(60))))
        columns = rows if rng.random() < 0.6 else max(3, round(rows * rng.uniform(0.5, 1)))
        rank = int(rng.integers(1, max(2, min(5, columns // 2 + 1))))
        freedom = rank * (rows + columns - rank)
        seen = int(min(0.8 * rows * columns, max(1.5 * freedom, 0.3 * rows * columns)))
        yield Problem(rows, columns, k % 5 + 1, rank, seen, float(10 ** rng.uniform(-3, -1)))


PROBLEMS = list(_draw())
SHARES = (0.9, 0.5, 0.2, 0.05, 0.01, 0.001)
"""Records: where the loss has fallen to these shares of the first."""
RTOLS = (1e-5, 1e-7)
SOLVERS = {"StiffnessSwitch": gf.ode.StiffnessSwitch(), "auto": "auto"}


class Measured(NamedTuple):
    outcome: Outcome
    solver: str
    error: float  # the largest of all records, relative, in Frobenius norm
    drift: float


@functools.cache
def measured(k):
    """{(solver, rtol): Measured} of one problem, against Dopri8 at rtol 1e-11."""
    rows, columns, depth, rank, seen, std = PROBLEMS[k]
    problem = gf.synthetic.matrix_completion(
        jax.random.key(k), (rows, columns), rank, seen, norm=(rows * columns) ** 0.5
    )
    model = gf.MatrixProduct.of(problem.shape, depth)
    objective = gf.Objective(problem, model)
    start = model.random_balanced(jax.random.key(100 + k), std)

    def solve(solver, rtol, **asked):
        return gf.solve_flow(
            objective, start, solver=solver, rtol=rtol, observe=["product"], **asked
        )

    first = float(objective.loss(start))
    wide = np.geomspace(1, 1e9, len(SHARES))  # as many as below: one program for both
    times = [
        solve(gf.ode.StiffnessSwitch(), 1e-5, times=wide, stop_loss=share * first).stats["end"]
        for share in SHARES
    ]
    # A loss that is not reached: another kind of stop would be another program.
    recorded: dict[str, Any] = {
        "times": times, "horizon": times[-1], "stop_loss": 1e-9 * first, "interpolate": False
    }  # fmt: skip
    reference = solve(diffrax.Dopri8(), 1e-11, **recorded)
    assert reference.outcome is Outcome.REACHED_HORIZON
    assert reference["loss"][-1] < 1.1e-3 * first
    size = np.linalg.norm(reference["product"], axis=(1, 2))
    result = {}
    for name, solver in SOLVERS.items():
        for rtol in RTOLS:
            flow = solve(solver, rtol, **recorded)
            error = np.linalg.norm(flow["product"] - reference["product"], axis=(1, 2)) / size
            result[name, rtol] = Measured(
                flow.outcome,
                str(flow.stats["solver"]),
                float(error.max()),
                float(flow.stats.get("invariant_drift", 0.0)),
            )
    return result


# Depths 3, 4 and 5 at small sizes; the others are slow only because each compiles.
FAST = (13, 19)


def assert_controlled(k):
    p, runs = PROBLEMS[k], measured(k)
    print(f"\n{k:2d} {p.rows}x{p.columns} depth {p.depth} rank {p.rank} std {p.std:.0e}", end="")
    for (name, rtol), run in runs.items():
        print(f"; {name} ({run.solver}) {rtol:.0e}: {run.error / rtol:.3g}", end="")
    for (_, rtol), run in runs.items():
        assert run.outcome is Outcome.REACHED_HORIZON
        # Local errors of rtol add up, and the rise from a small start amplifies them, most at large
        # depths; it also forgets them, since all solutions go to the same valley.
        assert run.error < 100 * rtol
        # The invariants are part of the solution, and no less accurate.
        assert run.drift < 3 * max(run.error, rtol)


@pytest.mark.parametrize("k", FAST)
def test_the_error_is_within_a_hundred_tolerances(k):
    assert_controlled(k)


@pytest.mark.slow
@pytest.mark.parametrize("k", range(20))
def test_the_error_is_within_a_hundred_tolerances_on_all_problems(k):
    assert_controlled(k)


@pytest.mark.slow
@pytest.mark.parametrize("rtol", RTOLS)
@pytest.mark.parametrize("name", SOLVERS)
def test_the_error_in_tolerances_stays_within_two_decades(name, rtol):
    share = np.array([measured(k)[name, rtol].error / rtol for k in range(20)])
    print(f"\n{name} {rtol:.0e}: {share.min():.3g} to {share.max():.3g}")
    assert share.max() / share.min() <= 100


@pytest.mark.slow
@pytest.mark.parametrize("rtol", RTOLS)
def test_the_automatic_choice_takes_both_solvers(rtol):
    found = {measured(k)["auto", rtol].solver for k in range(20)}
    assert found == {"StiffnessSwitch", "LinearlyImplicitExtrapolation"}


# Records and stops

SOON, FAR = 1e-3, 1e4


@functools.cache
def case():
    """30 x 30, depth 3: a rise within half a unit of time and a tail of some hundred."""
    problem = gf.synthetic.matrix_completion(jax.random.key(1), (30, 30), 2, 400, norm=30.0)
    model = gf.MatrixProduct.of(problem.shape, 3)
    start = model.random_balanced(jax.random.key(2), 1e-2)
    return gf.Objective(problem, model), start


def solve_case(**asked):
    asked = {"observe": ["product", "gradient_norm"], "rtol": 1e-6} | asked
    return gf.solve_flow(*case(), **asked)


@pytest.mark.parametrize("rtol", [pytest.param(1e-4, marks=pytest.mark.slow), 1e-6])
def test_interpolated_records_are_as_accurate_as_landed_ones(rtol):
    for t in np.geomspace(0.1, 150, 12):
        landed, between = (
            solve_case(times=[t, 200.0], horizon=200.0, rtol=rtol, interpolate=interpolate)
            for interpolate in (False, True)
        )
        np.testing.assert_array_equal(between.times, landed.times)
        gap = np.linalg.norm((between["product"] - landed["product"])[1])
        # Each is right to two tolerances here.
        assert gap < 2 * rtol * np.linalg.norm(landed["product"][1])


def test_stabilised_steps_pass_records():
    """Sixty records in the tail cost sixty steps to land on, and none to interpolate."""
    times = np.geomspace(5, 200, 60)
    landed, between, few = (
        solve_case(times=t, horizon=200.0, interpolate=interpolate)
        for t, interpolate in [(times, False), (times, True), ([SOON, 200.0], True)]
    )
    assert between.stats["steps"] <= few.stats["steps"] + 1 < landed.stats["steps"] - 20


def spent(flow):
    return flow.stats["gradients"] + flow.stats["hessian_products"]


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize(
    "solver", [gf.ode.StiffnessSwitch(), "auto"], ids=["StiffnessSwitch", "auto"]
)
def test_the_stopping_loss_is_landed_on_at_little_cost(solver, interpolate):
    for target in (1.0, 1e-2, 1e-4):
        asked = {"solver": solver, "interpolate": interpolate}
        flow = solve_case(times=[SOON, FAR], stop_loss=target, **asked)
        assert flow.outcome is Outcome.REACHED_LOSS
        assert abs(flow["loss"][-1] / target - 1) < 1e-8
        assert flow.times[-1] == flow.stats["end"]
        end = flow.times[-1]
        # To reach the same time without looking for it. The loss there is the same up to the
        # error of the interpolant, so the crossing was found on the trajectory and not next to it.
        straight = solve_case(times=[SOON, end], horizon=end, **asked)
        print(f"landing on {target}: {spent(flow)} against {spent(straight)}")
        np.testing.assert_allclose(straight["loss"][-1], target, rtol=1e-4)
        assert spent(flow) < 1.15 * spent(straight)


def test_it_stops_at_the_first_step_whose_gradient_is_small_enough():
    """The stop is not landed on: it is the end of a step, less than a tail's step too far."""
    for target in (0.1, 1e-3):
        flow = solve_case(times=[SOON, FAR], stop_gradient=target)
        assert flow.outcome is Outcome.REACHED_GRADIENT_NORM
        assert 0.5 * target < flow["gradient_norm"][-1] <= target


def test_the_stats_count_and_explain():
    stats = solve_case(times=[SOON, 200.0], horizon=200.0).stats
    assert stats["solver"] == "StiffnessSwitch"
    assert "2700 unknowns" in stats["solver_reason"]
    assert stats["coordinates"] == "factors"
    assert isinstance(stats["coordinates_reason"], str)
    attempts = stats["steps"] + stats["rejected"]
    assert all(isinstance(stats[name], int) for name in ("gradients", "hessian_products"))
    # Five stages are the fewest, six an explicit step, and the start takes one.
    assert stats["gradients"] > 4 * attempts
    assert 0 < stats["hessian_products"] < stats["gradients"]
    assert 0 < stats["invariant_drift"] < 1e-5


def test_the_spectral_radius_is_that_of_the_hessian():
    objective, _ = case()
    flow = solve_case(times=[SOON, 200.0], horizon=200.0)
    final = tuple(jnp.asarray(flow.final[f"W_{k}"]) for k in (1, 2, 3))
    flat, unpack = jax.flatten_util.ravel_pytree(final)
    gradient = jax.grad(lambda y: objective.loss(unpack(y)))
    product = jax.jit(lambda v: jax.jvp(gradient, (flat,), (v,))[1])
    hessian = scipy.sparse.linalg.LinearOperator((flat.size,) * 2, matvec=product, dtype=float)
    top = scipy.sparse.linalg.eigsh(hessian, 1, which="LM", return_eigenvectors=False)[0]
    # The largest seen; at the end, where curvature is about largest, it is what the Hessian has,
    # up to the tenth that is added for what an estimate may lack.
    assert 0.97 * top < flow.stats["spectral_radius"] < 1.12 * top


def test_strings_and_numbers_of_the_stats_survive_a_file(tmp_path):
    flow = solve_case(times=[SOON, 200.0], horizon=200.0)
    again = gf.Trajectory.load(flow.save(tmp_path / "flow.nc"))
    assert dict(again.stats) == dict(flow.stats)
    assert dict(again.config) == dict(flow.config)
    assert again.outcome is flow.outcome
    assert isinstance(again.stats["solver_reason"], str)


# Batches

TRACED = []


def traced_product(state):
    """The product; Python comes by only where a program is traced."""
    TRACED.append(None)
    return state.product


def small(seed, std=1e-2, shape=(8, 6), depth=2, seen=30):
    problem = gf.synthetic.matrix_completion(jax.random.key(seed), shape, 1, seen, norm=5.0)
    model = gf.MatrixProduct.of(shape, depth)
    return gf.Objective(problem, model), model.random_balanced(jax.random.key(50 + seed), std)


BATCH = [small(0), small(1), small(2, std=0.3), small(3, std=1e-6)]
ASKED = {
    "horizon": 6.0, "stop_loss": 1e-3, "times": np.linspace(0.5, 6, 12), "rtol": 1e-6,
    "observe": {"product": traced_product}, "solver": gf.ode.StiffnessSwitch(),
}  # fmt: skip


def test_each_flow_of_a_batch_is_what_it_is_alone():
    objectives, starts = zip(*BATCH, strict=True)
    flows = gf.solve_flows(list(objectives), list(starts), **ASKED)
    alone = [gf.solve_flow(objective, start, **ASKED) for objective, start in BATCH]
    ends = {flow.outcome for flow in flows}
    assert ends == {Outcome.REACHED_LOSS, Outcome.REACHED_HORIZON}
    for flow, one in zip(flows, alone, strict=True):
        assert flow.outcome is one.outcome
        assert len(flow) == len(one)
        for name in ("steps", "rejected", "gradients", "hessian_products", "solver_reason"):
            assert flow.stats[name] == one.stats[name]
        # Round-off in another order, amplified by the rise.
        np.testing.assert_allclose(flow.times, one.times, rtol=1e-10)
        np.testing.assert_allclose(flow["product"], one["product"], atol=1e-10)
        for name in one.final:
            np.testing.assert_allclose(flow.final[name], one.final[name], atol=1e-10)
        assert flow.config["objective"] == one.config["objective"]
    lengths = [flow.stats["steps"] for flow in flows]
    assert len(set(lengths)) > 1


def test_a_batch_is_traced_once():
    objectives, starts = zip(*BATCH, strict=True)
    gf.solve_flows(list(objectives), list(starts), **ASKED)
    count = len(TRACED)
    assert count > 0
    others, more = zip(*[small(k) for k in range(10, 14)], strict=True)
    again = ASKED | {"rtol": 1e-5, "horizon": 5.0, "times": np.linspace(0.1, 5, 12)}
    gf.solve_flows(list(others), list(more), **again)
    # Each flow's observables are looked at once before it starts; the program is not traced again.
    assert len(TRACED) == count + len(BATCH)


UNLIKE = {
    "shape": (small(4, shape=(6, 6)), "not like the first"),
    "observations": (small(4, seen=29), "numbers of observations"),
    "depth": (small(4, depth=3), "not like the first"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_flows_that_are_not_alike_are_refused(name):
    (objective, start), message = UNLIKE[name]
    with pytest.raises(ValueError, match=f"Flow 1 of the batch.*{message}.*solve_flow"):
        gf.solve_flows([BATCH[0][0], objective], [BATCH[0][1], start], **ASKED)


def test_a_batch_needs_starts_and_as_many_objectives():
    objective, start = BATCH[0]
    with pytest.raises(ValueError, match="no start at all"):
        gf.solve_flows(objective, [], **ASKED)
    with pytest.raises(ValueError, match="2 starts but 1 objectives"):
        gf.solve_flows([objective], [start, start], **ASKED)


# Other problems, against SciPy with a loss of its own


def by_scipy(loss, start, times):
    """Factors at the last time, by DOP853 with the gradient of an independent loss."""
    cuts = np.cumsum([f.size for f in start])[:-1]

    def unpack(y):
        parts = jnp.split(y, cuts)
        return [p.reshape(f.shape) for p, f in zip(parts, start, strict=True)]

    gradient = jax.jit(jax.grad(lambda y: loss(unpack(y))))
    solution = scipy.integrate.solve_ivp(
        lambda t, y: -np.asarray(gradient(y)), (0, times),
        np.concatenate([np.ravel(f) for f in start]), method="DOP853", rtol=1e-12, atol=1e-14,
    )  # fmt: skip
    return [np.asarray(f) for f in unpack(solution.y[:, -1])]


def product_of(factors):
    return functools.reduce(lambda w, factor: factor @ w, factors)


def normal_start(model, seed, scale=0.4):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(scale * rng.normal(size=s)) for s in model.factor_shapes)


def sensing(sizes):
    rng = np.random.default_rng(20)
    a, y = rng.normal(size=(12, sizes[-1], sizes[0])), rng.normal(size=12)
    objective = gf.Objective(gf.MatrixSensing(a, y, loss="mean"), gf.MatrixProduct(sizes))
    return objective, lambda f: jnp.mean((jnp.einsum("kij,ij->k", a, product_of(f)) - y) ** 2)


def completion(sizes):
    rng = np.random.default_rng(21)
    shape = (sizes[-1], sizes[0])
    cells = rng.permutation(np.argwhere(np.ones(shape)))[: 2 * sum(shape)]
    values = rng.normal(size=len(cells))
    objective = gf.Objective(gf.MatrixCompletion(shape, cells, values), gf.MatrixProduct(sizes))
    return objective, lambda f: 0.5 * jnp.sum((product_of(f)[tuple(cells.T)] - values) ** 2)


def regression(sizes):
    rng = np.random.default_rng(22)
    x, y = rng.normal(size=(9, sizes[-1])), rng.normal(size=(9, sizes[0]))
    objective = gf.Objective(gf.LeastSquares(x, y, loss="sum"), gf.MatrixProduct(sizes))
    return objective, lambda f: jnp.sum((x @ product_of(f) - y) ** 2)


def tensor(shape, rank):
    rng = np.random.default_rng(23)
    cells = rng.permutation(np.argwhere(np.ones(shape)))[:30]
    values = rng.normal(size=30)
    objective = gf.Objective(
        gf.TensorCompletion(shape, cells, values, loss="mean"), gf.CPTensor(shape, rank)
    )

    def loss(f):
        w = jnp.einsum("ar,br,cr->abc", *f)
        return jnp.mean((w[tuple(cells.T)] - values) ** 2)

    return objective, loss


slow = pytest.mark.slow
OTHERS = [
    pytest.param(functools.partial(sensing, (4, 7, 3, 5)), id="sensing, hidden sizes 7 and 3"),
    pytest.param(functools.partial(tensor, (5, 4, 3), 3), id="CP tensor of rank 3"),
    pytest.param(functools.partial(regression, (1, 5)), id="regression, a column, depth 1"),
    pytest.param(functools.partial(regression, (1, 3, 5)), id="regression, a column", marks=slow),
    pytest.param(functools.partial(regression, (3, 3, 5)), id="regression, a matrix", marks=slow),
    pytest.param(functools.partial(completion, (7, 9)), id="completion, depth 1", marks=slow),
    pytest.param(functools.partial(completion, (5, 2, 8)), id="completion, rank 2", marks=slow),
    pytest.param(functools.partial(completion, (5, 11, 9, 8)), id="completion, wide", marks=slow),
]


@pytest.mark.parametrize("make", OTHERS)
def test_the_hand_over_agrees_with_scipy(make):
    objective, loss = make()
    start = normal_start(objective.factorization, 24)
    np.testing.assert_allclose(objective.loss(start), loss(start), rtol=1e-13)
    flow = gf.solve_flow(
        objective, start, record=[5.0], horizon=5.0, observe=["product"], rtol=1e-9,
        solver=gf.ode.StiffnessSwitch(),
    )  # fmt: skip
    wanted = by_scipy(loss, start, 5.0)
    for k, factor in enumerate(wanted, 1):
        # Some hundred steps of local error 1e-9.
        np.testing.assert_allclose(flow.final[f"W_{k}"], factor, atol=2e-8 * np.abs(factor).max())
    assert flow.stats.get("invariant_drift", 0) < 1e-8
