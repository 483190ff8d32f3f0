"""Arora et al. 2019, after (11): as sigma_2 grows sigma_1 stays finite, lower for larger N."""

from fractions import Fraction

# (11): sigma_1^(-q) = alpha sigma_2^(-q) + const with q = (N-2)/N; const is set by the values at
# t_0. Here alpha = 1/2.
alpha = Fraction(1, 2)
const = Fraction(1, 3) - alpha  # N = 4, q = 1/2, from (9, 1): 9^(-1/2) = 1/3
for root in (Fraction(3, 8), Fraction(334, 1000), Fraction(333334, 10**6)):  # sigma_2^(-1/2)
    second, first = 1 / root**2, 1 / (alpha * root + const) ** 2
    print(f"N = 4 from (9, 1): sigma_2 = {float(second):.6f}, sigma_1 = {float(first):.6g}")
assert const < 0 and first > 10**12  # no finite limit: sigma_1 escapes at sigma_2 = 9
base = Fraction(5, 6)  # from ((6/5)^6, 1): sigma_1^(-1/3) = base^2, sigma_1^(-1/2) = base^3
three, four = 1 / (base**2 - alpha) ** 3, 1 / (base**3 - alpha) ** 2
print(f"limit from ((6/5)^6, 1): {float(three):.4f} for N = 3, {float(four):.4f} for N = 4")
assert three < four
assert 1 / (1 - alpha) ** 3 > 1 / (1 - alpha) ** 2  # corrected: from (1, 1) the order is right
