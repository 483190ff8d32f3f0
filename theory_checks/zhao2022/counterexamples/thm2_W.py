"""Zhao 2022, (8) at N = 1, loss 0: dW/dt = -lambda (U V^T - n / F W) / F^2."""

from fractions import Fraction

# 1x1, W = 2, lambda = 1; n and F are the nuclear and the Frobenius norm. The ratio n / F is 1
# for every W > 0, and the loss vanishes: nothing moves.
w = Fraction(2)
n = F = w
assert abs(w + 1) / abs(w + 1) == n / F  # elsewhere, too
printed = -(1 - n / F * w) / F**2
print(f"dW/dt = 0, by (8) it is {printed}")
assert printed != 0
assert -(1 - n / F**2 * w) / F == 0  # corrected
