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
# vec(u v^T) does not help at N = 2: W_1 = ((0, 2), (1, 0)), W_2 = diag(2, 1), W = ((0, 4), (1, 0)).
W1, W2, one = np.array([[0, 2], [1, 0]]), np.diag([2, 1]), np.eye(2)
g1, g2 = W2.T @ L, L @ W1.T
true = u @ -(np.sign(g2) @ W1 + W2 @ np.sign(g1)) @ v  # of the singular value 4, u = e_1, v = e_2
x1, x2 = (L / abs(g) for g in (g1, g2))  # G_j L; (W W^T)^(1/2) = diag(4, 1), of W^T W diag(1, 4)
theorem1 = np.kron(one, np.diag([1, 4])) @ x1.flatten("F")
theorem1 = theorem1 + np.kron(np.diag([4, 1]), one) @ x2.flatten("F")
printed = -np.outer(u, v).flatten("F") @ theorem1
print(f"depth 2: d sigma/dt = {true}, with vec(u v^T) {printed}")
assert true != printed
