"""Arora et al. 2019, Lemma 2, Equation (9): the last term of dV/dt has grad^T U^T."""

from fractions import Fraction

import numpy as np

# N = 2, W = U diag(4, 1) V^T, 2x3, with balanced W_1 = diag(2, 1) V^T and W_2 = U diag(2, 1).
U = np.array([[3, -4], [4, 3]]) * Fraction(1, 5)
V, root, S = np.eye(3, 2, dtype=int), np.diag([2, 1]), np.array([4, 1])
G = np.array([[0, 0, 1], [0, 0, 0]])  # the gradient
W1, W2 = root @ V.T, U @ root
assert np.all(W2.T @ W2 == W1 @ W1.T)
dW = -(W2 @ W2.T @ G + G @ W1.T @ W1)  # by the chain rule
# The third row of V is 0, so W^T = V S U^T moves there by (dV/dt) S U^T alone.
true = (dW.T @ U)[2] / S
last = (np.eye(3, dtype=int) - V @ V.T) @ G.T  # (S^2)^(1/2 - 1/N) is the identity
print("third row of dV/dt:", *true, " by (9):", *-(last @ U.T)[2])
assert any(true != -(last @ U.T)[2])
assert all(true == -(last @ U)[2])  # corrected: U for U^T
# With U for U^T the sign is missing still. N = 1, W a row, the flow W = x p with p = (1, x + 2) and
# dx/dt = -(x + 1), as for (8): v = p / |p|, u = 1, sigma = x |p|. At x = -1/2:
p, dv = np.array([2, 3]) * Fraction(1, 2), np.array([0, Fraction(-1, 2)])  # |p| dv/dt, up to p
off = np.eye(2, dtype=int) - p[:, None] * p / (p @ p)
gradient = np.array([1, 1]) * Fraction(1, 2)
assert any(off @ dv != -off @ gradient / abs(Fraction(-1, 2)))  # (sigma^2)^(1/2) = |x| |p|
assert all(off @ dv == -off @ gradient / Fraction(-1, 2))  # corrected: S^(-1) (S^2)^(1 - 1/N)
