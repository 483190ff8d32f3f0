"""Gunasekar et al. 2017: the flow of U U^T from a vanishing start finds the least nuclear norm."""

import numpy as np

# Of a symmetric 4x4 matrix (1, 3) = 1 and (1, 4) = (2, 3) = R are seen. Whole numbers, exactly:
R = 2
Y = np.array([[0, 0, 1, R], [0, 0, R, 0], [1, R, 0, 0], [R, 0, 0, 0]])
least = np.array([[R, 1, 1, R], [1, R, R, 1], [1, R, R, 1], [R, 1, 1, R]])
v = np.array([1, R, 1, R])
for X in (least, np.outer(v, v)):  # both fit; the first is (R+1)/2 1 1^T + (R-1)/2 u u^T
    assert np.all((Y != 0) * (X - Y) == 0)
assert np.trace(least) == 4 * R < v @ v  # both are positive semidefinite: traces are norms


def end(alpha, step=0.02):
    """Of dU/dt = -grad f(U U^T) U from U = sqrt(alpha) I, by the classical Runge-Kutta method."""

    def slope(U):
        return -((Y != 0) * (U @ U.T - Y)) @ U

    U = np.sqrt(alpha) * np.eye(4)
    for _ in range(5000):
        a = slope(U)
        b = slope(U + step / 2 * a)
        c = slope(U + step / 2 * b)
        U = U + step / 6 * (a + 2 * b + 2 * c + slope(U + step * c))
    return U @ U.T


for alpha in (1e-1, 1e-4, 1e-8, 1e-12):
    W = end(alpha)
    print(f"alpha = {alpha}: norm {np.trace(W):.4f}, least {4 * R}, rank one {v @ v}")
assert np.max(np.abs((Y != 0) * (W - Y))) < 1e-9 and np.trace(W) > 1.2 * 4 * R
# Corrected, A_i that commute: of W_11 + 2 W_22 = 1 the flow keeps W = diag(alpha z, alpha z^2).
z = (np.sqrt(1 + 8e12) - 1) / 4
assert abs(1e-12 * z + 2e-12 * z**2 - 1) < 1e-9 and abs(1e-12 * z + 1e-12 * z**2 - 0.5) < 1e-5
