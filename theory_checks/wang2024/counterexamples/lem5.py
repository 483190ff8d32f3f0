"""Wang and Basu Roy Chowdhury 2024, Lemma 5: for L >= 2 det W > 0 stays; sigma^(2 alpha)."""

import numpy as np


def gradient(W):
    """Of the loss (9)."""
    return np.array([[0, W[0, 1] - 1], [W[1, 0] - 1, W[1, 1]]])


def flow(x):
    """(dW_1/dt, dW_2/dt) at depth 2."""
    G = gradient(x[1] @ x[0])
    return -np.array([x[1].T @ G, G @ x[0].T])


x, h = np.array([4 * np.eye(2), np.eye(2) / 4]), 1 / 4096  # W_1 = 4 I, W_2 = I / 4: W(0) = I
for _ in range(4608):  # to t = 9/8, by the classical Runge-Kutta method
    a = flow(x)
    b = flow(x + h / 2 * a)
    c = flow(x + h / 2 * b)
    x = x + h / 6 * (a + 2 * b + 2 * c + flow(x + h * c))
print("det W(0) = 1, and at t = 9/8", np.linalg.det(x[1] @ x[0]))
assert np.linalg.det(x[1] @ x[0]) < -0.9
# The rate of sigma_2 = 4 at W_1 = W_2 = diag(3, 2), where alpha = 1 and u_2 = v_2 = e_2.
w = np.diag([3, 2])
G = gradient(w @ w)
true = -(w @ w.T @ G + G @ w.T @ w)[1, 1]
print("d sigma_2/dt =", true, " as printed:", -2 * G[1, 1] * 4**2)
assert true != -2 * G[1, 1] * 4**2
assert true == -2 * G[1, 1] * 4**1  # corrected: sigma^alpha
