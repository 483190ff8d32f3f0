"""Real data: the MovieLens 100K ratings, read from where the user has them, never copied."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gradflow._util.annotations import Checked
from gradflow.problems._ratings_file import read_rows
from gradflow.problems.base import LossConvention
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.sparse import SparseCompletion

_PACKAGE_FILE = "data/movielens100k.csv"
_LARGEST, _MOST = 10**9, 10**8
_SHA256 = "4cee70466ec9b2c39ff51e15853e12e481a31c92977db7e7e614b40a1ef31cc8"


@dataclass(frozen=True)
class Ratings:
    """Ratings in their original order.

    Attributes:
      users: (n,) user numbers, counted from 0.
      items: (n,) item numbers, counted from 0.
      ratings: (n,) ratings, here 1 to 5.
      timestamps: (n,) seconds since 1970.
    """

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    timestamps: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items: (943, 1682) for MovieLens 100K."""
        return int(self.users.max()) + 1, int(self.items.max()) + 1

    def completion(
        self,
        rows: np.ndarray | slice = slice(None),
        *,
        loss: LossConvention = "half_sum",
        held_out: np.ndarray | slice | None = None,
    ) -> MatrixCompletion | SparseCompletion:
        """The completion problem with these rows observed (all, or a split's training rows).

        Args:
          rows: which ratings are observed.
          loss: the convention; see `gradflow.problems`.
          held_out: rows that are not fitted, and whose error is "test_error".

        Returns:
          A `MatrixCompletion`; a `SparseCompletion`, which does not store the matrix, with rows
          held out and where it would have more than a thousand million entries.

        Raises:
          ValueError: if there were more than a hundred million users and items.
        """
        entries = self.shape[0] * self.shape[1]
        if sum(self.shape) > _MOST:
            raise ValueError(
                f"A matrix of shape {self.shape} has {entries:.1e} entries, and factors a row or "
                "column for each user and item; number users and items without gaps, or take fewer."
            )
        if held_out is None and entries <= _LARGEST:
            return MatrixCompletion(self.shape, *self._observed(rows), loss=loss)
        hidden = None if held_out is None else self._observed(held_out)
        return SparseCompletion(self.shape, *self._observed(rows), loss=loss, held_out=hidden)

    def _observed(self, rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Positions and ratings."""
        indices = np.stack([self.users[rows], self.items[rows]], axis=1)
        return indices, self.ratings[rows].astype(float)

    def fold(self, k: Checked[int]) -> tuple[np.ndarray, np.ndarray]:
        """Training and test rows of the 80:20 split u<k>, k = 1..5: test rows 20000(k-1)..20000k.

        Raises:
          ValueError: if k is not 1, 2, 3, 4 or 5.
        """
        if k not in (1, 2, 3, 4, 5):
            raise ValueError(f"k must be 1, 2, 3, 4 or 5, but it is {k}.")
        rows = np.arange(len(self.ratings))
        size = len(rows) // 5
        test = (rows >= size * (k - 1)) & (rows < size * k)
        return rows[~test], rows[test]

    def ten_each(self, which: Checked[str]) -> tuple[np.ndarray, np.ndarray]:
        """Training and test rows of ua ("a") or ub ("b"): each user's first or second ten rows.

        Raises:
          ValueError: if `which` is neither "a" nor "b".
        """
        if which not in ("a", "b"):
            raise ValueError(f"which must be 'a' or 'b', but it is {which!r}.")
        order = np.argsort(self.users, kind="stable")
        starts = np.searchsorted(self.users[order], np.arange(self.shape[0]))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order)) - starts[self.users[order]]
        low = 0 if which == "a" else 10
        test = (rank >= low) & (rank < low + 10)
        rows = np.arange(len(order))
        return rows[~test], rows[test]


def movielens_100k(path: str | Path | None = None) -> Ratings:
    """Read the 100,000 ratings of MovieLens 100K.

    Args:
      path: a `u.data` file (tab-separated) or a comma-separated file with a header. By default the
        file inside the package `neighbors` is used, without importing that package.

    Returns:
      The ratings, 943 users by 1682 items.

    Raises:
      FileNotFoundError: if there is neither a path nor the package; it says how to get either.
      ValueError: if the package's file is not the one expected, or a line cannot be read; it names
        the line and the remedy.

    References:
      Harper and Konstan 2015, The MovieLens Datasets: History and Context.
    """
    if path is None:
        spec = find_spec("neighbors")
        places = list(spec.submodule_search_locations or []) if spec else []
        found = [Path(place) / _PACKAGE_FILE for place in places]
        found = [file for file in found if file.is_file()]
        if not found:
            raise FileNotFoundError(
                "The MovieLens 100K ratings are not here. Install them with "
                "`pip install --no-deps neighbors==0.2.1`, or pass the path of a u.data file."
            )
        path = found[0]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != _SHA256:
            raise ValueError(
                f"{path} has SHA-256 {digest}, not {_SHA256}; "
                "reinstall it with `pip install --no-deps --force-reinstall neighbors==0.2.1`."
            )
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; pass the path of a u.data file.")
    table = read_rows(path)
    return Ratings(
        users=table[:, 0].astype(int) - 1,
        items=table[:, 1].astype(int) - 1,
        ratings=table[:, 2],
        timestamps=table[:, 3].astype(int),
    )
