"""Zhao 2022, Theorem 1, G_j = I: vec(dW/dt) = -sum (W W^T)^((j-1)/N) kron (W^T W)^((N-j)/N) ..."""

import numpy as np

# N = 2, W_1 = W = ((0, 1), (0, 0)) and W_2 = diag(1, 0), balanced; the gradient is L = e_1 e_2^T.
W1, W2, L, one = np.array([[0, 1], [0, 0]]), np.diag([1, 0]), np.array([[0, 1], [0, 0]]), np.eye(2)
W = W2 @ W1
assert np.all(W2.T @ W2 == W1 @ W1.T)
true = -(W2 @ W2.T @ L + L @ W1.T @ W1).flatten("F")  # by the chain rule, vec column-major
left, right = W @ W.T, W.T @ W
assert np.all(left @ left == left) and np.all(right @ right == right)  # their own square roots
printed = -(np.kron(one, right) + np.kron(left, one)) @ L.flatten("F")
print("vec(dW/dt) =", true, " as printed:", printed)
assert any(true != printed)
assert all(true == -(np.kron(right, one) + np.kron(one, left)) @ L.flatten("F"))  # corrected
