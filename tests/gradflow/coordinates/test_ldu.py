"""Structural coordinates of any size: against 50 digits, long Taylor series, and the other ones."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.claims.oracles import taylor
from gradflow.claims.oracles.high_precision import product_velocity
from gradflow.coordinates.ldu import LDUCoordinates
from gradflow.linalg.exact_elimination import exactly
from tests.gradflow.coordinates.structural_references import REFERENCES, SMALL, TINY

OBSERVED = ("singular_values", "product", "log_abs_det", "det_sign")


def objective_of(problem, depth):
    return gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth))


def followed(reference, **asked):
    square = reference.start.shape[0] == reference.start.shape[1]
    observe = OBSERVED if square else OBSERVED[:2]
    objective = objective_of(reference.problem, reference.depth)
    return gf.solve_flow(objective, reference.start, observe=observe, **asked)


def pivots(w, k):
    """L, D and U of an mpmath matrix by elimination without exchanges."""
    a, lower, upper, d = w.copy(), mpmath.matrix(w.rows, k), mpmath.matrix(k, w.cols), []
    for s in range(k):
        d.append(a[s, s])
        for i in range(s, w.rows):
            lower[i, s] = a[i, s] / d[s]
        for j in range(s, w.cols):
            upper[s, j] = a[s, j] / d[s]
        for i in range(w.rows):
            for j in range(w.cols):
                a[i, j] -= lower[i, s] * d[s] * upper[s, j]
    return lower, d, upper


@pytest.mark.parametrize(("shape", "depth", "grade"), [
    ((2, 2), 2, 0), ((3, 3), 2, 25), ((3, 3), 5, 5), ((2, 3), 3, 25), ((4, 2), 2, 5),
])  # fmt: skip
def test_velocity_is_that_of_the_factors_in_60_digits(shape, depth, grade):
    rng, (m, n), k = np.random.default_rng(depth), shape, min(shape)
    seen = list(np.ndindex(shape))[1:]
    problem = gf.MatrixCompletion(shape, seen, rng.normal(size=len(seen)))
    lower = np.tril(rng.uniform(-1, 1, (m, k)), -1) + np.eye(m, k)
    upper = np.triu(rng.uniform(-1, 1, (k, n)), 1) + np.eye(k, n)
    logs, signs = -np.sort(rng.uniform(0, grade, k)), rng.choice([-1.0, 1.0], k)
    with mpmath.workdps(60):
        middle = [s * mpmath.exp(mpmath.mpf(float(x))) for s, x in zip(signs, logs, strict=True)]
        w = mpmath.matrix(lower.tolist()) * mpmath.diag(middle) * mpmath.matrix(upper.tolist())
        mask, target = np.asarray(problem.mask), np.asarray(problem.target)
        gradient = mpmath.matrix(
            [[(w[i, j] - target[i, j]) * mask[i, j] for j in range(n)] for i in range(m)]
        )
        moved = mpmath.mpf(10) ** -20 * product_velocity(w, gradient, depth)
        (la, da, ua), (lb, db, ub) = pivots(w + moved, k), pivots(w - moved, k)
        unit = mpmath.mpf(10) ** 20 / 2
        wanted = (
            np.array((unit * (la - lb)).tolist(), float).reshape(m, k),
            [float(unit * mpmath.log(a / b)) for a, b in zip(da, db, strict=True)],
            np.array((unit * (ua - ub)).tolist(), float).reshape(k, n),
        )
    made = LDUCoordinates(problem, depth, *map(jnp.asarray, (signs, np.arange(m), np.arange(n))))
    below, right = made._places
    y = tuple(jnp.asarray(x) for x in (lower[below], logs, upper[right]))
    found = jax.jit(lambda at: made.velocity(at))(y)
    largest = max(np.abs(x).max() for x in wanted)
    for x, exact in zip(found, (wanted[0][below], wanted[1], wanted[2][right]), strict=True):
        np.testing.assert_allclose(x, exact, atol=1e-14 * largest, rtol=1e-12)


@pytest.mark.parametrize("name", REFERENCES)
def test_ends_are_those_of_long_taylor_series(name):
    reference = REFERENCES[name]
    flow = followed(reference, horizon=reference.time, max_steps=500)
    assert flow.outcome is gf.Outcome.REACHED_HORIZON and not flow.warnings
    assert flow["loss"][-1] == pytest.approx(reference.loss, rel=1e-6)
    assert flow["product"][-1][0, 0] == pytest.approx(reference.entry, rel=1e-6)
    log_s = np.log(flow["singular_values"][-1])
    np.testing.assert_allclose(log_s, reference.log_s, rtol=1e-6, atol=1e-7)
    if "det_sign" in flow.observables:
        assert np.unique(flow["det_sign"]).tolist() == [np.sign(np.linalg.det(reference.start))]


@pytest.mark.parametrize("name", ["3x3", "4x4", "5x5", "two at once"])
def test_a_loss_of_1e_4_is_reached_in_500_steps_and_signs_stay(name):
    reference = REFERENCES[name]
    flow = followed(reference, stop_loss=1e-4)
    assert flow.outcome is gf.Outcome.REACHED_LOSS and flow.stats["coordinates"] == "ldu"
    assert flow.stats["steps"] + flow.stats["rejected"] < 500
    assert np.unique(flow["det_sign"]).tolist() == [1.0]
    assert flow["log_abs_det"][-1] < -2000


@pytest.mark.parametrize("case", TINY, ids=str)
def test_starts_of_any_scale(case):
    (depth, kind, exponent), (time, loss) = case, TINY[case]
    w = 10.0**exponent * (SMALL if kind == "generic" else np.eye(2))
    objective = objective_of(gf.synthetic.norm_blowup(), depth)
    flow = gf.solve_flow(objective, w, horizon=time, observe=("loss",))
    assert flow.outcome is gf.Outcome.REACHED_HORIZON and not flow.warnings
    assert flow["loss"][-1] == pytest.approx(loss, rel=1e-6)


def test_a_start_may_be_too_small_for_a_number():
    objective = objective_of(gf.synthetic.norm_blowup(), 2)
    starts = 1e-300 * np.eye(2), *(gf.LogScaled(np.eye(2), x) for x in (-1000.0, -5000.0))
    flows = [gf.solve_flow(objective, start, stop_loss=0.1) for start in starts]
    assert {flow.outcome for flow in flows} == {gf.Outcome.REACHED_LOSS}
    ends = [float(flow["unobserved_entries"][-1, 0]) for flow in flows]
    assert ends == pytest.approx([ends[0]] * 3, rel=1e-7)
    assert flows[2].stats["end"] - flows[1].stats["end"] == pytest.approx(2000, abs=1e-4)  # exp(2t)
    ranks = [float(flow["effective_rank"][0]) for flow in flows]
    assert ranks == pytest.approx([2.0] * 3, abs=1e-9)  # of products that are no numbers, too


@pytest.mark.filterwarnings("ignore:In this flow errors grow")
def test_a_rise_that_cannot_be_timed_says_so():
    objective = objective_of(gf.synthetic.norm_blowup(), 3)
    start = 1e-30 * np.eye(2)
    timed = gf.solve_flow(objective, start, horizon=1.00001e10, observe=("loss",))
    assert timed.outcome is gf.Outcome.LOST_TIME and "errors grow" in timed.warnings[0]
    stopped = gf.solve_flow(objective, start, stop_loss=0.1, observe=("product",))
    assert stopped.outcome is gf.Outcome.REACHED_LOSS and "times" in stopped.warnings[0]
    nearer = gf.solve_flow(objective, 1e-12 * np.eye(2), stop_loss=0.1, observe=("product",))
    # At a given loss the product depends on the scale like its square root at most.
    np.testing.assert_allclose(stopped["product"][-1], nearer["product"][-1], atol=1e-4)


def test_pivots_are_exchanged_without_loss():
    problem = gf.synthetic.norm_blowup(shape=(3, 4))
    w = np.random.default_rng(3).normal(size=(3, 4))
    made, y = LDUCoordinates.at(problem, 2, exactly(w))
    far = (y[0] * 3, y[1] - jnp.array([900.0, 0.0, 0.0]), y[2])  # the first pivot is the smallest
    assert bool(made.near_singularity(far))
    other, z = made.switched(far)
    assert not bool(other.near_singularity(z))
    np.testing.assert_allclose(other.product(z), made.product(far), rtol=0, atol=1e-15)
    # No determinant tells the small one, so all of it must be in what is left of the pivots.
    assert other.log_singular_values(z)[-1] < -890


def test_a_2x2_flow_goes_on_with_its_residuals():
    objective = objective_of(gf.synthetic.norm_blowup(), 2)
    flow = gf.solve_flow(objective, 1e-12 * SMALL, stop_loss=1e-8)
    assert flow.outcome is gf.Outcome.REACHED_LOSS
    assert (flow.stats["coordinates"], flow.stats["charts"] > 1) == ("logdet", True)
    assert flow.stats["steps"] < 500


def test_a_state_can_be_taken_up_again():
    reference = REFERENCES["3x3"]
    half = followed(reference, horizon=10.0)
    objective = objective_of(reference.problem, reference.depth)
    rest = gf.solve_flow(objective, half.final, horizon=reference.time - 10, observe=("loss",))
    assert rest.stats["coordinates"] == "ldu"
    assert rest["loss"][-1] == pytest.approx(reference.loss, rel=1e-6)


def test_a_batch_has_pivots_of_its_own_for_each_flow():
    problem = gf.synthetic.norm_blowup(shape=(3, 3))
    objective = objective_of(problem, 2)
    starts = [REFERENCES[name].start for name in ("3x3", "3x3, flips as factors")]
    starts.append(1e-200 * starts[0][::-1])
    asked = {"stop_loss": 0.02, "observe": ("log_abs_det", "det_sign")}
    batch = gf.solve_flows(objective, starts, **asked)
    for start, flow in zip(starts, batch, strict=True):
        alone = gf.solve_flow(objective, start, **asked)
        assert flow.stats["coordinates"] == "ldu" and flow.outcome is alone.outcome
        assert flow["log_abs_det"][-1] == pytest.approx(float(alone["log_abs_det"][-1]), rel=1e-8)
        assert np.unique(flow["det_sign"]).tolist() == [np.sign(np.linalg.slogdet(start)[0])]


def test_a_start_without_factors_is_told_from_factors():
    objective = objective_of(gf.synthetic.norm_blowup(), 2)
    start = gf.LogScaled(np.eye(2), -5000.0)
    with pytest.raises(ValueError, match="has no factors; start a flow from it"):
        gf.run_descent(objective, start, gf.optimizers.gd, learning_rate=0.1, max_steps=2)


def test_zeros_of_a_start_stay_zeros():
    flow = followed(REFERENCES["3x5, no excess columns"], horizon=5.0)
    assert np.all(flow["product"][-1][:, 3:] == 0)


def test_singular_coordinates_do_not_drift_apart_on_rectangles():
    reference = REFERENCES["3x5, no excess columns"]
    flow = followed(reference, horizon=reference.time / 2, coordinates="singular")
    exact = followed(reference, horizon=reference.time / 2)
    # Entry by entry, "singular" coordinates are right to some tens of rtol; apart, to nothing.
    logs = (np.log(found["singular_values"][-1]) for found in (flow, exact))
    np.testing.assert_allclose(*logs, rtol=1e-7, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_the_references_can_be_had_again(name):
    reference = REFERENCES[name]
    with mpmath.workprec(300):
        found = taylor.follow(
            reference.problem, reference.start, reference.depth, tail=130,
            stop_time=reference.time, bits=300,
        )  # fmt: skip
        assert float(found.loss) == pytest.approx(reference.loss, rel=1e-12)
        assert float(found.product[0, 0]) == pytest.approx(reference.entry, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", TINY, ids=str)
def test_the_tiny_references_can_be_had_again(case):
    (depth, kind, exponent), (time, loss) = case, TINY[case]
    w = 10.0**exponent * (SMALL if kind == "generic" else np.eye(2))
    problem, bits = gf.synthetic.norm_blowup(), 400 - 4 * exponent
    found = taylor.follow(problem, w, depth, tail=100, stop_time=time, bits=bits)
    assert float(found.loss) == pytest.approx(loss, rel=1e-9)
