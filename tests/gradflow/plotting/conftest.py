"""Runs that several tests here look at."""

import numpy as np
import pytest

import gradflow as gf


@pytest.fixture(scope="module")
def objective():
    return gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))


@pytest.fixture(scope="module")
def flow(objective):
    return gf.solve_flow(objective, 0.1 * np.eye(2), coordinates="logdet", stop_loss=1e-3)
