"""Error control: entry by entry it is diffrax's; normwise, amplified, not finite."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.coordinates.product import ProductCoordinates
from gradflow.coordinates.singular import SingularCoordinates
from gradflow.flow.error_control import ErrorControl
from tests.helpers import product_by_dopri8

PROBLEM = gf.synthetic.norm_blowup()
RTOL, ATOL = 1e-6, 1e-7
SCALES = jnp.array([1.0, 1e3])


def judged(control, y0, y1, error):
    """Whether the step is kept, and the next one's end."""
    state = diffrax.PIDController(rtol=RTOL, atol=ATOL).init(
        None, 0.0, 9.0, y0, 0.5, None, None, 4
    )[1]
    keep, _, after, *_ = control.adapt_step_size(0.0, 0.5, y0, y1, None, error, 4, state)
    return bool(keep), float(after)


@pytest.mark.parametrize("size", [0.1, 0.7, 2.0, 40.0])
def test_entry_by_entry_it_is_diffrax_s_own(size):
    y0 = (jnp.log(SCALES), jnp.eye(2), 2 * jnp.eye(2))
    y1 = jax.tree.map(lambda leaf: 1.1 * leaf + 0.3, y0)
    error = jax.tree.map(lambda leaf: size * RTOL * jnp.cos(leaf), y1)
    mine = ErrorControl(coordinates=SingularCoordinates(PROBLEM, 2), rtol=RTOL, atol=ATOL)
    assert judged(mine, y0, y1, error) == pytest.approx(
        judged(diffrax.PIDController(rtol=RTOL, atol=ATOL), y0, y1, error), rel=1e-14
    )


def test_normwise_a_small_entry_may_be_as_wrong_as_a_large_one():
    control = ErrorControl(coordinates=ProductCoordinates(PROBLEM, 2), rtol=RTOL, atol=0.0)
    w = jnp.diag(SCALES)
    wrong = 0.5 * RTOL * 1e3 * jnp.eye(2)[::-1]  # where w is 0
    np.testing.assert_allclose(
        control.scaled(wrong, w, w), wrong / (RTOL * jnp.sqrt(jnp.mean(w**2))), rtol=1e-14
    )
    assert judged(control, w, w, wrong)[0]


def test_errors_count_as_many_times_as_they_grow_and_weigh():
    chart = ProductCoordinates(PROBLEM, 3).with_tolerance(RTOL)
    control = ErrorControl(coordinates=chart, rtol=RTOL, atol=ATOL)
    plain = ErrorControl(coordinates=ProductCoordinates(PROBLEM, 3), rtol=RTOL, atol=ATOL)
    w = 1e-3 * jnp.eye(2)
    growth = float(chart.amplification(w))
    assert growth > 5
    np.testing.assert_allclose(
        control.weighing(jnp.asarray(3.0)).scaled(w, w, w),
        3 * growth * plain.scaled(w, w, w),
        rtol=1e-14,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_tried_again_at_a_fifth(bad):
    control = ErrorControl(coordinates=ProductCoordinates(PROBLEM, 2), rtol=RTOL, atol=ATOL)
    w = jnp.eye(2)
    for y1, error in ((w, bad * w), (bad * w, w)):
        assert judged(control, w, y1, error) == (False, pytest.approx(0.1))


def test_jumps_of_the_second_derivatives_are_no_way_out_of_the_tolerance():
    """Residuals pass the places where Huber's loss turns linear within few steps."""
    rng = np.random.default_rng(0)
    cells = np.argwhere(np.ones((4, 2), bool))
    model = gf.MatrixProduct((2, 11, 4))
    for _ in range(6):
        problem = gf.problems.HuberCompletion((4, 2), cells, rng.normal(size=len(cells)))
        start = tuple(jnp.asarray(rng.normal(size=s)) for s in model.factor_shapes)
        objective = gf.Objective(problem, model)
        flow = gf.solve_flow(objective, start, horizon=0.08, record=[0.04], observe=["product"])
        wanted, there = product_by_dopri8(
            objective, start, jnp.asarray(0.08), jnp.asarray(1e-13), 10_000
        )
        assert there
        error = np.linalg.norm(flow["product"][-1] - wanted) / np.linalg.norm(wanted)
        assert error < 100e-8
