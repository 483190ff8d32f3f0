"""Wang and Basu Roy Chowdhury 2024, (6): beta_t = e^(-tA) (integral of e^(sA) to t) z."""

from fractions import Fraction

# One unknown, X = y = 1, loss (1 - beta)^2: A = z = 2. Time by e^(-tA) = 1/4.
A, z, decay = 2, 2, Fraction(1, 4)
start = 1
assert z - A * start == 0  # the start fits, so beta_t = 1 for all t
integral = (1 / decay - 1) / A  # of e^(sA) from 0 to t
printed = decay * integral * z
print(f"beta_t = {start}, by (6) it is {printed}")
assert printed != start
assert decay * start + printed == start  # corrected: with the start's own term
