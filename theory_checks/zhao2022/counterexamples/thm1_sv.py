"""Zhao 2022, (5): d sigma_i/dt = -vec(v_i u_i^T)^T P_WG vec(L), here at N = 1."""

import numpy as np

W, L = np.array([[0, 2], [1, 0]]), np.array([[1, 1], [-1, 1]])
u, v = np.array([1, 0]), np.array([0, 1])  # the singular value 2
assert all(W @ v == 2 * u) and all(W.T @ u == 2 * v)
step = L / abs(L)  # full batches (s = 0): dW/dt = -L / |L|, and P_WG = diag(vec(1 / |L|))
true = -u @ step @ v
printed = -np.outer(v, u).flatten("F") @ step.flatten("F")
print(f"d sigma/dt = {true}, as printed {printed}")
assert true * printed < 0  # even the sign
assert true == -np.outer(u, v).flatten("F") @ step.flatten("F")  # corrected: vec(u v^T)
