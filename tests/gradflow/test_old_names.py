"""Names of version 0.1 work with a warning that names the new one, or say what to do."""

import warnings

import numpy as np
import pytest

import gradflow as gf

PROBLEM = gf.synthetic.norm_blowup()
OBJECTIVE = gf.Objective(PROBLEM, gf.MatrixProduct((2, 2, 2)))
START = OBJECTIVE.factorization.identity(0.3)


@pytest.mark.parametrize("name", sorted(gf._OLD))
def test_an_old_name_is_what_the_warning_says(name):
    with pytest.warns(DeprecationWarning, match=f"gradflow.{name} is now gradflow") as caught:
        found = getattr(gf, name)
    where = str(caught[0].message).split(" is now gradflow.")[1]
    wanted = gf
    for part in where.split("."):
        wanted = getattr(wanted, part)
    assert found is wanted
    assert name not in dir(gf)


def test_old_keywords_are_the_new_ones():
    with pytest.warns(DeprecationWarning, match="times=.* is now record="):
        old = gf.solve_flow(OBJECTIVE, START, times=[1.0, 2.0])
    new = gf.solve_flow(OBJECTIVE, START, record=[1.0, 2.0])
    np.testing.assert_array_equal(old["loss"], new["loss"])
    with pytest.warns(DeprecationWarning, match="steps=.* is now max_steps="):
        gf.run_descent(OBJECTIVE, START, gf.optimizers.gd, steps=3, learning_rate=0.1)
    with pytest.warns(DeprecationWarning, match="learning_rates=.* is now learning_rate="):
        gf.run_descents(OBJECTIVE, [START], gf.optimizers.gd, max_steps=3, learning_rates=[0.1])
    with pytest.raises(TypeError, match="both 'steps' and 'max_steps'"):
        gf.run_descent(OBJECTIVE, START, gf.optimizers.gd, steps=3, max_steps=3, learning_rate=0.1)
    with pytest.raises(TypeError, match="no option 'stop_los'; did you mean 'stop_loss'"):
        gf.solve_flow(OBJECTIVE, START, stop_los=0.1)


def test_adams_model_as_coordinates():
    with pytest.warns(DeprecationWarning, match="adam_chart"):
        adam = gf.adam_chart(OBJECTIVE, START, smoothing=0.1)
    with pytest.warns(DeprecationWarning, match="dynamics=gradflow.AdamFlow"):
        old = gf.solve_flow(OBJECTIVE, START, coordinates=adam, horizon=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = gf.solve_flow(OBJECTIVE, START, dynamics=gf.AdamFlow(smoothing=0.1), horizon=0.5)
    np.testing.assert_array_equal(old["loss"], new["loss"])
    assert new.stats["coordinates"] == "factors"
