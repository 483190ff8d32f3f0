"""Wang and Basu Roy Chowdhury 2024, (12): det W(0) > 0 gives erank(W) <= 1 + c_1 sqrt(loss)."""

import numpy as np

# Depth 1 from W(0) = I, det 1: with e = e^(-t) the flow is W = ((1, 1 - e), (1 - e, e)), for
# any c_1. It tends to ((1, 1), (1, 0)).
for c1 in (10.0, 1e3, 1e6):
    e = 1 / (10 * c1)
    W = np.array([[1, 1 - e], [1 - e, e]])
    gradient = np.array([[0, W[0, 1] - 1], [W[1, 0] - 1, W[1, 1]]])
    assert np.allclose([[0, e], [e, -e]], -gradient, atol=1e-15)  # dW/dt, by de/dt = -e
    p = np.linalg.svd(W, compute_uv=False)
    p = p / p.sum()
    erank, bound = np.exp(-np.sum(p * np.log(p))), 1 + c1 * np.sqrt(np.sum(gradient**2) / 2)
    print(f"c_1 = {c1:g}: effective rank {erank:.4f}, bound {bound:.4f}")
    assert erank > bound + 0.5
