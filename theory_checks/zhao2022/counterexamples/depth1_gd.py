"""Zhao 2022, Section 3.4, N = 1: gradient descent ends at the solution of least Frobenius norm."""

from fractions import Fraction

# 1x2, w_11 = 1 is observed, loss (w_11 - 1)^2, rate 1/4, from W(0) = (1/2, 1/2).
first, second = start = (Fraction(1, 2), Fraction(1, 2))
for _ in range(60):
    first, second = first - Fraction(1, 4) * 2 * (first - 1), second - Fraction(1, 4) * 0
print(f"after 60 steps W = ({float(first)}, {second}); the solution of least norm is (1, 0)")
assert abs(first - 1) < Fraction(1, 10**18)  # it has converged
assert first**2 + second**2 > 1**2 + 0**2  # and not to the least norm
assert second == start[1]  # corrected: it is the solution nearest to the start
