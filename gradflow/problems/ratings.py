"""Ratings of items by users: read from any file or table, split, made into a problem."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.options import takes_options
from gradflow._util.validate import real, seed_of
from gradflow.problems._ratings_file import Columns, read_columns
from gradflow.problems._ratings_frame import frame_columns, frame_wide
from gradflow.problems._wide_file import Wide, read_wide
from gradflow.problems.base import LossConvention
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.ratings_format import Duplicates, RatingsFormat
from gradflow.problems.sparse import SparseCompletion

By = Literal["random", "user", "whole user", "time"]
_LARGEST, _MOST = 10**9, 10**8


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings in their original order, with users and items counted from 0; immutable.

    Attributes:
      users: (n,) rows of the matrix.
      items: (n,) its columns.
      ratings: (n,) numbers.
      timestamps: (n,) whole numbers, seconds since 1970 as a rule; None where there are none.
      user_labels: (d,) what the file calls the users: `user_labels[users]` are their ids.
      item_labels: (d',) likewise.

    Example:
      >>> import gradflow as gf, pandas as pd
      >>> table = pd.DataFrame({"user": [7, 7, 900], "item": ["b", "a", "b"], "rating": [4, 5, 3]})
      >>> ratings = gf.problems.Ratings.from_frame(table)
      >>> ratings.users.tolist(), ratings.items.tolist(), ratings.shape
      ([0, 0, 1], [1, 0, 1], (2, 2))
      >>> ratings.user_labels.tolist(), ratings.item_labels[ratings.items].tolist()
      ([7, 900], ['b', 'a', 'b'])
      >>> ratings.completion().target.tolist()
      [[5.0, 4.0], [0.0, 3.0]]
    """

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    timestamps: np.ndarray | None = None
    user_labels: Any = None
    item_labels: Any = None

    def __post_init__(self) -> None:
        for name, codes in (("user_labels", self.users), ("item_labels", self.items)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.arange(int(np.max(codes, initial=-1)) + 1))
        count = len(self.users)
        for name in ("users", "items", "ratings", "timestamps", "user_labels", "item_labels"):
            if (given := getattr(self, name)) is None:
                continue
            array = np.asarray(given).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
            if not name.endswith("labels") and array.shape != (count,):
                raise ValueError(
                    f"{name} has shape {array.shape}, but there are {count} users; give one each."
                )

    def __len__(self) -> int:
        return len(self.ratings)

    def __repr__(self) -> str:
        users, items = self.shape
        return f"Ratings({len(self)} of {items} items by {users} users)"

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items: (943, 1682) for MovieLens 100K."""
        return len(self.user_labels), len(self.item_labels)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: Checked[str | None] = None,
        item: Checked[str | None] = None,
        rating: Checked[str | None] = None,
        timestamp: Checked[str | Literal[False] | None] = None,
        layout: Checked[Literal["rows", "wide"]] = "rows",
        missing: Checked[float | None] = None,
        duplicates: Checked[Duplicates] = "error",
    ) -> "Ratings":
        """The ratings in a pandas DataFrame.

        Args:
          frame: a table with a rating in each row; or, with layout "wide", with a user in each row
            and an item in each column, labelled by index and columns, and NaN where there is no
            rating.
          user: the name of the users' column; by default found by the usual names.
          item: likewise.
          rating: likewise.
          timestamp: likewise; False for none.
          layout: "rows" or "wide".
          missing: as for `read_ratings`.
          duplicates: as for `read_ratings`.

        Raises:
          ValueError: if a column is not found, a rating is no finite number, or an id is missing;
            and as `read_ratings`.
        """
        if layout not in ("rows", "wide"):
            raise ValueError(f"layout must be 'rows' or 'wide', but it is {layout!r}.")
        asked = RatingsFormat(
            user=user, item=item, rating=rating, timestamp=timestamp, missing=missing,
            duplicates=duplicates, layout=layout,
        )  # fmt: skip
        asked.check()
        if layout == "wide":
            if user is not None:
                raise ValueError(
                    f"user = {user!r}, but the index of a 'wide' table labels its users; give "
                    f"table.set_index({user!r})."
                )
            return _of_wide(cls, frame_wide(frame), missing)
        return _of_columns(cls, frame_columns(frame, asked), missing, duplicates)

    def take(self, rows: np.ndarray | slice) -> "Ratings":
        """Some of the ratings, with all labels, so that the shape stays.

        Args:
          rows: which, as for an array.
        """
        times = None if self.timestamps is None else self.timestamps[rows]
        parts = (self.users[rows], self.items[rows], self.ratings[rows], times)
        return Ratings(*parts, self.user_labels, self.item_labels)

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
          ValueError: if there are more than a hundred million users and items.
        """
        if sum(self.shape) > _MOST:
            raise ValueError(
                f"A matrix of shape {self.shape} needs factors with a row or column for each user "
                "and item; take fewer."
            )
        if held_out is None and self.shape[0] * self.shape[1] <= _LARGEST:
            return MatrixCompletion(self.shape, *self._observed(rows), loss=loss)
        hidden = None if held_out is None else self._observed(held_out)
        return SparseCompletion(self.shape, *self._observed(rows), loss=loss, held_out=hidden)

    def _observed(self, rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Positions and ratings."""
        indices = np.stack([self.users[rows], self.items[rows]], axis=1)
        return indices, self.ratings[rows].astype(float)

    def split(
        self, test_size: Checked[float] = 0.2, *, by: Checked[By] = "random", seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Training and test rows, each rising.

        Args:
          test_size: the share of test rows, between 0 and 1.
          by: "random": of all rows; "user": of each user's rows, rounded down, at random; "whole
            user": all rows of that share of the users; "time": the latest rows, those of one moment
            in their order.
          seed: of what is random.

        Raises:
          ValueError: if the share leaves no row on one side, or there are no timestamps.

        Example:
          >>> import gradflow as gf, numpy as np
          >>> ratings = gf.problems.Ratings(np.arange(10), np.zeros(10, int), np.ones(10))
          >>> train, test = ratings.split(0.3)
          >>> len(train), len(test)
          (7, 3)
        """
        share = real(test_size)
        if not 0 < share < 1:
            raise ValueError(f"test_size must be between 0 and 1, but it is {test_size!r}.")
        random = np.random.default_rng(seed_of("seed", seed))
        count = len(self)
        if by == "random":
            first = random.permutation(count)[: round(share * count)]
            test = np.isin(np.arange(count), first)
        elif by == "user":
            order = np.lexsort((random.random(count), self.users))
            sizes = np.bincount(self.users, minlength=self.shape[0])
            rank = np.empty(count, int)
            rank[order] = np.arange(count) - (np.cumsum(sizes) - sizes)[self.users[order]]
            test = rank < np.floor(share * sizes + 1e-9)[self.users]
        elif by == "whole user":
            chosen = random.permutation(self.shape[0])[: round(share * self.shape[0])]
            test = np.isin(self.users, chosen)
        elif by == "time":
            if self.timestamps is None:
                raise ValueError("These ratings have no timestamps; split by='random' or 'user'.")
            late = np.argsort(self.timestamps, kind="stable")[count - round(share * count) :]
            test = np.isin(np.arange(count), late)
        else:
            raise ValueError(
                f"by must be 'random', 'user', 'whole user' or 'time', but it is {by!r}."
            )
        if test.all() or not test.any():
            side = "training" if test.all() else "test"
            raise ValueError(
                f"test_size = {test_size} by {by!r} leaves no {side} rows of {count}; take another "
                "share."
            )
        return np.flatnonzero(~test), np.flatnonzero(test)

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


@takes_options(RatingsFormat)
def read_ratings(
    path: Checked[str | Path | Sequence[str | Path]], options: RatingsFormat
) -> Ratings:
    r"""Read a file of ratings: MovieLens of any size, Netflix's, Jester's, any other text file.

    What is not said is read off the first line, and every line must agree with it. Memory goes by
    the number of ratings, whatever the ids are.

    Args:
      path: the file, or several that are read as one; .gz is unpacked.
      options: the fields of `RatingsFormat`, as keywords.

    Returns:
      The ratings, which keep the ids as labels.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a line cannot be read, or a user rates an item twice; it names the line and the
        remedy.

    Example:
      >>> import gradflow as gf, pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "ratings.dat"
      >>> _ = path.write_text("10::7::4.5::978300760\n10::1000000000000::3::978302109\n")
      >>> ratings = gf.read_ratings(path)
      >>> ratings
      Ratings(2 of 2 items by 1 users)
      >>> ratings.items.tolist(), ratings.item_labels.tolist(), ratings.ratings.tolist()
      ([0, 1], [7, 1000000000000], [4.5, 3.0])
    """
    options.check()
    paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
    if not paths:
        raise ValueError("There is no path at all; give one.")
    for one in paths:
        if not one.is_file():
            raise FileNotFoundError(f"{one} is not a file; pass the path of a file of ratings.")
    if options.layout != "wide":
        columns = read_columns(paths, options)
        return _of_columns(Ratings, columns, options.missing, options.duplicates)
    if len(paths) > 1:
        raise ValueError(f"Of layout 'wide' one file can be read, but {len(paths)} are given.")
    return _of_wide(Ratings, read_wide(paths[0], options), options.missing)


def _of_wide(kind: type[Ratings], wide: Wide, missing: Checked[float | None]) -> Ratings:
    seen = ~np.isnan(wide.values)
    if missing is not None:
        seen &= wide.values != missing
    if not seen.any():
        raise ValueError("There is no rating at all: all are missing; give some.")
    users, items = np.nonzero(seen)
    return kind(users, items, wide.values[seen], None, wide.user_labels, wide.item_labels)


def _of_columns(
    kind: type[Ratings], found: Columns, missing: Checked[float | None], duplicates: Any
) -> Ratings:
    """Ratings without those that are missing, each entry once."""
    kept = np.ones(len(found.ratings), bool) if missing is None else found.ratings != missing
    if not kept.any():
        raise ValueError(f"There is no rating at all: all are {missing}, that is missing.")
    values = found.ratings
    entry = found.users * len(found.item_labels) + found.items
    order = np.argsort(entry, kind="stable")
    order = order[kept[order]]
    new = np.diff(entry[order], prepend=-1) != 0
    if not new.all():
        if duplicates == "error":
            raise _twice(found, order, int(np.argmin(new)))
        group = np.cumsum(new) - 1
        ends = np.append(np.flatnonzero(new)[1:], len(order)) - 1
        stays = order[new] if duplicates == "first" else order[ends]
        if duplicates == "mean":
            values = values.copy()
            values[stays] = np.bincount(group, values[order]) / np.bincount(group)
        kept = np.zeros_like(kept)
        kept[stays] = True
    times = None if found.timestamps is None else found.timestamps[kept]
    return kind(
        found.users[kept], found.items[kept], values[kept], times,
        found.user_labels, found.item_labels,
    )  # fmt: skip


def _twice(found: Columns, order: np.ndarray, at: int) -> ValueError:
    first, second = int(order[at - 1]), int(order[at])
    user = found.user_labels[found.users[first]]
    item = found.item_labels[found.items[first]]
    return ValueError(
        f"{found.files[0][0]}: user {user} rates item {item} twice, in {found.place(first)} and "
        f"{found.place(second)}; say which counts by duplicates='first', 'last' or 'mean'."
    )
