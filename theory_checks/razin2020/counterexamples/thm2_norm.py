"""Razin and Cohen 2020, (15): ||W|| >= a |z z'| / (|eps| + sqrt(2 loss)) - b at all positions."""

from fractions import Fraction

# A norm (c = 1): max(10 |w_11|, |w_12|, |w_21|, |w_22| / 10). The entry (2,2) is not observed,
# z = z' = 1 at (1,2) and (2,1), eps = 0 at (1,1).
weights = (10, 1, 1, Fraction(1, 10))  # ||e_i e_j^T||
w11, w12, w21, w22 = W = (Fraction(1, 100), 1, 1, 1010)
assert w11 * w22 - w12 * w21 > 0  # the sign that the theorem asks for
norm = max(weight * abs(w) for weight, w in zip(weights, W, strict=True))
root = abs(w11)  # sqrt(2 loss): only w_11 is off
assert root**2 == w11**2 + (w12 - 1) ** 2 + (w21 - 1) ** 2


def bound(a):
    """The right side of (15) with z = z' = 1, eps = 0, c = 1."""
    return a / root - max(a, 8 * max(weights))


print(f"||W|| = {norm}, the printed bound is {bound(weights[0])}")
assert norm < bound(weights[0])
assert norm >= bound(weights[3])  # corrected: a from the unobserved entry's own matrix
