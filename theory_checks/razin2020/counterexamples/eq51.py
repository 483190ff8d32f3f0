"""Razin and Cohen 2020, (51): the distance of W from ((w_11, z'), (z, eps)) is sqrt(2 loss)."""

import numpy as np

W = np.array([[3, 1], [2, 1]])
z, z2, eps = 1, 2, 0  # the solution set of (14) has z at (1,2) and z' at (2,1)
twice_loss = (W[0, 1] - z) ** 2 + (W[1, 0] - z2) ** 2 + (W[1, 1] - eps) ** 2
printed = np.array([[W[0, 0], z2], [z, eps]])
print(f"squared distance {np.sum((W - printed) ** 2)}, 2 loss = {twice_loss}")
assert np.sum((W - printed) ** 2) != twice_loss
corrected = np.array([[W[0, 0], z], [z2, eps]])
assert np.sum((W - corrected) ** 2) == twice_loss
