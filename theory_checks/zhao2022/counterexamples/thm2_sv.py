"""Zhao 2022, (7): d sigma_r/dt = ... - lambda N / F^2 (1 - n / F) sigma_r^((3N-2)/2)."""

from fractions import Fraction

# n and F are the nuclear and the Frobenius norm. W = diag(4, 3), N = 2, lambda = 1, and the loss
# is 0: only the penalty R = n / F moves the values.
values, N = (Fraction(4), Fraction(3)), 2
n, F = sum(values), Fraction(5)
assert sum(s**2 for s in values) == F**2
for s in values:
    slope = (1 - n * s / F**2) / F  # dR/d sigma_r: dn = 1 and dF = s / F
    true = -N * s * slope  # sigma^(2 - 2/N) = sigma: W_1 = W_2 = sqrt(W) move by -sqrt(s) slope
    printed = -N / F**2 * (1 - n / F) * s ** ((3 * N - 2) // 2)
    print(f"sigma = {s}: rate {true}, by (7) {printed}")
    assert true != printed
    assert true == -N / F * s * (1 - n / F**2 * s)  # corrected
assert true < 0 < printed  # the smaller value shrinks; as printed it grows
