"""The flow: against SciPy and closed forms, how it stops and records, charts, the norm blow-up."""

import functools
import json

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import gradflow as gf
from gradflow.observables import resolve
from gradflow.trajectory import Outcome
from tests.helpers import chain

TIMES = np.array([0.3, 1.0, 2.5, 6.0])


def draw(shapes, seed, scale=0.6):
    rng = np.random.default_rng(seed)
    return tuple(scale * rng.normal(size=shape) for shape in shapes)


# Against SciPy's DOP853, with gradients written out in NumPy


def pull_back_matrices(factors, g):
    result = []
    for j in range(len(factors)):
        after = chain(factors[j + 1 :]) if j + 1 < len(factors) else np.eye(g.shape[0])
        before = chain(factors[:j]) if j else np.eye(g.shape[1])
        result.append(after.T @ g @ before.T)
    return result


def pull_back_tensor(factors, g):
    a, b, c = factors
    return [
        np.einsum("abc,br,cr->ar", g, b, c),
        np.einsum("abc,ar,cr->br", g, a, c),
        np.einsum("abc,ar,br->cr", g, a, b),
    ]


def tensor_of(factors):
    return np.einsum("ar,br,cr->abc", *factors)


def by_scipy(gradient, product, pull_back, start, times, loss=None):
    """Products at the times; with `loss`, the time at which that function of W crosses zero."""
    cuts = np.cumsum([f.size for f in start])[:-1]

    def unpack(y):
        return [part.reshape(f.shape) for part, f in zip(np.split(y, cuts), start, strict=True)]

    def field(t, y):
        factors = unpack(y)
        return -np.concatenate([p.ravel() for p in pull_back(factors, gradient(product(factors)))])

    events = None if loss is None else [lambda t, y: loss(product(unpack(y)))]
    solution = scipy.integrate.solve_ivp(
        field, (0, times[-1]), np.concatenate([f.ravel() for f in start]), method="DOP853",
        t_eval=times, rtol=1e-12, atol=1e-14, events=events,
    )  # fmt: skip
    if loss is not None:
        return solution.t_events[0][0]
    return np.array([product(unpack(y)) for y in solution.y.T])


def completion_case(shape, sizes, seen, seed):
    rng = np.random.default_rng(seed)
    cells = rng.permutation(np.argwhere(np.ones(shape)))[:seen]
    values = rng.normal(size=seen)
    mask, target = np.zeros(shape), np.zeros(shape)
    mask[tuple(cells.T)], target[tuple(cells.T)] = 1, values
    model = gf.MatrixProduct(sizes)
    return (
        gf.Objective(gf.MatrixCompletion(shape, cells, values), model),
        (lambda w: mask * (w - target), chain, pull_back_matrices),
        draw(model.factor_shapes, seed + 1),
    )


def sensing_case():
    rng = np.random.default_rng(2)
    a, y = rng.normal(size=(5, 3, 2)), rng.normal(size=5)
    model = gf.MatrixProduct((2, 5, 4, 3))
    return (
        gf.Objective(gf.MatrixSensing(a, y, loss="mean"), model),
        (
            lambda w: 2 / 5 * sum((np.sum(m * w) - b) * m for m, b in zip(a, y, strict=True)),
            chain,
            pull_back_matrices,
        ),
        draw(model.factor_shapes, 3),
    )


def regression_case(sizes):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    model = gf.MatrixProduct(sizes)
    return (
        gf.Objective(gf.LeastSquares(x, y, loss="sum"), model),
        (lambda w: 2 * x.T @ (x @ w - y), chain, pull_back_matrices),
        draw(model.factor_shapes, 5),
    )


def tensor_case():
    rng = np.random.default_rng(6)
    shape = (3, 2, 2)
    cells = rng.permutation(np.argwhere(np.ones(shape)))[:9]
    values = rng.normal(size=9)
    mask, target = np.zeros(shape), np.zeros(shape)
    mask[tuple(cells.T)], target[tuple(cells.T)] = 1, values
    model = gf.CPTensor(shape, 2)
    return (
        gf.Objective(gf.TensorCompletion(shape, cells, values), model),
        (lambda w: mask * (w - target), tensor_of, pull_back_tensor),
        draw(model.factor_shapes, 7),
    )


CASES = {
    "rectangular completion": lambda: completion_case((3, 4), (4, 3, 3), 8, 0),
    "rank-1 completion, depth 3": lambda: completion_case((3, 3), (3, 1, 1, 3), 6, 10),
    "sensing, wide hidden sizes": sensing_case,
    "regression, depth 1": lambda: regression_case((2, 3)),
    "regression, depth 2": lambda: regression_case((2, 2, 3)),
    "tensor": tensor_case,
}


@pytest.mark.parametrize("name", CASES)
def test_flow_agrees_with_scipy_at_several_times(name):
    objective, oracle, start = CASES[name]()
    flow = gf.solve_flow(
        objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=1e-10
    )
    wanted = by_scipy(*oracle, start, TIMES)
    assert flow.outcome is Outcome.REACHED_HORIZON
    np.testing.assert_array_equal(flow.times, [0, *TIMES])
    np.testing.assert_allclose(flow["product"][0], oracle[1](start), rtol=1e-14)
    # Some hundred steps of local error 1e-10.
    np.testing.assert_allclose(flow["product"][1:], wanted, atol=2e-8)
    for k, factor in enumerate(start, 1):
        np.testing.assert_array_equal(flow.initial[f"W_{k}"], factor)
    np.testing.assert_allclose(
        oracle[1]([flow.final[f"W_{k + 1}"] for k in range(len(start))]), flow["product"][-1]
    )


def test_depth_one_regression_has_a_closed_form():
    """W(t) = W* + exp(-2 X^T X t) (W(0) - W*) for loss "sum"."""
    objective, _, start = regression_case((2, 3))
    x, y = np.asarray(objective.problem.inputs), np.asarray(objective.problem.targets)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    flow = gf.solve_flow(
        objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=1e-10
    )
    for t, w in zip(flow.times, flow["product"], strict=True):
        wanted = best + scipy.linalg.expm(-2 * x.T @ x * t) @ (start[0] - best)
        np.testing.assert_allclose(w, wanted, atol=1e-9)


@pytest.mark.parametrize("coordinates", ["factors", "product", "singular"])
def test_a_scalar_of_depth_two_is_logistic(coordinates):
    """dw/dt = 2 w (y - w), so w(t) = y / (1 + (y/w_0 - 1) exp(-2 y t))."""
    objective = gf.Objective(
        gf.MatrixCompletion((1, 1), [[0, 0]], [2.0]), gf.MatrixProduct((1, 1, 1))
    )
    flow = gf.solve_flow(
        objective, np.array([[1e-3]]), coordinates=coordinates,
        times=TIMES, horizon=6.0, observe=["product"], rtol=1e-10,
    )  # fmt: skip
    wanted = 2 / (1 + (2 / 1e-3 - 1) * np.exp(-4 * flow.times))
    # Errors of the start are amplified 2000 times on the way up.
    np.testing.assert_allclose(flow["product"][:, 0, 0], wanted, rtol=1e-6)


@pytest.fixture(scope="module", name="reference")
def _reference():
    objective, oracle, start = CASES["rectangular completion"]()
    return objective, oracle, start, by_scipy(*oracle, start, TIMES)


def test_the_error_falls_with_the_tolerance(reference):
    objective, _, start, wanted = reference
    tolerances = np.array([1e-4, 1e-6, 1e-8, 1e-10])
    errors = []
    for rtol in tolerances:
        flow = gf.solve_flow(
            objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=float(rtol)
        )
        errors.append(np.max(np.abs(flow["product"][1:] - wanted)))
    assert np.all(np.diff(errors) < 0)
    # A fifth-order method with a local error of rtol a step: about in proportion.
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.7 < slope < 1.3
    assert errors[-1] < 1e-8


def test_an_implicit_solver_of_diffrax_works(reference):
    objective, _, start, wanted = reference
    flow = gf.solve_flow(
        objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=1e-8,
        solver=diffrax.Kvaerno5(),
    )  # fmt: skip
    np.testing.assert_allclose(flow["product"][1:], wanted, atol=1e-6)
    assert flow.config["solver"] == "Kvaerno5"


# Stops


def test_it_stops_at_the_loss_exactly_and_at_the_right_time(reference):
    objective, oracle, start, _ = reference
    target = 1e-2
    flow = gf.solve_flow(
        objective, start, times=[*TIMES, 50.0], stop_loss=target, observe=["product"], rtol=1e-10
    )
    assert flow.outcome is Outcome.REACHED_LOSS
    assert abs(flow["loss"][-1] / target - 1) < 1e-8

    def crossing(w):
        return 0.5 * np.sum(oracle[0](w) ** 2) - target

    wanted = by_scipy(*oracle, start, np.array([50.0]), crossing)
    np.testing.assert_allclose(flow.times[-1], wanted, rtol=1e-7)
    assert flow.stats["end_time"] == flow.times[-1]


def test_it_stops_at_once_where_the_start_is_below_the_loss(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, times=[*TIMES, 50.0], stop_loss=1e3, observe=["product"])
    assert flow.outcome is Outcome.REACHED_LOSS
    assert len(flow) == 1
    assert flow.stats["steps"] == 0
    np.testing.assert_array_equal(flow.final["W_1"], start[0])


def test_it_stops_at_the_gradient_norm(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, stop_gradient=1e-2, observe=["gradient_norm"])
    assert flow.outcome is Outcome.REACHED_GRADIENT_NORM
    assert flow["gradient_norm"][-1] <= 1e-2
    assert np.all(flow["gradient_norm"][:-1] > 1e-2)


def test_it_stops_at_the_horizon_exactly(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, horizon=1.7, observe=["gradient_norm"])
    assert flow.outcome is Outcome.REACHED_HORIZON
    assert flow.times[0] == 0
    assert flow.times[-1] == 1.7


def test_it_runs_out_of_steps(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, horizon=1.7, observe=["gradient_norm"], max_steps=7)
    assert flow.outcome is Outcome.OUT_OF_STEPS
    assert flow.stats["steps"] + flow.stats["rejected"] == 7
    assert 0 < flow.times[-1] < 1.7


def test_a_loss_that_overflows_is_divergence():
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(objective, (1e100 * np.eye(2),) * 2, horizon=1.0, observe=["loss"])
    assert flow.outcome is Outcome.DIVERGED
    assert not np.isfinite(flow["loss"][-1])


def test_steps_below_the_resolution_of_time_are_reported():
    """Rates of 1 and 1e40: a stable explicit step is 1e-40, against times of order 1."""
    problem = gf.LeastSquares(np.diag([1.0, 1e20]), np.ones((2, 1)))
    objective = gf.Objective(problem, gf.MatrixProduct((1, 2)))
    flow = gf.solve_flow(
        objective, (np.ones((2, 1)),), times=[2.0], horizon=2.0, observe=["product"]
    )
    assert flow.outcome is Outcome.STEP_TOO_SMALL
    np.testing.assert_array_equal(flow.final["W_1"], 1)


def test_a_start_at_a_stationary_point_stays():
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(objective, (np.zeros((2, 2)),) * 2, horizon=3.0, observe=["loss"])
    assert flow.outcome is Outcome.REACHED_HORIZON
    np.testing.assert_array_equal(flow["loss"], 1.0)


# Records


@pytest.mark.parametrize(
    ("start", "asked"),
    [
        ((0.5, 0.5), {"coordinates": "factors", "stop_loss": 0.3}),
        ((0.5, 0.5), {"coordinates": "logdet", "stop_loss": 0.3}),
        ((0.5, 0.3), {"coordinates": "singular", "stop_loss": 0.3}),
        ((0.5, 0.3), {"coordinates": "product", "stop_gradient": 0.3}),
        ((0.0, 0.0), {"coordinates": "factors", "horizon": 1.0, "observe": ["loss"]}),
    ],
)
def test_no_nan_is_made_on_the_way(start, asked):
    """Not even in place of records behind the end: people look for their own with debug_nans."""
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    with jax.debug_nans(True):
        flow = gf.solve_flow(objective, np.diag(start), **asked)
    assert flow.outcome.name.startswith("REACHED")
    assert all(np.all(np.isfinite(values)) for values in flow.observables.values())


@pytest.mark.parametrize(
    ("times", "horizon", "wanted"),
    [
        ([0.5, 1.0, 2.0], 2.0, [0, 0.5, 1.0, 2.0]),
        ([0.5, 1.0], 2.0, [0, 0.5, 1.0, 2.0]),
        ([0.0, 0.5, 1.0], 2.0, [0, 0.5, 1.0, 2.0]),
        ([0.1, 1 / 3, 7.0], 2.0, [0, 0.1, 1 / 3, 2.0]),
    ],
)
def test_times_are_hit_and_ends_are_recorded(times, horizon, wanted):
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(
        objective, 0.5 * np.eye(2), times=times, horizon=horizon, observe=["product"]
    )
    np.testing.assert_array_equal(flow.times, wanted)
    assert flow["product"].shape == (4, 2, 2)


def test_default_times_are_24_a_decade(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, stop_gradient=1e-2, observe=["gradient_norm"])
    np.testing.assert_allclose(flow.times[2:-1] / flow.times[1:-2], 10 ** (1 / 24), rtol=1e-12)


def test_observables_of_a_dictionary_and_of_factors(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(
        objective, start, times=TIMES, horizon=6.0,
        observe={"trace": lambda s: jnp.trace(s.product[:, :3]), "parts": lambda s: s.factors},
    )  # fmt: skip
    assert set(flow.observables) == {"loss", "trace", "parts_1", "parts_2"}
    np.testing.assert_allclose(
        flow["trace"], np.trace(flow["parts_2"] @ flow["parts_1"], axis1=1, axis2=2), atol=1e-13
    )


def test_a_matrix_as_the_start_stands_for_its_balanced_factors():
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    w = np.array([[0.5, 0.1], [-0.2, 0.4]])
    flow = gf.solve_flow(objective, w, times=[0.5, 1.0, 2.0], horizon=2.0, observe=["product"])
    for k, factor in enumerate(gf.balanced_factors(w, (2, 2, 2)), 1):
        np.testing.assert_array_equal(flow.initial[f"W_{k}"], factor)
    np.testing.assert_allclose(flow["product"][0], w, atol=1e-15)


def test_whole_numbers_are_taken_as_a_start():
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    times = {"times": [0.5, 1.0, 2.0], "horizon": 2.0, "observe": ["product"]}
    whole = gf.solve_flow(objective, (np.eye(2, dtype=int),) * 2, **times)
    np.testing.assert_array_equal(
        whole["product"], gf.solve_flow(objective, (np.eye(2),) * 2, **times)["product"]
    )


def test_the_configuration_says_what_was_asked(reference):
    objective, _, start, _ = reference
    asked = {"times": TIMES, "horizon": 6.0, "observe": ["product"]}
    config = gf.solve_flow(objective, start, rtol=1e-6, **asked).config
    assert (config["kind"], config["coordinates"], config["solver"]) == (
        "flow",
        "factors",
        "LinearlyImplicitExtrapolation",
    )
    assert (config["rtol"], config["horizon"], config["stop_loss"]) == (1e-6, 6.0, None)
    assert config["atol"] > 0
    assert config["objective"]["shape"] == [3, 4]
    assert config["objective"]["factor_shapes"] == [[3, 4], [3, 3]]
    assert json.loads(json.dumps(dict(config))) == dict(config)
    other = gf.Objective(
        gf.MatrixCompletion((3, 4), objective.problem.indices, objective.problem.values + 1e-9),
        objective.factorization,
    )
    changed = gf.solve_flow(other, start, rtol=1e-6, **asked).config
    assert changed["objective"]["data_sha256"] != config["objective"]["data_sha256"]


def test_progress_is_shown(reference, capsys):
    objective, _, start, _ = reference
    gf.solve_flow(objective, start, times=TIMES, horizon=6.0, observe=["loss"], progress=True)
    assert "loss =" in capsys.readouterr().out


# Invariants


def test_the_loss_never_rises_and_unbalancedness_is_kept():
    objective, _, start = CASES["sensing, wide hidden sizes"]()
    flow = gf.solve_flow(
        objective, start, horizon=6.0, observe=["factors", "unbalancedness"], rtol=1e-10
    )
    assert np.all(np.diff(flow["loss"]) < 0)
    assert flow["unbalancedness"][0] > 0.1
    # Conserved by the flow; the solver's own drift is some hundred local errors of 1e-10.
    np.testing.assert_allclose(flow["unbalancedness"], flow["unbalancedness"][0], atol=1e-8)
    for j in range(1, len(start)):
        low, high = flow[f"factors_{j}"], flow[f"factors_{j + 1}"]
        gap = high.transpose(0, 2, 1) @ high - low @ low.transpose(0, 2, 1)
        np.testing.assert_allclose(gap, np.broadcast_to(gap[0], gap.shape), atol=1e-8)


# Charts

TRACED = []


def traced_product(state):
    """The product; Python comes by only where a program is traced."""
    TRACED.append(None)
    return state.product


# One set of observables and one number of records for all that follows: programs are shared.
NAMES = ("singular_values", "log_abs_det", "det_sign", "unobserved_entries", "gradient_norm")
EVERYTHING = {**dict(resolve(NAMES)), "product": traced_product}
GRID = np.geomspace(1e-3, 3.0, 240)


def blowup_objective(depth, cell=(0, 0), values=(1.0, 0.7, 0.2)):
    seen = [at for at in np.ndindex(2, 2) if at != cell]
    return gf.Objective(
        gf.MatrixCompletion((2, 2), seen, values), gf.MatrixProduct.of((2, 2), depth)
    )


@pytest.mark.parametrize(
    ("depth", "cell", "charts"),
    [
        (2, (0, 0), ("factors", "product", "singular", "logdet")),
        (3, (0, 0), ("factors", "product", "singular", "logdet")),
        (2, (0, 1), ("logdet",)),
        (2, (1, 0), ("logdet",)),
        (2, (1, 1), ("logdet",)),
    ],
)
def test_all_charts_compute_the_same_flow(depth, cell, charts):
    objective = blowup_objective(depth, cell)
    mask, target = np.asarray(objective.problem.mask), np.asarray(objective.problem.target)
    for sign in (1, -1):
        # The hidden entry is the largest, and so the pivot.
        w = np.array([[0.3, 0.1], [-0.1, 0.25 * sign]])
        w = np.roll(w, cell, axis=(0, 1))
        factors = gf.balanced_factors(w, objective.factorization.sizes)
        wanted = by_scipy(
            lambda x: mask * (x - target), chain, pull_back_matrices,
            [np.asarray(f) for f in factors], GRID,
        )  # fmt: skip
        for name in charts:
            flow = gf.solve_flow(
                objective,
                w,
                coordinates=name,
                times=GRID,
                horizon=3.0,
                observe=EVERYTHING,
                rtol=1e-9,
            )
            assert flow.config["coordinates"] == name
            # The logarithmic clock goes through the logarithm and back.
            np.testing.assert_allclose(flow.times[1:], GRID, rtol=1e-14 if name == "logdet" else 0)
            np.testing.assert_allclose(flow["product"][1:], wanted, atol=1e-6)
            np.testing.assert_allclose(
                flow["singular_values"][1:], np.linalg.svd(wanted, compute_uv=False), atol=1e-6
            )
            # The logarithm magnifies errors by 1/det, at most 100 here.
            np.testing.assert_allclose(
                flow["log_abs_det"][1:], np.linalg.slogdet(wanted)[1], atol=1e-4
            )
            np.testing.assert_array_equal(flow["det_sign"], np.sign(np.linalg.det(w)))
            assert np.all(np.diff(flow["loss"]) < 0)


def test_unbalanced_factors_flow_in_factor_coordinates_only():
    objective = blowup_objective(2)
    start = (np.eye(2), 0.5 * np.eye(2))
    asked = {"times": GRID, "horizon": 3.0, "observe": EVERYTHING}
    assert gf.solve_flow(objective, start, **asked).outcome is Outcome.REACHED_HORIZON
    for name in ("product", "singular", "logdet"):
        with pytest.raises(ValueError, match=r"not balanced.*use coordinates='factors'"):
            gf.solve_flow(objective, start, coordinates=name, **asked)


# The norm blow-up

GENERIC = 1e-3 * np.array([[1.0, 0.3], [-0.2, 0.8]])
SCALED = 1e-2 * np.eye(2)


@functools.cache
def blowup(depth, scaled):
    return gf.solve_flow(
        blowup_objective(depth, values=(1.0, 1.0, 0.0)),
        SCALED if scaled else GENERIC,
        coordinates="logdet",
        times=np.geomspace(0.1, 1e9, 240),  # 24 a decade
        stop_loss=1e-6,
        observe=EVERYTHING,
    )


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("scaled", [True, False], ids=["from alpha I", "generic"])
def test_fitting_drives_the_free_entry_to_infinity(depth, scaled):
    flow = blowup(depth, scaled)
    assert flow.outcome is Outcome.REACHED_LOSS
    assert abs(flow["loss"][-1] / 1e-6 - 1) < 1e-8
    assert np.all(flow["det_sign"] == 1)
    assert np.all(np.diff(flow["loss"]) < 0)
    # det > 0 with errors of at most e in what is observed: w_11 e >= w_11 w_22 > (1 - e)^2.
    error = np.sqrt(2 * flow["loss"][-1])
    assert flow["unobserved_entries"][-1, 0] > (1 - error) ** 2 / error
    np.testing.assert_allclose(
        np.sum(flow["singular_values"] ** 2, axis=1),
        np.sum(flow["product"] ** 2, axis=(1, 2)),
        rtol=1e-12,
    )
    assert flow.stats["steps"] + flow.stats["rejected"] < 400  # no stiffness, no cancellation


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_loss_falls_at_the_squared_gradient_norm(depth):
    """The integral of |gradient|^2 over time is what the loss has lost."""
    flow = blowup(depth, True)
    first = np.argmax(flow["loss"] < 1e-2)  # before, the escape from the start is sudden
    last = first + (len(flow.times) - first - 2) // 2 * 2  # an even number of equal intervals
    part = slice(first, last + 1)
    t = flow.times[part]
    fallen = scipy.integrate.simpson(flow["gradient_norm"][part] ** 2 * t, x=np.log(t))
    # Simpson's rule with intervals of h = 0.1 in log t: h^4/180 = 6e-7 of a fourth derivative.
    np.testing.assert_allclose(fallen, flow["loss"][first] - flow["loss"][last], rtol=2e-5)


def test_depth_two_from_a_multiple_of_the_identity_has_its_asymptotics():
    """w_11 ~ (6t)^(1/3), loss ~ (6t)^(-2/3)/2 and log det ~ -1/(4 loss)."""
    flow = blowup(2, True)
    t = flow.times[-1]
    assert abs(flow["unobserved_entries"][-1, 0] / (6 * t) ** (1 / 3) - 1) < 0.01
    assert abs(flow["loss"][-1] / ((6 * t) ** (-2 / 3) / 2) - 1) < 0.01
    assert abs(flow["log_abs_det"][-1] * -4e-6 - 1) < 0.01


# Compilation


@pytest.mark.parametrize(("coordinates", "records"), [("factors", 288), ("logdet", 240)])
def test_other_data_times_and_tolerances_do_not_compile_again(coordinates, records):
    """With stops of the same kinds and as many records, which by default is always so."""

    def run(values, start, **asked):
        objective = blowup_objective(2, values=values)
        return gf.solve_flow(
            objective, start, coordinates=coordinates, observe=EVERYTHING, **asked
        )["product"][-1]

    stops = {"stop_loss": 0.3, "stop_gradient": 0.2}
    first = run((1.0, 1.0, 0.0), SCALED, **stops)  # compiles, or an earlier test did
    assert TRACED
    count = len(TRACED)
    others = [
        run((2.0, 0.5, 0.1), GENERIC, **stops),
        run((1.0, 1.0, 0.0), SCALED, **stops, horizon=2.0, rtol=1e-6, atol=1e-9, max_steps=500),
        run((1.0, 1.0, 0.0), SCALED, stop_loss=0.2, stop_gradient=0.02),
        run((1.0, 1.0, 0.0), SCALED, **stops, times=np.linspace(0.01, 0.9, records)),
    ]
    assert len(TRACED) == count
    assert all(not np.array_equal(other, first) for other in others)
    run((1.0, 1.0, 0.0), SCALED, horizon=1.0)  # a horizon alone is another program
    count = len(TRACED)
    run((2.0, 0.5, 0.1), GENERIC, horizon=2.0, rtol=1e-6)
    assert len(TRACED) == count


def test_another_set_of_observables_is_another_program():
    """What the test above counts does count."""
    count = len(TRACED)
    gf.solve_flow(blowup_objective(2), SCALED, horizon=1.0, observe={"new": traced_product})
    assert len(TRACED) > count


# Refusals


def refused(start=None, problem=None, model=None, **asked):
    objective = gf.Objective(problem or gf.norm_blowup(), model or gf.MatrixProduct((2, 2, 2)))
    start = 0.5 * np.eye(2) if start is None else start
    return lambda: gf.solve_flow(objective, start, **({"horizon": 1.0} | asked))


BALANCED = np.diag([0.5, 0.4])
WIDE = {"problem": gf.norm_blowup(shape=(2, 3)), "model": gf.MatrixProduct((3, 2, 2))}
TENSOR = {
    "problem": gf.tensor_completion(jax.random.key(0), (2, 2, 2), 1, 4),
    "model": gf.CPTensor((2, 2, 2), 1),
}
REFUSED = {
    "float32": (
        lambda: gf.solve_flow(
            gf.Objective(gf.astype(gf.norm_blowup(), jnp.float32), gf.MatrixProduct((2, 2, 2))),
            (np.eye(2, dtype=np.float32),) * 2, horizon=1.0),
        "input is float32", "jax_enable_x64"),
    "two precisions": (
        refused((np.eye(2, dtype=np.float32),) * 2), "start is float32", "gradflow.astype"),
    "no stop": (refused(horizon=None), "horizon, stop_loss and stop_gradient", "at least one"),
    "horizon": (refused(horizon=-1.0), "horizon", "above 0, but it is -1.0"),
    "horizon as text": (refused(horizon="long"), "horizon", "but it is 'long'"),
    "horizon not finite": (refused(horizon=np.inf), "horizon", "but it is inf"),
    "stop_loss": (refused(stop_loss=0.0), "stop_loss", "above 0, but it is 0.0"),
    "stop_gradient": (refused(stop_gradient=np.nan), "stop_gradient", "but it is nan"),
    "rtol": (refused(rtol=0), "rtol", "above 0, but it is 0"),
    "atol": (refused(atol=-1e-9), "atol", "above 0, but it is -1e-09"),
    "max_steps": (refused(max_steps=0), "max_steps", "at least 1, but it is 0"),
    "half a step": (refused(max_steps=1.5), "max_steps", "whole number"),
    "steps as text": (refused(max_steps="many"), "max_steps", "'many'"),
    "times falling": (refused(times=[2.0, 1.0]), "[2.0, 1.0]", "rising"),
    "times repeated": (refused(times=[1.0, 1.0]), "[1.0, 1.0]", "rising"),
    "times negative": (refused(times=[-1.0, 1.0]), "[-1.0, 1.0]", "from 0 on"),
    "no times": (refused(times=[]), "[]", "rising"),
    "times not finite": (refused(times=[1.0, np.nan]), "times[1] is nan", "replace"),
    "times in a table": (refused(times=[[1.0]]), "(1, 1)", "reshape"),
    "unknown observable": (refused(observe=["rank"]), "'rank'", "known are"),
    "observable without truth": (refused(observe=["test_error"]), "no ground truth", "truth="),
    "unknown coordinates": (refused(coordinates="polar"), "'polar'", "'singular' or 'logdet'"),
    "one factor": (refused((np.eye(2),)), "((2, 2),)", "factors[0] is W_1"),
    "shapes of factors": (refused((np.eye(3), np.eye(2))), "(3, 3)", "factors[0] is W_1"),
    "shape of the product": (refused(np.eye(3)), "(3, 3)", "columns, hidden"),
    "start not finite": (
        refused((np.eye(2), np.diag([1.0, np.inf]))), "start[1][1, 1] is inf", "replace"),
    "start as text": (refused(("a", "b")), "start[0]", "'a'"),
    "no start": (refused(np.array(None)), "start", "None"),
    "tensor from one array": (
        refused(np.ones((2, 2, 2)), **TENSOR), "CPTensor", "needs its factors as the start"),
    "tensor, product": (
        refused((np.ones((2, 1)),) * 3, coordinates="product", **TENSOR), "CPTensor", "'factors'"),
    "rank of the start": (
        refused(np.eye(2), model=gf.MatrixProduct((2, 1, 2))), "rank 2", "larger hidden sizes"),
    "solver without error estimate": (refused(solver=diffrax.Euler()), "Euler", "error estimate"),
    "solver by name": (refused(solver="Tsit5"), "'Tsit5'", "diffrax.Tsit5()"),
    "factors of a product": (
        refused(coordinates="product", observe=["factors"]), "'product'", "coordinates='factors'"),
    "singular, repeated": (
        refused(coordinates="singular"), "the start has [0.5", "'product', or 'logdet'"),
    "singular, zero": (
        refused(np.diag([1.0, 0.0]), coordinates="singular"), "[1.0, 0.0]", "'product'"),
    "singular, depth 1": (
        refused(BALANCED, model=gf.MatrixProduct((2, 2)), coordinates="singular"),
        "depth 1", "coordinates='factors'"),
    "logdet, depth 1": (
        refused(BALANCED, model=gf.MatrixProduct((2, 2)), coordinates="logdet"),
        "depth 1", "coordinates='factors'"),
    "logdet, not 2x2": (
        refused(np.eye(2, 3), coordinates="logdet", **WIDE), "(2, 3)", "'singular' or 'product'"),
    "logdet, sensing": (
        refused(BALANCED, problem=gf.MatrixSensing([np.eye(2)], [1.0]), coordinates="logdet"),
        "MatrixSensing", "'singular' or 'product'"),
    "logdet, no determinant": (
        refused(np.diag([1.0, 0.0]), coordinates="logdet"), "non-zero determinant", "'product'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refusal:
        call()
    assert value in str(refusal.value)
    assert remedy in str(refusal.value)


@pytest.mark.parametrize(
    "w", [((0.0014, 0.0023), (-0.0040, -0.0022)), ((0.0048, 0.0008), (0.0057, -0.0051))]
)
def test_another_pivot_takes_over_where_one_becomes_small(w):
    # On the way from these starts, of either determinant, the pivot entry crosses zero.
    w = np.array(w)
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(objective, w, coordinates="logdet", stop_loss=0.2, rtol=1e-9)
    assert flow.outcome is gf.Outcome.REACHED_LOSS
    assert flow.stats["charts"] > 1
    assert np.all(np.diff(flow.times) > 0)
    end = flow.times[-1]
    plain = gf.solve_flow(objective, w, horizon=end, rtol=1e-11, times=flow.times[1:-1])
    # 1e-6 is far above either tolerance times the growth of errors in the rise (about 1e2).
    np.testing.assert_allclose(flow["loss"], plain["loss"], rtol=1e-6)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("start", ["generic", "identity"])
def test_a_loss_of_1e_8_takes_at_most_200_steps(depth, start):
    w = np.array({"generic": [[1e-3, 3e-4], [-2e-4, 8e-4]], "identity": 1e-2 * np.eye(2)}[start])
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct.of((2, 2), depth))
    loose, tight = (
        gf.solve_flow(objective, w, coordinates="logdet", stop_loss=1e-8, rtol=rtol)
        for rtol in (1e-6, 1e-9)
    )
    assert loose.outcome is gf.Outcome.REACHED_LOSS
    assert loose.stats["steps"] <= 200
    # The tolerance itself; the entry is in fact right to 1e-9.
    assert loose["unobserved_entries"][-1, 0] == pytest.approx(
        tight["unobserved_entries"][-1, 0], rel=1e-6
    )
