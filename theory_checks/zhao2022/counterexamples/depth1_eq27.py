"""Zhao 2022, after (27): at N = 1 P_WG is the identity."""

from fractions import Fraction

# 1x1, gradient g = 3, deviation s = 4. Theorem 1 at N = 1: P_WG = G = (g^2 + s^2)^(-1/2).
g, s, root = 3, 4, 5
assert root**2 == g**2 + s**2
P = Fraction(1, root)
print(f"P_WG = {P}, as printed 1")
assert P != 1
assert -P * g == -Fraction(g, root)  # corrected: with G it is the motion -g / sqrt(g^2 + s^2)
