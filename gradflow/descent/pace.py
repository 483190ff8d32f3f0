"""How many iterations a chunk should have, so that it takes about as long as is wanted."""

import numpy as np

_FADE = 0.5
"""What a chunk counts less than the one after it."""


class Pace:
    """Tells the time of iterations from that of records, which no smaller number of them saves.

    Seconds of chunks are fitted by a multiple of their iterations and one of their records; later
    chunks count more.
    """

    def __init__(self) -> None:
        self.squares, self.right = np.zeros((2, 2)), np.zeros(2)
        self.compiled = False

    def of_iterations(self, iterations: int, records: int, seconds: float) -> float:
        """Seconds of a chunk that its iterations took; at least an eighth of all.

        Args:
          iterations: of this chunk.
          records: those in it.
          seconds: that it took.
        """
        if not self.compiled:  # the first one has the compiler's time, too
            self.compiled = True
            return seconds
        row = np.array([iterations, records]) / max(seconds, 1e-9)
        self.squares = _FADE * self.squares + np.outer(row, row)
        self.right = _FADE * self.right + row
        (a, b), (_, d) = self.squares
        determinant = a * d - b * b
        if determinant <= 1e-6 * a * d:  # all chunks were of one kind
            return seconds
        of_one = (a * self.right[1] - b * self.right[0]) / determinant
        return float(np.clip(seconds - records * max(of_one, 0.0), seconds / 8, seconds))
