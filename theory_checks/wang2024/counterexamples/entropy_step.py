"""Wang and Basu Roy Chowdhury 2024, Section 8: H(1 - eps, eps) <= (1 - eps) eps <= eps."""

import numpy as np

for eps in (1e-1, 1e-3, 1e-6, 1e-9):
    H = -eps * np.log(eps) - (1 - eps) * np.log1p(-eps)
    print(f"eps = {eps:g}: H = {H:.4g}, H / eps = {H / eps:.2f}")
    assert 3 * eps < H
    assert H <= eps * (1 + np.log(1 / eps)) <= 2 * np.sqrt(eps)  # corrected
