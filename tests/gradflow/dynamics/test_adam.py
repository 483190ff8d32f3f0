"""Adam's model: the field by its formula, minibatch variances by counting, smoothing, sliding."""

import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import gradflow as gf
from gradflow import factorizations, synthetic
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.observables import State
from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation
from tests.helpers import chain

PROBLEM = synthetic.matrix_completion(jax.random.key(0), (4, 3), 2, 8, norm=2.0, loss="sum")
MASK, TARGET = np.asarray(PROBLEM.mask), np.asarray(PROBLEM.target)


def in_factors(model, factors, variance=None, smoothing=None):
    """Adam's model in factor coordinates, checked against a start."""
    return FactorCoordinates(model, gf.AdamFlow(variance, smoothing).prepared(model, factors))


def objective(depth, penalty=None):
    return gf.Objective(PROBLEM, gf.MatrixProduct.of(PROBLEM.shape, depth), penalty)


def start(model, seed=1, std=0.6):
    return model.factorization.gaussian(jax.random.key(seed), std=std)


def spread(factors, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.01, 1.0, size=f.shape) for f in factors]


def numpy_gradients(factors, penalty=0.0):
    """By the chain rule written out, with the nuclear norm's polar factor."""
    w = chain(factors)
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    g = 2 * MASK * (w - TARGET) + penalty * u @ vt
    factors = [np.asarray(f) for f in factors]
    after = [chain([*factors[j + 1 :], np.eye(4)]) for j in range(len(factors))]
    before = [chain([np.eye(3), *factors[:j]]) for j in range(len(factors))]
    return [a.T @ g @ b.T for a, b in zip(after, before, strict=True)]


# The field


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("smoothing", [None, 0.0, 0.2])
def test_the_field_is_the_formula(depth, smoothing, penalty):
    model = objective(depth, gf.NuclearNorm(penalty) if penalty else None)
    factors = start(model)
    variance = spread(factors)
    held = in_factors(model, factors, variance, smoothing)
    for found, g, s2 in zip(
        held.velocity(factors), numpy_gradients(factors, penalty), variance, strict=True
    ):
        np.testing.assert_allclose(
            found, -g / np.sqrt(g**2 + s2 + (smoothing or 0.0) ** 2), rtol=1e-11
        )


@pytest.mark.parametrize("given", [None, 0, 0.0, [0.0, 0.0], (0, np.zeros((4, 3)))], ids=repr)
def test_full_batches_give_smoothed_signs(given):
    model = objective(2)
    factors = start(model)
    held = in_factors(model, factors, given, smoothing=1e-9)
    for found, g in zip(held.velocity(factors), numpy_gradients(factors), strict=True):
        np.testing.assert_allclose(found, -np.sign(g), atol=1e-12)
        assert np.abs(g).min() > 1e-3  # so that 1 - |velocity| is below (1e-9 / 1e-3)^2


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_one_number_serves_all_factors_whatever_its_size(scale):
    model = objective(2)
    factors = start(model)
    held = in_factors(model, factors, variance=np.float64(scale))
    assert [v.shape for v in held.dynamics.variance] == [f.shape for f in factors]
    assert held.dynamics.smoothing == 0
    for found, g in zip(held.velocity(factors), numpy_gradients(factors), strict=True):
        np.testing.assert_allclose(found, -g / np.hypot(g, scale**0.5), rtol=1e-11)


@pytest.mark.parametrize("smoothing", [1e-300, 1e-3])
def test_where_the_gradient_is_zero_nothing_moves(smoothing):
    model = objective(2)
    zeros = tuple(jnp.zeros_like(f) for f in start(model))
    held = in_factors(model, zeros, smoothing=smoothing)
    for found in held.velocity(zeros):
        np.testing.assert_array_equal(found, 0.0)
    assert held.squared_gradient_norm(zeros) == 0


def test_no_entry_moves_faster_than_one():
    model = objective(3)
    factors = start(model, std=3.0)
    for variance, smoothing in [(None, 1e-6), (0.5, None), (spread(factors), 0.1)]:
        held = in_factors(model, factors, variance, smoothing)
        assert all(np.abs(v).max() <= 1 for v in held.velocity(factors))


@pytest.mark.parametrize("penalty", [None, gf.NuclearFrobeniusRatio(0.3)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_value_falls_at_the_rate_that_is_given(depth, penalty):
    model = objective(depth, penalty)
    factors = start(model)
    held = in_factors(model, factors, spread(factors), 0.1)
    value, falling = jax.jvp(held.value, (factors,), (held.velocity(factors),))
    pairs = zip(model.gradient(factors), held.velocity(factors), strict=True)
    assert falling < 0
    np.testing.assert_allclose(falling, sum(np.sum(g * v) for g, v in pairs), rtol=1e-11)
    np.testing.assert_allclose(value, model.value(factors), rtol=1e-15)


def test_the_chart_shows_what_the_factors_show():
    model = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)), gf.NuclearNorm(0.3))
    factors = start(model)
    held, wanted = in_factors(model, factors, smoothing=0.1), FactorCoordinates(model)
    assert held.factors(factors) is factors
    assert held.problem is model.problem
    for name in ("product", "loss", "penalty", "value", "singular_values", "slogdet", "smooth"):
        np.testing.assert_array_equal(
            getattr(held, name)(factors), getattr(wanted, name)(factors), err_msg=name
        )
    assert not held.smooth(tuple(0 * f for f in factors))


def test_balancedness_is_not_conserved():
    model = objective(2)
    factors = factorizations.balanced_factors(
        np.random.default_rng(0).normal(size=(4, 3)), (3, 3, 4)
    )

    def difference(y):
        return y[1].T @ y[1] - y[0] @ y[0].T

    def drift(held):
        return np.abs(jax.jvp(difference, (factors,), (held.velocity(factors),))[1]).max()

    assert drift(FactorCoordinates(model)) < 1e-13
    assert drift(in_factors(model, factors, smoothing=1e-3)) > 0.1


# Solutions


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
    assert flow.stats["coordinates_reason"] == "as asked"
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
    gradient = model.gradient(tuple(map(jnp.asarray, flow.final.values())))
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


# Minibatch variances


@eqx.filter_jit
def gradients(model, factors, chosen):
    """Of sums of squares over entries chosen, by differentiation; one a row of `chosen`."""
    problem = model.problem

    def loss(y, row):
        w = model.product(y)[tuple(problem.indices.T)]
        return problem.weight * jnp.sum(row * (w - problem.values) ** 2)

    return jax.vmap(lambda row: jax.grad(loss)(factors, row))(chosen)


def counted(model, factors, batch):
    """Variance over all batches, each gradient by differentiating the batch's own loss."""
    n = model.problem.observations
    picked = [np.isin(range(n), some) for some in itertools.combinations(range(n), batch)]
    rows = np.zeros((10, n))  # as many as there are batches of 2, so that all compile once
    rows[: len(picked)] = picked
    draws = gradients(model, factors, n / batch * rows)
    return [np.var(part[: len(picked)], axis=0) for part in draws]


@pytest.mark.parametrize("batch", [1, 2, 4, 5])
@pytest.mark.parametrize("loss", ["half_sum", "sum", "mean"])
@pytest.mark.parametrize("sizes", [(2, 3), (2, 2, 3), (2, 3, 1, 3), (2, 4, 3, 2, 3)])
def test_the_variance_is_what_counting_all_batches_gives(sizes, loss, batch):
    rng = np.random.default_rng(len(sizes))
    where = [[0, 0], [0, 1], [1, 1], [2, 0], [2, 1]]
    problem = gf.MatrixCompletion((3, 2), where, rng.normal(size=5), loss=loss)
    model = gf.Objective(problem, gf.MatrixProduct(sizes))
    factors = tuple(jnp.asarray(rng.normal(size=s)) for s in model.factorization.factor_shapes)
    found = gf.dynamics.sampled_variance(model, factors, batch)
    for a, b in zip(found, counted(model, factors, batch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    if batch == 5:
        assert all(not np.any(v) for v in found)


def test_a_penalty_adds_no_variance():
    factors = start(objective(2))
    for a, b in zip(
        gf.dynamics.sampled_variance(objective(2), factors, 3),
        gf.dynamics.sampled_variance(objective(2, gf.NuclearNorm(1.0)), factors, 3),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_one_observation_has_no_variance():
    model = gf.Objective(gf.MatrixCompletion((2, 2), [[0, 0]], [1.0]), gf.MatrixProduct((2, 2)))
    np.testing.assert_array_equal(
        gf.dynamics.sampled_variance(model, (jnp.zeros((2, 2)),), 1)[0], 0.0
    )


def test_equal_contributions_have_a_variance_that_is_not_below_zero():
    """Every entry pulls at the one factor alike: the true variance in W_1 is 0, up to rounding."""
    problem = gf.MatrixCompletion((7, 1), [[i, 0] for i in range(7)], np.full(7, 0.1))
    model = gf.Objective(problem, gf.MatrixProduct((1, 1, 7)))
    factors = (jnp.full((1, 1), 0.3), jnp.full((7, 1), 0.7))
    found = gf.dynamics.sampled_variance(model, factors, 3)
    assert all(jnp.all(v >= 0) for v in found)
    np.testing.assert_allclose(found[0], 0.0, atol=1e-16)


def test_a_sampled_variance_makes_a_field():
    model = objective(2)
    factors = start(model)
    variance = gf.dynamics.sampled_variance(model, factors, 2)
    held = in_factors(model, factors, variance)
    for found, g, s2 in zip(
        held.velocity(factors), numpy_gradients(factors), variance, strict=True
    ):
        np.testing.assert_allclose(found, -g / np.sqrt(g**2 + np.asarray(s2)), rtol=1e-11)


# The smoothed share


def test_the_share_counts_gradients_up_to_epsilon():
    model = objective(2)
    factors = start(model)
    gradients = np.concatenate([np.ravel(g) for g in numpy_gradients(factors)])
    for smoothing in (1e-6, np.median(np.abs(gradients)) * (1 + 1e-9), 1e3):
        held = in_factors(model, factors, smoothing=float(smoothing))
        np.testing.assert_allclose(
            gf.dynamics.smoothed_share(State(held, factors)),
            np.mean(np.abs(gradients) <= smoothing),
        )


# Misuse


TWO = objective(2)
FACTORS = start(TWO)
SHAPES = [f.shape for f in FACTORS]
TENSOR = gf.Objective(gf.TensorCompletion((2, 2, 2), [[0, 1, 0]], [3.0]), gf.CPTensor((2, 2, 2), 1))
SENSING = gf.Objective(gf.MatrixSensing(np.eye(2)[None], [3.0]), gf.MatrixProduct((2, 2)))
REFUSED = {
    "no variance, no smoothing": (
        lambda: in_factors(TWO, FACTORS), "-sign(gradient)", "smoothing is 0; give"),
    "smoothing zero": (
        lambda: in_factors(TWO, FACTORS, 0.0, 0.0), "W_1", "smoothing is 0; give one above 0"),
    "one variance zero": (
        lambda: in_factors(TWO, FACTORS, [1.0, np.eye(*SHAPES[1])]), "W_2", "jumps where"),
    "smoothing negative": (
        lambda: in_factors(TWO, FACTORS, 1.0, -0.1), "smoothing", "-0.1"),
    "smoothing infinite": (
        lambda: in_factors(TWO, FACTORS, 1.0, np.inf), "smoothing", "inf"),
    "variance negative": (
        lambda: in_factors(TWO, FACTORS, [1.0, -2.0]), "variance[1] must be 0 or more", "-2.0"),
    "variance no number": (
        lambda: in_factors(TWO, FACTORS, [np.nan, 1.0]), "variance[0]", "nan"),
    "too few variances": (
        lambda: in_factors(TWO, FACTORS, [1.0]), "1 variances but 2 factors", "one for each"),
    "shape of a variance": (
        lambda: in_factors(TWO, FACTORS, [1.0, np.ones((2, 2))]),
        "variance[1] has shape (2, 2) but W_2 has shape (4, 3)", "or a number"),
    "shape of a factor": (
        lambda: in_factors(TWO, FACTORS[::-1], 1.0), "factors have shapes", "factors[0] is W_1"),
    "precision": (
        lambda: in_factors(TWO, gf.astype(FACTORS, jnp.float32), 1.0),
        "factors is float32", "gradflow.astype"),
    "batch zero": (lambda: gf.dynamics.sampled_variance(TWO, FACTORS, 0), "batch", "0"),
    "batch too large": (
        lambda: gf.dynamics.sampled_variance(TWO, FACTORS, 9), "observed entries, 8", "9"),
    "tensor": (
        lambda: gf.dynamics.sampled_variance(TENSOR, FACTORS, 1), "TensorCompletion and CPTensor",
            "arrays"),
    "sensing": (
        lambda: gf.dynamics.sampled_variance(SENSING, FACTORS, 1), "MatrixSensing", "as arrays"),
    "share": (
        lambda: gf.dynamics.smoothed_share(State(FactorCoordinates(TWO), FACTORS)),
        "have a smoothing", "gradflow.AdamFlow"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        call()
    assert value in str(refused.value)
    assert remedy in str(refused.value)
