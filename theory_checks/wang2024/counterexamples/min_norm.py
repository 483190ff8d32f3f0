"""Wang and Basu Roy Chowdhury 2024, Section 3: the flow ends at the solution of least norm."""

import numpy as np

# One equation, beta_1 = 1, two unknowns; loss (1 - beta_1)^2 from beta(0) = (0, 1).
X, y, start = np.array([[1, 0]]), np.array([1]), np.array([0, 1])


def limit(start):
    """Of d beta/dt = 2 X^T (y - X beta): beta_2 never moves, beta_1 tends to 1."""
    end = np.array([1, start[1]])
    assert not np.any(X.T @ (y - X @ end))  # there the flow stands still
    assert all((end - start) - X.T @ (X @ (end - start)) == 0)  # it moved along the row of X alone
    return end


end, least = limit(start), X.T @ y
assert all(X @ least == y)  # it solves the equation and lies in the row space
print("the flow ends at", end, "of norm", np.linalg.norm(end), "but least is", least)
assert all(X @ end == y) and end @ end > least @ least
assert all(limit(np.array([0, 0])) == least)  # corrected: from 0, a combination of rows of X
