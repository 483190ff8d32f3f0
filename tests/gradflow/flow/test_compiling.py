"""What compiles a flow again, and what does not."""

import numpy as np
import pytest

import gradflow as gf
from tests.gradflow.flow.oracles import (
    EVERYTHING,
    GENERIC,
    SCALED,
    TRACED,
    blowup_objective,
    traced_product,
)


@pytest.mark.parametrize(("coordinates", "records"), [("factors", 288), ("logdet", 240)])
def test_other_data_times_and_tolerances_do_not_compile_again(coordinates, records):
    """With stops of the same kinds and as many records, which by default is always so.

    Where times are given beside a stop, the horizon is one record more.
    """

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
        run((1.0, 1.0, 0.0), SCALED, **stops, record=np.linspace(0.01, 0.9, records - 1)),
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
