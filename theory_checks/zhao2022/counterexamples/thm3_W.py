"""Zhao 2022, (9) at N = 1: vec(dW/dt) = -G vec(L + lambda (U V^T - n / F W) / F^2)."""

from fractions import Fraction

import numpy as np

# W = diag(4, 3), L = ((0, 1), (1, 0)), lambda = 1; n and F are the nuclear and the Frobenius
# norm. Full batches: Adam moves by -g / |g| with the gradient g of loss and penalty n / F.
W, L, one = np.diag([4, 3]), np.array([[0, 1], [1, 0]]), np.eye(2, dtype=int)
n, F = 7, Fraction(5)
g = L + (one - n / F**2 * W) / F
true = -g / abs(g)
printed = -(L + (one - n / F * W) / F**2) / abs(g)
print("dW/dt =", *true.ravel(), " as printed:", *printed.ravel())
assert true[1, 1] * printed[1, 1] < 0  # even a sign, whatever positive G scales the gradient
eps = Fraction(1, 10**6)  # corrected is the gradient: it predicts the change of n / F
change = (n + eps) / np.sqrt(float((4 + eps) ** 2 + 9)) - n / 5
assert abs(float(change / eps - (g - L)[0, 0])) < 1e-6
