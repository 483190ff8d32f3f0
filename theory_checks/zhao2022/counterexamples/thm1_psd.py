"""Zhao 2022, Theorem 1: P = sum ((W W^T)^((j-1)/N) kron (W^T W)^((N-j)/N)) G_j has x^T P x >= 0."""

from fractions import Fraction

import numpy as np

# N = 2, W_1 = W_2 = X symmetric, so W = X^2 is its own (W W^T)^(1/2); gradient L. Full batches.
X, one = np.array([[1, 1], [1, 2]]) * Fraction(1), np.eye(2, dtype=int)
L = np.array([[1, -2], [-2, 3]])
W, x = X @ X, L.flatten("F")
G1, G2 = (np.diag(1 / abs(y.flatten("F"))) for y in (X @ L, L @ X))
P = np.kron(one, W) @ G1 + np.kron(W, one) @ G2
print("vec(L)^T P vec(L) =", x @ P @ x, "so that the loss would rise")
assert x @ P @ x < 0
K1, K2 = np.kron(one, X), np.kron(X, one)
assert x @ (K1 @ G1 @ K1.T + K2 @ G2 @ K2.T) @ x > 0  # corrected: G_j in the middle
