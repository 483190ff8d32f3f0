"""Zhao 2022, (8) at N = 1, loss 0: dW/dt = -lambda (U V^T - n / F W) / F^2."""

import numpy as np


def norms(w):
    """The nuclear norm n and the Frobenius norm F of a 1x1 matrix."""
    return np.linalg.norm([[w]], "nuc"), np.linalg.norm([[w]])


# 1x1, W = 2, U = V = 1, lambda = 1: as the loss vanishes, W moves down the slope of n / F alone.
w, step = 2.0, 0.25
above, below = (n / F for n, F in (norms(w + step), norms(w - step)))
true = (below - above) / (2 * step)
n, F = norms(w)
printed = -(1 - n / F * w) / F**2
print(f"dW/dt = {true}, by (8) it is {printed}")
assert true != printed
assert true == -(1 - n / F**2 * w) / F  # corrected
