"""Zhao 2022, after (27): at N = 1 P_WG is the identity."""

from fractions import Fraction

# 1x1, gradient g = 3, deviation s = 4. At N = 1 the model moves W by -g / sqrt(g^2 + s^2).
g, s, root = 3, 4, 5
assert root**2 == g**2 + s**2
motion = -Fraction(g, root)
print(f"dW/dt = {motion}, with P_WG = 1 it is {-1 * g}")
assert motion != -1 * g
G = Fraction(1, root)
assert motion == -G * g  # corrected: P_WG = G = (g^2 + s^2)^(-1/2)
