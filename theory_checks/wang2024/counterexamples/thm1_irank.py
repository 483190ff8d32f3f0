"""Wang and Basu Roy Chowdhury 2024, (13): det W(0) > 0 gives D(W, M_1) <= c_2 sqrt(loss)."""

from fractions import Fraction

import numpy as np

# Depth 1 from W(0) = I, det 1: with e = e^(-t) the flow is W = ((1, 1 - e), (1 - e, e)), for
# any c_2. The distance from rank one is s_2 = |det W| / s_1, at least |det W| / ||W||_F.
for c2 in (5, 1000, 10**9):
    e = Fraction(1, 10 * c2)
    W = np.array([[1, 1 - e], [1 - e, e]])
    gradient = np.array([[0, W[0, 1] - 1], [W[1, 0] - 1, W[1, 1]]])
    assert np.all(np.array([[0, e], [e, -e]]) == -gradient)  # dW/dt, by de/dt = -e
    det = W[0, 0] * W[1, 1] - W[0, 1] * W[1, 0]
    distance2, bound2 = det**2 / np.sum(W**2), c2**2 * np.sum(gradient**2) / 2
    print(f"c_2 = {c2}: D^2 >= {float(distance2):.4f}, bound squared {float(bound2):.4f}")
    assert distance2 > bound2
