"""Lengths of columns of any size."""

import numpy as np


def lengths_and_directions(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the columns, without under- or overflow, and their directions."""
    largest = np.max(np.abs(factor), axis=0, initial=0)
    unit = factor / np.where(largest > 0, largest, 1)
    norm = np.linalg.norm(unit, axis=0)
    return largest * norm, unit / np.where(norm > 0, norm, 1)
