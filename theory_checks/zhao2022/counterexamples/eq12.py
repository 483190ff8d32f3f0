"""Zhao 2022, (12): grad of ||W||_* / ||W||_F is (U V^T - ||W||_* / ||W||_F W) / ||W||_F^2."""

from fractions import Fraction

# 1x1, W = 2: both norms are |w|, so the ratio is 1 for every w > 0 and its gradient is 0.
w = Fraction(2)
nuclear = frobenius = w
assert abs(w + 1) / abs(w + 1) == nuclear / frobenius  # elsewhere, too
printed = (1 - nuclear / frobenius * w) / frobenius**2
print(f"the gradient is 0, by (12) it is {printed}")
assert printed != 0
assert (1 - nuclear / frobenius**2 * w) / frobenius == 0  # corrected
