import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.claims.oracles import taylor

W = np.array([[0.1, 0.03], [-0.02, 0.08]])


def test_depth_1_is_the_exponential():
    # At depth 1 each observed entry obeys dw/dt = b - w; the unobserved one stays.
    problem = gf.synthetic.norm_blowup()
    found = taylor.follow(problem, W, 1, 0.1)
    with mpmath.workprec(taylor.BITS):
        decay = mpmath.exp(-found.time)
        for i, j, b in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
            exact = b + (mpmath.mpf(W[i, j]) - b) * decay
            # The series is cut at 2^-120, some steps long.
            assert abs(found.product[i, j] - exact) < mpmath.mpf(2) ** -110
        assert found.product[0, 0] == mpmath.mpf(W[0, 0])


@pytest.mark.parametrize("depth", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4))])
def test_the_structural_chart_follows_it(depth):
    problem = gf.synthetic.norm_blowup()
    found = taylor.follow(problem, W, depth, 0.02)
    flow = gf.solve_flow(
        gf.Objective(problem, gf.MatrixProduct.of((2, 2), depth)), W, coordinates="logdet",
        horizon=float(found.time), rtol=1e-10, observe=("loss", "log_abs_det", "product"),
    )  # fmt: skip
    # 1e-9: the tolerance times the growth of errors; the chart agrees to about 1e-13.
    assert flow["loss"][-1] == pytest.approx(float(found.loss), rel=1e-9)
    assert flow["log_abs_det"][-1] == pytest.approx(float(mpmath.log(found.det)), rel=1e-9)
    exact = [[float(found.product[i, j]) for j in (0, 1)] for i in (0, 1)]
    np.testing.assert_allclose(flow["product"][-1], exact, rtol=1e-9)
