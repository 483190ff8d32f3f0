"""Arora et al. 2019, (8), N = 1, one singular value: dU/dt = -(I - U U^T) grad V (S^2)^(-1/2)."""

from fractions import Fraction

import numpy as np

# Loss (w_1 + 1)^2 / 2 + (w_2 + 1)^2 from W(0) = (1, 3): the flow is W = x p with p = (1, x + 2)
# and dx/dt = -(x + 1). So u = p / |p|, v = 1, sigma = x |p|, which changes its sign with x.
x = Fraction(-1, 2)
p, dx = np.array([1, x + 2]), -(x + 1)
gradient = np.array([x + 1, 2 * (x * (x + 2) + 1)])
assert all(dx * np.array([1, 2 * x + 2]) == -gradient)  # it is the flow: dW/dt = -gradient
off = np.array([[1, 0], [0, 1]]) - np.outer(p, p) / (p @ p)  # I - u u^T
true = off @ np.array([0, dx])  # |p| du/dt
printed = -off @ gradient / abs(x)  # |p| times the printed right side: (sigma^2)^(1/2) = |x| |p|
print("|p| du/dt:", *true, " by (8):", *printed)
assert any(true != printed)
assert all(true == -off @ gradient / x)  # corrected: S^(-1) (S^2)^(1 - 1/N)
