"""Zhao 2022, before (18): vec(A L B) . vec(S) = (B^T kron A) (vec(L) . vec(S))."""

from fractions import Fraction

import numpy as np


def vec(x):
    """Column-major, as the paper has it."""
    return np.asarray(x).flatten("F")


A, L, B = np.array([[1]]), np.array([[1, 0]]), np.array([[0, 1], [1, 0]])
S = np.array([[Fraction(1), Fraction(3, 5)]])
g, s = A @ L @ B, np.array([[Fraction(1), Fraction(4, 3)]])
assert np.all(S**2 * (g**2 + s**2) == 1)  # S = (g^2 + s^2)^(-1/2)
K = np.kron(B.T, A)
left, printed = vec(A @ L @ B) * vec(S), K @ (vec(L) * vec(S))
print("left side:", *left, " right side:", *printed)
assert any(left != printed)
assert all(left == vec(S) * (K @ vec(L)))  # corrected: diag(vec S) to the left of K
