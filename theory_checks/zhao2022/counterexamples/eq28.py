"""Zhao 2022, (28), N = 1: d sigma_r/dt = ... - lambda / F^2 (1 - n / F) sqrt(sigma_r)."""

from fractions import Fraction

# n and F are the nuclear and the Frobenius norm. W = diag(144, 225, 400), lambda = 1, and the
# loss is 0: only the penalty R = n / F moves the values, d sigma_r/dt = -dR/d sigma_r.
roots = (12, 15, 20)
values = [root**2 for root in roots]
n, F = sum(values), Fraction(481)
assert sum(s**2 for s in values) == F**2
rates = []
for s, root in zip(values, roots, strict=True):
    true = -(1 - n * s / F**2) / F  # by dn = 1 and dF = s / F: the corrected form
    printed = -(1 - n / F) / F**2 * root
    print(f"sigma = {s}: rate {float(true):.2e}, by (28) {float(printed):.2e}")
    assert true != printed
    rates.append((true, printed))
assert rates[0][0] < 0 < rates[0][1]  # the smallest value shrinks; as printed it grows
