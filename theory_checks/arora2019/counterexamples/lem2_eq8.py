"""Arora et al. 2019, (8), N = 1, one singular value: dU/dt = -(I - U U^T) grad V (S^2)^(-1/2)."""

from fractions import Fraction

import numpy as np

# Loss (w_1 + 1)^2 / 2 + (w_2 + 1)^2 from W(0) = (1, 3): the flow is W = x p with p = (1, x + 2)
# and dx/dt = -(x + 1). So u = p / |p|, v = 1, sigma = x |p|, which changes its sign with x.
x = Fraction(-1, 2)
p, dx = np.array([1, x + 2]), -(x + 1)
gradient = [x + 1, 2 * (x * (x + 2) + 1)]
assert [dx, dx * (2 * x + 2)] == [-g for g in gradient]  # it is the flow: dW/dt = -gradient
off = np.array([[1, 0], [0, 1]]) - p[:, None] * p / (p @ p)  # I - u u^T
true = off @ np.array([0, dx])  # |p| du/dt
printed = -off @ np.array([g / abs(x) for g in gradient])  # times |p|: (sigma^2)^(1/2) = |x| |p|
print("|p| du/dt:", *true, " by (8):", *printed)
assert any(true != printed)
assert all(true == -off @ np.array([g / x for g in gradient]))  # corrected: S^(-1) (S^2)^(1 - 1/N)
