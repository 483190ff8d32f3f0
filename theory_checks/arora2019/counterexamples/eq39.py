"""Arora et al. 2019, (39): H . G = F, F_rr' = 1 / ((sigma_r^2)^(1/N) - (sigma_r'^2)^(1/N))."""

from fractions import Fraction

# N = 2, sigma = (2, 1), the entry r = 1, r' = 2.
first, second = 2, 1
H = Fraction(1, second**2 - first**2)
G = second + first  # sum over j of (sigma_r^2)^((j-1)/N) (sigma_r'^2)^((N-j)/N)
printed = Fraction(1, first - second)
print(f"H G = {H * G}, F as printed = {printed}")
assert printed != H * G
assert Fraction(1, second - first) == H * G  # corrected: the terms exchanged
