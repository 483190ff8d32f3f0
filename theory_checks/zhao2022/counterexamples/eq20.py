"""Zhao 2022, (20): u^T X v = (u^T kron v^T) vec(X) = vec(v u^T)^T vec(X), vec column-major."""

import numpy as np

u, v = np.array([1, 0]), np.array([0, 1])
X = np.array([[0, 1], [0, 0]])
true = u @ X @ v
first, second = np.kron(u, v) @ X.flatten("F"), np.outer(v, u).flatten("F") @ X.flatten("F")
print(f"u^T X v = {true}, as printed {first} and {second}")
assert true != first and true != second
# Corrected: the two exchanged.
assert true == np.kron(v, u) @ X.flatten("F") == np.outer(u, v).flatten("F") @ X.flatten("F")
