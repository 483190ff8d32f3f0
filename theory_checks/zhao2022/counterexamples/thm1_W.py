"""Zhao 2022, (6): vec(dW/dt) = -sum ((W W^T)^((j-1)/N) kron (W^T W)^((N-j)/N)) G_j vec(L)."""

from fractions import Fraction

import numpy as np

# N = 2, W_1 exchanges the axes, W_2 = I, balanced; gradient L. Full batches (s = 0): each layer
# moves by -g / |g|, and G_j = diag(vec(1 / |g_j|)).
W1, W2 = np.array([[0, 1], [1, 0]]), np.eye(2, dtype=int)
L = np.array([[4, 1], [1, 4]]) * Fraction(1)
g1, g2 = W2.T @ L, L @ W1.T
true = -(g2 / abs(g2) @ W1 + W2 @ (g1 / abs(g1)))  # dW_2 W_1 + W_2 dW_1
assert np.all(W1 @ W1.T == W2)  # W W^T = W^T W = I: both Kronecker products are the identity
printed = -(L / abs(g1) + L / abs(g2))
print("dW/dt =", *true.ravel(), " as printed:", *printed.ravel())
assert np.max(abs(true - printed)) > np.max(abs(true))  # off by more than its own size
G1, G2 = (np.diag((1 / abs(g)).flatten("F")) for g in (g1, g2))
K1, K2 = np.kron(W2, W2), np.kron(W1, W2)  # B_j^T kron A_j of the layers 1 and 2
push = (K1.T @ G1 @ K1 + K2.T @ G2 @ K2) @ L.flatten("F")
assert all(true.flatten("F") + push == 0)  # corrected: G_j in the middle
