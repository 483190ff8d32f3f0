"""The test run checks annotations at every call (conftest.py); nobody loses that unseen."""

import os
import sys

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

import gradflow as gf
from gradflow._util.annotations import Checked
from gradflow.claims.registry import load_papers
from gradflow.sweeps.registry import find

pytestmark = pytest.mark.skipif(
    os.environ.get("JAXTYPING_DISABLE", "0") in ("1", "true"), reason="checks are switched off"
)
PACKAGES = ("gradflow", "theory_checks", "experiments")


def test_a_wrong_shape_and_a_wrong_type_are_refused():
    with pytest.raises(TypeCheckError, match=r"parameter 'w'"):
        gf.linalg.singular_values(jnp.ones(3))
    with pytest.raises(TypeCheckError, match=r"parameter 'tensor_shape'|parameter 'factors'"):
        gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2))).loss("two")


def test_every_module_is_checked():
    load_papers()
    find("razin2020.fig1")
    unseen = [
        name
        for name, module in sys.modules.items()
        if name.partition(".")[0] in PACKAGES
        and any(getattr(value, "__module__", None) == name for value in vars(module).values())
        and not hasattr(module, "jaxtyping")  # which the hook imports into what it instruments
    ]
    assert unseen == []


def test_what_a_function_checks_itself_is_left_to_it():
    assert Checked[float] is not float
    with pytest.raises(ValueError, match="'much'"):
        gf.NuclearNorm("much")
