"""What baselines refuse, and with what words."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.baselines import optspace
from gradflow.baselines.convex import minimum_nuclear_norm, soft_impute, soft_impute_path
from tests.gradflow.baselines.problems import completion
from tests.helpers import refuses

RNG = np.random.default_rng(0)


SMALL = completion(0, (4, 3), 1, 8)


DEPENDENT = gf.MatrixSensing(np.stack([np.eye(2), np.ones((2, 2)), 3 * np.eye(2)]), [1.0, 2.0, 3.0])


TENSOR = gf.TensorCompletion((2, 2, 2), [[0, 1, 0]], [3.0])


REFUSED = {
    "tensor": (lambda: minimum_nuclear_norm(TENSOR), "TensorCompletion", "or a MatrixSensing"),
    "sensing": (lambda: soft_impute(DEPENDENT, weight=1.0), "MatrixSensing", "MatrixCompletion"),
    "regression": (
        lambda: optspace(gf.LeastSquares(np.eye(2), [1.0, 2.0]), 1),
        "LeastSquares", "takes a MatrixCompletion"),
    "dependent": (lambda: minimum_nuclear_norm(DEPENDENT), "measurements[2]", "leave it out"),
    "too many": (
        lambda: minimum_nuclear_norm(gf.MatrixSensing(RNG.normal(size=(5, 2, 2)), np.ones(5))),
        "5 measurements of a matrix of 4 entries", "leave out those"),
    "rtol zero": (lambda: minimum_nuclear_norm(SMALL, rtol=0), "rtol", "above 0"),
    "rtol tiny": (lambda: optspace(SMALL, 1, rtol=1e-17), "rtol is 1e-17", "give 1e-09"),
    "rtol large": (lambda: soft_impute(SMALL, weight=1.0, rtol=1.0), "rtol is 1.0", "give 1e-09"),
    "rtol in float32": (
        lambda: minimum_nuclear_norm(gf.astype(SMALL, jnp.float32), rtol=1e-9),
        "rtol is 1e-09", "gradflow.astype"),
    "iterations": (
        lambda: minimum_nuclear_norm(SMALL, max_iterations=0), "max_iterations", "at least 1"),
    "step": (lambda: minimum_nuclear_norm(SMALL, step=-1.0), "step", "above 0"),
    "weight": (lambda: soft_impute(SMALL, weight=0), "weight", "above 0"),
    "weights": (
        lambda: soft_impute_path(SMALL, [0.1, 0.1]), "weights[1] = 0.1", "from large to small"),
    "start": (
        lambda: soft_impute(SMALL, weight=1.0, start=jnp.zeros((3, 4))), "(3, 4)", "must agree"),
    "rank": (lambda: optspace(SMALL, 4), "rank must be from 1 to 3", "it is 4"),
    "rank zero": (lambda: optspace(SMALL, 0), "rank", "at least 1"),
    "not finite": (
        lambda: minimum_nuclear_norm(gf.astype(
            gf.MatrixCompletion((2, 2), [[0, 0], [1, 0]], [1e300, 1.0]), jnp.float32)),
        "not finite", "scale them"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


def test_an_empty_path_has_no_result():
    assert soft_impute_path(SMALL, []) == ()
