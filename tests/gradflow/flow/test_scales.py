"""Flows scale with their data, or refuse it: c W(c^(2-2/N) t) is the flow of c times all."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.coordinates.base import expected_norm, norm_of

CELLS, VALUES = [(0, 1), (1, 0), (1, 1)], np.array([1.0, 1.0, 0.3])
START = np.array([[0.3, 0.05], [0.02, 0.25]])
DEPTH, TIME = 2, 5.0


def flow_of(size, coordinates, **asked):
    problem = gf.MatrixCompletion((2, 2), CELLS, size * VALUES)
    objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), DEPTH))
    asked = {"horizon": TIME * size ** (2 / DEPTH - 2), "observe": ["product"], **asked}
    return gf.solve_flow(objective, size * START, coordinates=coordinates, **asked)


@pytest.mark.parametrize("coordinates", ["logdet", "factors"])
@pytest.mark.parametrize("size", [1e-40, 1e-6, 1e40])
def test_flows_scale(coordinates, size):
    one, other = (flow_of(scale, coordinates) for scale in (1.0, size))
    assert other.outcome is gf.Outcome.REACHED_HORIZON
    np.testing.assert_allclose(other["product"][-1] / size, one["product"][-1], rtol=1e-9)


def test_residuals_are_held_to_a_share_of_the_data():
    # Tolerances of what is held in the data's own unit would be far above all of it.
    one, other = (flow_of(size, "logdet", rtol=1e-4) for size in (1.0, 2.0**-40))
    assert one.stats["steps"] == other.stats["steps"]
    final = {name: np.asarray(value) for name, value in other.final.items()}
    seen = START[0, 1], other["product"][-1][0, 1]  # still as differences from what is observed
    assert final["neighbour_in_row"] == pytest.approx(seen[1] - 2.0**-40, rel=1e-9)


def test_a_state_in_units_is_taken_up():
    size = 2.0**-40
    first = flow_of(size, "logdet")
    objective = gf.Objective(
        gf.MatrixCompletion((2, 2), CELLS, size * VALUES), gf.MatrixProduct((2, 2, 2))
    )
    again = gf.solve_flow(objective, first.final, horizon=1e-9 / size, observe=["product"])
    np.testing.assert_allclose(again["product"][0], first["product"][-1], rtol=1e-13)


@pytest.mark.parametrize("size", [1e-100, 1e100])
def test_data_whose_powers_are_no_numbers_is_refused(size):
    with pytest.raises(ValueError, match="scale the data to a size between 1e-60 and 1e"):
        flow_of(size, "auto")


def test_norms_do_not_underflow():
    x = jnp.array([3e-200, 4e-200])
    assert float(norm_of(x)) == pytest.approx(5e-200) and float(norm_of(0 * x)) == 0
    problem = gf.MatrixCompletion((2, 2), CELLS, 1e-150 * VALUES)
    assert float(expected_norm(problem)) == pytest.approx(1e-150 * np.linalg.norm(VALUES))


@pytest.mark.parametrize("log_scale", [-1e18, 2e6])
def test_a_scale_whose_logarithm_has_no_digits_left_is_refused(log_scale):
    # -1e18 once asked for integers of 2^60 bits.
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    with pytest.raises(ValueError, match="log_scale must be between"):
        gf.solve_flow(objective, gf.LogScaled(np.eye(2), log_scale), stop_loss=0.1)
