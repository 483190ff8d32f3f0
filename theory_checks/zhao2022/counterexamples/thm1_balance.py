"""Zhao 2022, before (18), under Adam: A^T A = (W W^T)^((N-j)/N) for balanced starts."""

import numpy as np

# N = 2, W = W_2 W_1 is 1x4, every target is 100. W_1 = (1, 1, 1, 1), W_2 = 2 is balanced. Full
# batches (s = 0): as long as W < 100 every gradient is negative, so every entry grows at rate 1.
W1, W2, t = np.array([[1, 1, 1, 1]]), np.array([[2]]), 8
assert W2.T @ W2 == W1 @ W1.T
assert np.all((W2 + t) @ (W1 + t) < 100)
W = (W2 + t) @ (W1 + t)
outer, square = ((W2 + t) @ (W2 + t).T).item(), (W @ W.T).item()
print(f"W_2 W_2^T = {outer}, (W W^T)^(1/2) = {np.sqrt(square)}")
assert square > (1.5 * outer) ** 2
lost = outer - ((W1 + t) @ (W1 + t).T).item()  # of the balance, which was 0
assert abs(lost) <= 2 * t * (2 * 2 + 1 * 2) + t**2 * (4 + 1)  # corrected: how much can be lost
