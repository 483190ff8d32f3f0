"""A flow whose numbers may be wrong says so, in its trajectory."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf

pytestmark = pytest.mark.filterwarnings("ignore:In this flow")


def blowup_flow(shape, coordinates, **asked):
    problem = gf.synthetic.norm_blowup(shape=shape)
    model = gf.MatrixProduct.of(shape, 2)
    start = model.random_balanced(jax.random.key(4), 0.1)
    asked = {"observe": ("det_sign",), **asked}
    return gf.solve_flow(gf.Objective(problem, model), start, coordinates=coordinates, **asked)


def test_a_determinant_that_changes_its_sign_is_told():
    flow = blowup_flow((3, 3), "factors", horizon=80.0)
    assert len(np.unique(flow["det_sign"])) == 2
    (warning,) = flow.warnings
    assert "changed its sign" in warning and "coordinates='ldu'" in warning
    assert warning in repr(flow)


def test_a_product_that_loses_its_smallest_singular_value_is_told():
    flow = blowup_flow((3, 3), "product", horizon=80.0)
    (warning,) = flow.warnings
    assert "coordinates='ldu'" in warning


def test_structural_coordinates_have_nothing_to_tell():
    flow = blowup_flow((3, 3), "auto", horizon=80.0)
    assert flow.stats["coordinates"] == "ldu" and flow.warnings == ()
    assert len(np.unique(flow["det_sign"])) == 1


def test_a_python_warning_is_given_too():
    with pytest.warns(RuntimeWarning, match="changed its sign"):
        blowup_flow((3, 3), "factors", horizon=80.0)


def test_warnings_are_stored_with_the_trajectory(tmp_path):
    flow = blowup_flow((3, 3), "factors", horizon=80.0)
    assert gf.Trajectory.load(flow.save(tmp_path / "flow.nc")).warnings == flow.warnings


def test_a_picture_names_the_runs_in_doubt():
    runs = {"factors": blowup_flow((3, 3), "factors", horizon=80.0)}
    runs["auto"] = blowup_flow((3, 3), "auto", horizon=80.0)
    ax = gf.plotting.plot_loss(runs)
    assert [line.get_label() for line in ax.lines] == ["factors, with warnings", "auto"]
    (again,) = gf.plotting.plot_loss(runs["factors"].to_xarray()).lines
    assert again.get_label() == "with warnings"


def test_growth_beyond_what_steps_pay_for_is_told_in_full():
    # At depth 3 errors in the rise grow like (goal / size)^(1/3): from 1e-30, 1e10 times.
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2, 2)))
    flow = gf.solve_flow(objective, 1e-30 * np.eye(2), stop_loss=0.1)
    grown = float(re.search("errors grow (.*?) times", flow.warnings[0]).group(1))
    assert 1e9 < grown < 1e11
    assert "what rises after" not in flow.warnings[0]


def test_what_rises_from_a_plateau_of_1e14_time_scales_is_in_doubt():
    # From 1e-45 at depth 3: beside the first singular value the second one waits as long again.
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2, 2)))
    flow = gf.solve_flow(objective, 1e-45 * np.eye(2), stop_loss=0.1)
    assert "what rises after other singular values" in flow.warnings[0]


def test_a_small_singular_value_that_the_coordinates_lose_is_told():
    # Fully observed: each singular value rises by itself, and the last one is far behind.
    shape = (3, 3)
    problem = gf.MatrixCompletion(shape, list(np.ndindex(shape)), np.diag([3.0, 2, 1]).ravel())
    objective = gf.Objective(problem, gf.MatrixProduct.of(shape, 2))
    start = objective.factorization.identity(1e-16)
    lost = gf.solve_flow(objective, start, coordinates="factors", horizon=14.0)
    assert any("smallest singular value" in warning for warning in lost.warnings)
    kept = gf.solve_flow(objective, start, horizon=14.0, observe=["singular_values"])
    assert kept.warnings == () and kept.stats["coordinates"] == "ldu"
    # d log s/dt = 2 (b - s): logistic curves, with the half-sum loss.
    b = np.array([3.0, 2, 1])
    exact = b / (1 + (b / 1e-16 - 1) * np.exp(-2 * b * 14.0))
    np.testing.assert_allclose(kept["singular_values"][-1], exact, rtol=1e-7)


def completion_flow(stop_loss, depth=2, coordinates="factors", **asked):
    problem = gf.synthetic.matrix_completion(jax.random.key(1), (8, 6), 1, 30)
    objective = gf.Objective(problem, gf.MatrixProduct.of((8, 6), depth))
    start = objective.factorization.random_balanced(jax.random.key(2), 1e-2)
    return gf.solve_flow(
        objective, start, stop_loss=stop_loss, coordinates=coordinates, max_steps=3000, **asked
    )


@pytest.mark.parametrize("coordinates", ["factors", "product"])
def test_a_stop_near_round_off_is_reached_as_nearly_as_can_be(coordinates):
    flow = completion_flow(1e-20, coordinates=coordinates)
    assert flow.outcome is gf.Outcome.REACHED_LOSS
    assert flow["loss"][-1] == pytest.approx(1e-20, rel=1e-5)


def test_a_stop_below_round_off_ends_for_want_of_progress():
    flow = completion_flow(1e-34)
    assert flow.outcome is gf.Outcome.STALLED and flow.stats["steps"] < 3000
    assert any("loss" in warning for warning in flow.warnings)


def minus_squares(w):
    return -jnp.sum(w**2)


def lowered(w):
    """A loss that is negative, and has a lower bound."""
    return jnp.sum((w - jnp.eye(2)) ** 2) - 1e9


@pytest.mark.parametrize(
    ("depth", "coordinates"), [(1, "factors"), (2, "ldu"), (2, "product"), (3, "factors")]
)
def test_a_loss_without_a_lower_bound_is_told_of(depth, coordinates):
    """From W = I/4 at depth 2, ds/dt = 4 s^2 and s = 1/(4 - 4t): at t = 1 there is none."""
    problem = gf.problems.LossFunction((2, 2), minus_squares)
    objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), depth))
    start = objective.factorization.balanced(np.eye(2) / 4)
    flow = gf.solve_flow(objective, start, coordinates=coordinates, stop_gradient=1e-9)
    assert flow.outcome is gf.Outcome.STEP_TOO_SMALL
    (sentence,) = [each for each in flow.warnings if "lower bound" in each]
    assert "fell from -1.2e-01 to -" in sentence and "earlier horizon" in sentence
    if depth == 2:
        assert flow.stats["end"] == pytest.approx(1.0, rel=1e-6) and "near t = 1;" in sentence


def test_a_negative_loss_is_no_doubt_in_itself():
    for function, asked in ((minus_squares, {"horizon": 0.4}), (lowered, {"stop_gradient": 1e-6})):
        objective = gf.Objective(
            gf.problems.LossFunction((2, 2), function), gf.MatrixProduct((2, 2, 2))
        )
        flow = gf.solve_flow(objective, objective.factorization.identity(0.5), **asked)
        assert flow["loss"][-1] < 0 and flow.warnings == ()


def test_steps_that_may_not_see_a_jump_of_the_second_derivatives_say_so():
    cells = [(i, j) for i in range(2) for j in range(2)]
    problem = gf.problems.HuberCompletion((2, 2), cells, [3.0, 0.5, -0.5, 2.0])
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
    start = np.array([[0.5, 0.1], [0.0, 0.4]])
    auto, named = (
        gf.solve_flow(objective, start, horizon=2.0, coordinates=coordinates)
        for coordinates in ("auto", "ldu")
    )
    assert auto.stats["coordinates"] == "factors" and not auto.warnings
    assert any("second derivatives jump" in warning for warning in named.warnings)
