"""Wang and Basu Roy Chowdhury 2024, Section 5: erank(1000 E_11 + I_d) is about 1."""

import numpy as np

M = 1000
for d in (2, 10, 100, 1000):
    s = np.array([M + 1.0] + [1.0] * (d - 1))  # the singular values
    p = s / s.sum()
    erank = np.exp(-np.sum(p * np.log(p)))
    bound = np.exp((d - 1) / (M + d) * (1 + np.log(M + d)))
    print(f"d = {d}: effective rank {erank:.4f}, at most {bound:.4f}")
    assert erank <= bound  # corrected: near 1 only where d is small against M / ln M
assert erank > 60
