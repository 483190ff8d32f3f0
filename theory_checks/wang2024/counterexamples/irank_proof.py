"""Wang and Basu Roy Chowdhury 2024, Section 8: for a >> b, c, d the matrix u u^T is close to A."""

from fractions import Fraction

import numpy as np


def distance2(A):
    """The squared distance of A from u u^T, u = (sqrt(a), 1 / sqrt(a))."""
    return np.sum((A - np.array([[A[0, 0], 1], [1, 1 / A[0, 0]]])) ** 2)


A = np.array([[Fraction(1000), 0], [0, 0]])
print("A = ((1000, 0), (0, 0)): squared distance", distance2(A))
assert distance2(A) > 2
# Corrected: it is close where the loss is small, as that of ((101, 1), (1, 1/100)) is.
W = np.array([[Fraction(101), 1], [1, Fraction(1, 100)]])
twice_loss = (W[0, 1] - 1) ** 2 + (W[1, 0] - 1) ** 2 + W[1, 1] ** 2
assert twice_loss <= Fraction(1, 12) and distance2(W) <= twice_loss
