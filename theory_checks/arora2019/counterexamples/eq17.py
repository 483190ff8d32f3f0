"""Arora et al. 2019, Equation (17): I - A^+(nu) = alpha^(-N) W^(-(N-2)/N) in the limit."""

from fractions import Fraction

# 1x1, one measurement A = 1 with y = 1/8, alpha = 1/2, N = 3.
alpha, y, N = Fraction(1, 2), Fraction(1, 8), 3
W = alpha**N  # the start; it fits, so the flow stands still and nu = 0
assert y == W
root = Fraction(1, 2)  # W^((N-2)/N)
assert root**N == W ** (N - 2)
left = 1 - 0
right = alpha**-N / root
print(f"(17): left side {left}, right side {right}")
assert left != right
assert left == alpha ** (N - 2) / root  # corrected: alpha^(N-2)
