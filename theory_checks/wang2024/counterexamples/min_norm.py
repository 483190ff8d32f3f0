"""Wang and Basu Roy Chowdhury 2024, Section 3: the flow ends at the solution of least norm."""

import numpy as np

# One equation, beta_1 = 1, two unknowns; loss (1 - beta_1)^2 from beta(0) = (0, 1).
X, y, start = np.array([[1, 0]]), np.array([1]), np.array([0, 1])
# d beta/dt = 2 X^T (y - X beta) never moves beta_2, and beta_1 = 1 - e^(-2t).
end = np.array([1, start[1]])
assert all(X @ end == y) and not np.any(X.T @ (y - X @ end))  # there the flow stands still
assert all((end - start) - X.T @ (X @ (end - start)) == 0)  # it moved along the row of X alone
least = X.T @ y  # solves the equation and lies in the row space
print("the flow ends at", end, "of norm", np.linalg.norm(end), "but least is", least)
assert all(X @ least == y) and end @ end > least @ least
# Corrected: from (0, 0), as from every combination of rows of X, beta_2 stays 0.
assert all(np.array([1, 0]) == least)
