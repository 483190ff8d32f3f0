"""Ratings in a table of pandas, which is looked at but never imported."""

from pathlib import Path
from typing import Any

import numpy as np

from gradflow.problems._observed import numbers_with_gaps
from gradflow.problems._ratings_columns import LARGEST
from gradflow.problems._ratings_file import Columns, names_role, places_of
from gradflow.problems._text_lines import Off
from gradflow.problems._wide_file import Wide
from gradflow.problems.ratings_format import RatingsFormat


def frame_columns(frame: Any, asked: RatingsFormat) -> Columns:
    """What stands in a table with a rating in each row.

    Args:
      frame: the table.
      asked: names of columns, as far as they are known.

    Raises:
      ValueError: if a column is not found, or a row cannot be read.
    """
    names = [str(name) for name in _checked(frame).columns]
    try:
        user, item, rating, time = places_of(names, len(names), asked)
    except Off as off:
        raise ValueError(f"The table {off.what}; {off.remedy}.") from None
    columns = [None if k is None else frame.iloc[:, k] for k in (user, item, rating, time)]
    users, user_labels = _labels("user", columns[0])
    items, item_labels = _labels("item", columns[1])
    values = numbers_with_gaps(np.asarray(columns[2], object)).astype(float)
    if (bad := np.flatnonzero(~np.isfinite(values))).size:
        raise _wrong(int(bad[0]), f"has rating {values[bad[0]]}", "drop it, or give a number")
    times = None if columns[3] is None else _seconds(columns[3])
    rows = np.arange(len(values))
    return Columns(
        users, items, values, times, user_labels, item_labels, rows, [(Path("The table"), 0)]
    )  # fmt: skip


def frame_wide(frame: Any) -> Wide:
    """A table with a user in each row and an item in each column.

    Args:
      frame: the table; NaN in gaps.

    Raises:
      ValueError: if an entry is no number, or a label comes twice.
    """
    labels = [np.asarray(axis) for axis in (_checked(frame).index, frame.columns)]
    for name, these in zip(("index", "columns"), labels, strict=True):
        if len(set(these.tolist())) < len(these):
            raise ValueError(f"The table's {name} has a label twice; give each user and item one.")
    users = [name for name in labels[1].tolist() if names_role("user", str(name))]
    if users:
        raise ValueError(
            f"The table has a column {users[0]!r}, of users and not of an item; give "
            f"table.set_index({users[0]!r})."
        )
    values = numbers_with_gaps(frame).astype(float)
    if (bad := np.argwhere(np.isinf(values))).size:
        raise ValueError(f"Entry {bad[0].tolist()} of the table is infinite; put nan for a gap.")
    return Wide(values, *labels)


def _checked(frame: Any) -> Any:
    if hasattr(frame, "columns") and hasattr(frame, "iloc"):
        return frame
    raise ValueError(
        f"A pandas DataFrame is wanted, but this is {type(frame).__name__}; give pandas.DataFrame("
        "...) of it, read a file by gradflow.read_ratings, or an array by "
        "gradflow.MatrixCompletion.from_array."
    )


def _labels(role: str, column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the labels, and the labels, rising."""
    gaps = np.asarray(column.isna())
    if gaps.any():
        raise _wrong(int(np.argmax(gaps)), f"has no {role}", "drop it, or give one")
    raw = np.asarray(column)
    if raw.dtype.kind == "f":
        whole = (raw == np.floor(raw)) & (np.abs(raw) < 2**53)
        if not whole.all():
            row = int(np.argmin(whole))
            remedy = f"make {role}s whole numbers or texts"
            raise _wrong(row, f"has {role} {raw[row]!r}, which is no whole number", remedy)
        raw = raw.astype(np.int64)
    if raw.dtype.kind == "u" and raw.size and raw.max() > LARGEST:
        raise _wrong(int(raw.argmax()), f"has {role} {raw.max()}", "make them texts")
    if raw.dtype.kind not in "iu":
        kinds = sorted({type(one).__name__ for one in raw.tolist()})
        if len(kinds) > 1:
            raise ValueError(
                f"The table's {role}s are of several kinds, {', '.join(kinds)}; make them whole "
                "numbers or texts."
            )
        raw = raw.astype(object)
    labels, codes = np.unique(raw, return_inverse=True)
    return codes.reshape(-1), labels


def _seconds(column: Any) -> np.ndarray:
    gaps = np.asarray(column.isna())
    if gaps.any():
        raise _wrong(int(np.argmax(gaps)), "has no timestamp", "drop it, or pass timestamp=False")
    raw = np.asarray(column)
    if raw.dtype.kind == "M":
        return raw.astype("datetime64[s]").astype(np.int64)
    if raw.dtype.kind == "f" and (raw == np.floor(raw)).all() and (np.abs(raw) < 2**53).all():
        return raw.astype(np.int64)
    if raw.dtype.kind == "i" or (raw.dtype.kind == "u" and np.all(raw <= LARGEST)):
        return raw.astype(np.int64)
    raise ValueError(
        f"The table's timestamps are of dtype {raw.dtype}, not whole numbers or datetimes; convert "
        "them by pandas.to_datetime, or pass timestamp=False."
    )


def _wrong(row: int, what: str, remedy: str) -> ValueError:
    return ValueError(f"Row {row} of the table {what}; {remedy}.")
