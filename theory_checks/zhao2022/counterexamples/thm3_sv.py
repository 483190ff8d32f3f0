"""Zhao 2022, (9), N = 1: d sigma_i/dt = -vec(v u^T)^T G vec(L + lambda (U V^T - n / F W) / F^2)."""

from fractions import Fraction

import numpy as np

# W = diag(4, 3) with U = V = I, L = ((0, 1), (1, 0)), lambda = 1; n and F are the nuclear and the
# Frobenius norm. Full batches: Adam moves by -g / |g|, g the gradient of loss and penalty n / F.
W, L, one = np.diag([4, 3]), np.array([[0, 1], [1, 0]]), np.eye(2, dtype=int)
n, F = 7, Fraction(5)
g = L + (one - n / F**2 * W) / F
true = -np.diag(g / abs(g))  # u_i^T (dW/dt) v_i
printed = -np.diag((L + (one - n / F * W) / F**2) / abs(g))
print("d sigma/dt =", *true, " as printed:", *printed)
assert true[1] * printed[1] < 0  # the smaller value shrinks; as printed it grows
corrected = [-(np.outer(e, e) / abs(g)).flatten("F") @ g.flatten("F") for e in one]
assert all(true == corrected)
