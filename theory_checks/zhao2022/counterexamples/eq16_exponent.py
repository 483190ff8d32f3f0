"""Zhao 2022, after (16): g / sqrt(g^2 + s^2) = g S with S = (g^2 + s^2)^(-1)."""

from fractions import Fraction

g, s = 3, 4
root = 5
assert root**2 == g**2 + s**2
left, printed = Fraction(g, root), g * Fraction(1, g**2 + s**2)
print(f"left side {left}, right side {printed}")
assert left != printed
assert left == g * Fraction(1, root)  # corrected: the exponent -1/2, as in Theorem 1
