"""Zhao 2022, A.4.2: m_t = (1 - beta) m_(t-1) + beta g, divided by 1 - beta^t, is Adam's mean."""

from fractions import Fraction

beta, g = Fraction(4, 5), 1  # a constant gradient, the first step from m_0 = 0
printed = ((1 - beta) * 0 + beta * g) / (1 - beta**1)
adam = (beta * 0 + (1 - beta) * g) / (1 - beta**1)
print(f"a mean of the gradient 1 is {adam}, as printed {printed}")
assert adam == g  # corrected
assert printed != g
