"""Zhao 2022, (12): grad of ||W||_* / ||W||_F is (U V^T - ||W||_* / ||W||_F W) / ||W||_F^2."""

import numpy as np


def norms(w):
    """The nuclear and the Frobenius norm of a 1x1 matrix."""
    return np.linalg.norm([[w]], "nuc"), np.linalg.norm([[w]])


# 1x1, W = 2, U = V = 1.
w, step = 2.0, 0.25
above, below = (n / F for n, F in (norms(w + step), norms(w - step)))
true = (above - below) / (2 * step)
n, F = norms(w)
printed = (1 - n / F * w) / F**2
print(f"the gradient is {true}, by (12) it is {printed}")
assert true != printed
assert true == (1 - n / F**2 * w) / F  # corrected
