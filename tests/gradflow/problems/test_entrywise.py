"""Huber's and the logistic completion: SciPy, differences, limits, flows, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

import gradflow as gf
from gradflow import baselines
from gradflow._util.provenance import describe
from gradflow.coordinates.base import expected_norm
from gradflow.problems import HuberCompletion, LogisticCompletion
from tests.helpers import central_gradient, flow_by_scipy, refuses

RNG = np.random.default_rng(0)
ENTRIES = np.array([[0, 0], [0, 3], [1, 1], [2, 0], [2, 2]])
CELLS = np.array([[0, 0, 1], [1, 2, 0], [0, 1, 1], [1, 1, 0]])
PLACES = {
    "matrix": ((3, 4), ENTRIES),
    "tensor": ((2, 3, 2), CELLS),
    "tensor of order 4": ((2, 3, 2, 2), np.pad(CELLS, ((0, 0), (0, 1)), constant_values=1)),
}
WEIGHT = {"sum": lambda n: 1.0, "mean": lambda n: 1 / n}


def huber(shape, indices, convention="sum"):
    values = 2 * RNG.normal(size=len(indices))
    problem = HuberCompletion(shape, indices, values, delta=0.7, loss=convention)
    return problem, lambda w: sum(
        scipy.special.huber(0.7, w[tuple(at)] - b) for at, b in zip(indices, values, strict=True)
    )


def logistic(shape, indices, convention="sum"):
    signs = RNG.choice([-1, 1], size=len(indices))
    problem = LogisticCompletion(shape, indices, signs, scale=0.6, loss=convention)
    return problem, lambda w: sum(
        -scipy.special.log_expit(b * w[tuple(at)] / 0.6)
        for at, b in zip(indices, signs, strict=True)
    )


@pytest.mark.parametrize("convention", WEIGHT)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", [huber, logistic])
def test_loss_agrees_with_scipy_and_the_gradient_with_its_differences(make, place, convention):
    shape, indices = PLACES[place]
    problem, oracle = make(shape, indices, convention)
    weight = WEIGHT[convention](len(indices))
    w = 2 * RNG.normal(size=shape)
    assert problem.shape == shape and problem.observations == len(indices)
    np.testing.assert_allclose(problem.loss(w), weight * oracle(w), rtol=1e-13)
    gradient = problem.gradient(w)
    # Differences of fourth order and step 1e-4; a kink of Huber's slope is not so near here.
    np.testing.assert_allclose(
        gradient, central_gradient(lambda x: weight * oracle(x), w), atol=1e-9
    )
    np.testing.assert_allclose(gradient, jax.grad(problem.loss)(jnp.asarray(w)), atol=1e-14)
    loss, again = problem.loss_and_gradient(w)
    assert loss == problem.loss(w)
    np.testing.assert_array_equal(again, gradient)


def test_optax_has_the_same_huber_loss():
    values = np.array([0.1, 3.0, -3.0, 1.0, -0.2])
    problem = HuberCompletion((3, 4), ENTRIES, values, delta=1.0)
    wanted = optax.losses.huber_loss(jnp.zeros(5), jnp.asarray(values), delta=1.0)
    np.testing.assert_allclose(problem.loss(jnp.zeros((3, 4))), jnp.sum(wanted), rtol=1e-15)


def test_huber_with_a_large_delta_is_half_the_sum_of_squares():
    values, w = RNG.normal(size=5), RNG.normal(size=(3, 4))
    plain = gf.MatrixCompletion((3, 4), ENTRIES, values)
    robust = HuberCompletion((3, 4), ENTRIES, values, delta=1e3)
    np.testing.assert_allclose(robust.loss(w), plain.loss(w), rtol=1e-15)
    np.testing.assert_array_equal(robust.gradient(w), plain.gradient(w))


@pytest.mark.parametrize("size", [1e3, 1e150])
def test_the_logistic_loss_neither_overflows_nor_loses_digits(size):
    problem = LogisticCompletion((1, 2), [[0, 0], [0, 1]], [1, -1])
    right, wrong = jnp.array([[size, -size]]), jnp.array([[-size, size]])
    assert float(problem.loss(right)) == 0.0
    np.testing.assert_allclose(problem.loss(wrong), 2 * size, rtol=1e-15)
    np.testing.assert_array_equal(problem.gradient(right), jnp.zeros((1, 2)))
    np.testing.assert_array_equal(problem.gradient(wrong), [[-1.0, 1.0]])
    # In between, the loss is exp(-W) to 1 - exp(-W) / 2.
    small = problem.loss(jnp.array([[40.0, -40.0]]))
    np.testing.assert_allclose(small, 2 * np.exp(-40.0), rtol=1e-15)


def test_the_expected_norm_is_finite_also_where_there_is_no_curvature():
    """Logistic at zero: slope 1/2 and curvature 1/4 an entry, so the step's norm is 2 sqrt(n)."""
    problem = LogisticCompletion((3, 4), ENTRIES, [1, 1, -1, 1, -1])
    np.testing.assert_allclose(expected_norm(problem), 2 * 5**0.5, rtol=1e-14)
    assert expected_norm(HuberCompletion((3, 4), ENTRIES, [9.0] * 5)) == 0
    steep = gf.problems.LossFunction((2,), lambda w: jnp.sum(jnp.sqrt(jnp.abs(w))))
    assert expected_norm(steep) == 0


def entry_velocity(problem, slope):
    mask, target = np.asarray(problem.mask), np.asarray(problem.target)

    def velocity(factors):
        low, high = factors
        g = mask * slope(high @ low, target)
        return -(high.T @ g), -(g @ low.T)

    return velocity


SMOOTH_SOLVER = "LinearlyImplicitExtrapolation"
SLOPES = {
    "Huber": (
        HuberCompletion((3, 3), ENTRIES[[0, 2, 3, 4]], [1.0, 0.5, -4.0, 2.0], delta=0.8),
        lambda w, b: np.clip(w - b, -0.8, 0.8),
    ),
    "logistic": (
        LogisticCompletion((3, 3), ENTRIES[[0, 2, 3, 4]], [1, 1, -1, 1], scale=0.5),
        lambda w, b: -2 * b * scipy.special.expit(-2 * b * w),
    ),
}


@pytest.mark.parametrize("name", SLOPES)
def test_the_flow_agrees_with_scipy(name):
    problem, slope = SLOPES[name]
    model = gf.MatrixProduct.of((3, 3), 2)
    start = model.gaussian(jax.random.key(0), std=0.3)
    flow = gf.solve_flow(gf.Objective(problem, model), start, horizon=4.0, rtol=1e-10)
    wanted = flow_by_scipy(entry_velocity(problem, slope), start, 4.0)
    assert flow.outcome is gf.Outcome.REACHED_HORIZON
    # Linearly implicit steps pass the jump of Huber's curvature unseen: 7e-7 here.
    assert flow.stats["solver"] == ("StiffnessSwitch" if name == "Huber" else SMOOTH_SOLVER)
    for k, factor in enumerate(wanted, 1):
        np.testing.assert_allclose(flow.final[f"W_{k}"], factor, atol=2e-8)
    assert flow["unobserved_entries"].shape[1] == 5
    assert flow.stats["invariant_drift"] < 1e-9


def test_a_stored_run_says_which_loss_it_had():
    found = describe(gf.Objective(SLOPES["Huber"][0], gf.MatrixProduct.of((3, 3), 2)))
    assert found["problem"] == "HuberCompletion"
    assert (found["observations"], found["loss_convention"], found["delta"]) == (4, "sum", 0.8)
    found = describe(gf.Objective(SLOPES["logistic"][0], gf.MatrixProduct.of((3, 3), 2)))
    assert found["scale"] == 0.5


def made(kind=HuberCompletion, shape=(2, 2), indices=((0, 1), (1, 0)), values=(1, -1), **options):
    return kind(shape, indices, values, **options)


POSED = gf.Objective(made(), gf.MatrixProduct((2, 2, 2)))
START = gf.factorizations.identity_factors((2, 2, 2), 0.5)
NAN = float("nan")
REFUSED = {
    "delta": (lambda: made(delta=0), "delta", "above 0"),
    "scale": (lambda: made(LogisticCompletion, scale=-1.0), "-1.0", "above 0"),
    "sign 0": (lambda: made(LogisticCompletion, values=(1, 0)), "signs[1] is 0.0", "2 * x - 1"),
    "sign 2": (lambda: made(LogisticCompletion, values=(2, 1)), "signs[0] is 2.0", "-1 or +1"),
    "value": (lambda: made(values=(1, NAN)), "values[1] is nan", "replace"),
    "convention": (lambda: made(loss="half_sum"), "'half_sum'", "sum, mean"),
    "index": (lambda: made(indices=((0, 2), (0, 0))), "[0, 2]", "count from 0"),
    "truth": (lambda: made(truth=np.ones((2, 3))), "(2, 3)", "must agree"),
    "nuclear norm": (lambda: baselines.minimum_nuclear_norm(POSED.problem),
                     "HuberCompletion", "MatrixCompletion"),
    "SoftImpute": (lambda: baselines.soft_impute(POSED.problem, weight=0.1),
                   "HuberCompletion", "MatrixCompletion"),
    "OptSpace": (lambda: baselines.optspace(POSED.problem, rank=1),
                 "HuberCompletion", "MatrixCompletion"),
    "variance": (
        lambda: gf.dynamics.sampled_variance(POSED, START, 1), "HuberCompletion", "as arrays"),
    "aligned": (lambda: gf.exact.aligned_flow(POSED, START, [1.0]), "HuberCompletion",
                "solve_flow"),
    "commuting": (lambda: gf.exact.commuting_flow(POSED, START, [1.0]), "HuberCompletion",
                  "MatrixSensing"),
    "least squares": (lambda: gf.exact.least_squares_flow(POSED.problem, START[0], [1.0]),
                      "HuberCompletion", "LeastSquares"),
    "blow-up": (lambda: gf.exact.norm_blowup_tail(POSED.problem, [1e3]), "HuberCompletion",
                "solve_flow"),
    "logdet": (lambda: gf.solve_flow(POSED, START, horizon=1.0, coordinates="logdet"),
               "HuberCompletion", "2x2 matrix completion"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
