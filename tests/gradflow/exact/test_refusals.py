"""What closed forms refuse, and with what words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import gradflow as gf
from gradflow import exact
from tests.gradflow.exact.flows import all_entries


def test_misuse_names_the_value_and_the_remedy():
    blowup = gf.norm_blowup()
    two = gf.MatrixProduct((2, 2, 2))
    target = np.array([[1.0, 0.2], [0.2, 2.0]])
    objective, eye = gf.Objective(all_entries(target), two), gf.identity_factors((2, 2, 2), 0.1)
    line = gf.LeastSquares([[1.0, 0.0]], [1.0])
    sensing = gf.Objective(gf.MatrixSensing([[[1.0, 2.0], [0.0, 1.0]]], [1.0]), two)
    apart = gf.Objective(gf.MatrixSensing([np.diag([1.0, 0.0])], [-1.0]), two)
    tail = exact.norm_blowup_tail(blowup, [1e3])
    penalised = gf.Objective(objective.problem, two, gf.NuclearNorm(0.1))
    cases: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
        (exact.least_squares_flow, (blowup, eye[0], [1.0]), "not a MatrixCompletion"),
        (exact.least_squares_flow, (line, np.zeros(3), [1.0]), r"shape \(3,\)"),
        (exact.least_squares_flow, (line, np.zeros(2, np.float32), [1.0]), "float32|differ"),
        (exact.least_squares_flow, (line, np.zeros(2), [-1.0]), r"from 0 on.*\[-1.0\]"),
        (exact.least_squares_flow, (line, np.zeros(2), [2.0, 1.0]), "rising"),
        (exact.least_squares_flow, (line, np.zeros(2), [np.nan]), "rising"),
        (exact.aligned_flow, (gf.Objective(blowup, two), eye, [1.0]), "1 of 4 are not"),
        (exact.aligned_flow, (sensing, eye, [1.0]), "not MatrixSensing"),
        (exact.aligned_flow, (objective, np.diag([0.1, 0.2]), [1.0]), "not aligned"),
        (exact.aligned_flow, (objective, (eye[0], 2 * eye[1]), [1.0]), "not balanced"),
        (exact.aligned_flow, (objective, eye, [-0.5, 1.0]), "from 0 on"),
        (exact.aligned_flow, (penalised, eye, [1.0]), "NuclearNorm"),
        (partial(exact.aligned_flow, observe=("factors",)), (objective, eye, [1.0]), "factors"),
        (exact.commuting_flow, (objective, eye, [1.0]), "MatrixSensing"),
        (exact.commuting_flow, (sensing, eye, [1.0]), "share their singular vectors"),
        (exact.commuting_flow, (apart, eye, [1.0, np.inf]), "leave np.inf out"),
        (exact.norm_blowup_tail, (blowup, [1.0]), "rising numbers from 105"),
        (exact.norm_blowup_tail, (blowup, [1e3, np.inf]), "finite"),
        (exact.norm_blowup_tail, (gf.norm_blowup(1.0, 2.0), [1e3]), "z_prime = 2"),
        (exact.norm_blowup_tail, (objective.problem, [1e3]), "0 entries are unobserved"),
        (exact.norm_blowup_shifts, (blowup, tail), "log_abs_det"),
        (exact.singular_value_flow, (-1.0, 0.1, 1.0, 2), "hold -1"),
        (exact.singular_value_flow, (1.0, -0.1, 1.0, 2), "-0.1"),
        (exact.singular_value_flow, (1.0, 0.1, 1.0, 0), "depth"),
        (exact.constant_gradient_flow, (1.0, 0.0, 1.0, 2), "above 0 at depth 2"),
        (exact.time_to_share, (0.1, 0.5, 1.0, 2), "never has the share 0.1"),
        (exact.time_to_share, (1.0, 0.5, 1.0, 2), "never has the share 1 "),
        (exact.time_to_share, (0.5, 0.0, 1.0, 3), "not 0 if depth"),
        (exact.time_to_share, (0.5, 0.1, -1.0, 3), "target must be above 0"),
    ]
    for call, arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            call(*arguments)
