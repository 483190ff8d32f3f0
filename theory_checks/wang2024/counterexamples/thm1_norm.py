"""Wang and Basu Roy Chowdhury 2024, (11): det W(0) > 0 gives ||W|| >= a / sqrt(loss) - b."""

from fractions import Fraction

import numpy as np

# Depth 1 from W(0) = I, det 1: with e = e^(-t) the flow is W = ((1, 1 - e), (1 - e, e)), for
# any a > 0 and b. Its norm stays below 2.
for a, b in ((Fraction(1), 8), (Fraction(1, 1000), 1000), (Fraction(1, 10**9), 10**9)):
    e = a / (2 * (b + 2))
    W = np.array([[1, 1 - e], [1 - e, e]])
    gradient = np.array([[0, W[0, 1] - 1], [W[1, 0] - 1, W[1, 1]]])
    assert np.all(np.array([[0, e], [e, -e]]) == -gradient)  # dW/dt, by de/dt = -e
    loss = np.sum(gradient**2) / 2
    print(f"a = {a}, b = {b}: ||W||^2 = {float(np.sum(W**2)):.6f}, loss {float(loss):.2e}")
    assert np.sum(W**2) < 2**2  # ||W|| < 2
    assert a**2 > (2 + b) ** 2 * loss  # a / sqrt(loss) - b > 2
