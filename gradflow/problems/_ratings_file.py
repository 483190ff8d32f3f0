"""Files of ratings, read line by line: a line that is off is named, with the remedy."""

import csv
import math
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

COLUMNS = ("User", "Item", "Rating", "Timestamp")
_LONGEST = 10_000  # bytes of a line
_MOST = 2**31 - 1  # the largest number of a user or an item
_LATEST = 2.0**53  # the largest timestamp that a float has to the second


def read_rows(path: Path) -> Float[np.ndarray, "n 4"]:
    """User, item, rating and timestamp of each line of a file.

    Args:
      path: a tab-separated file without a header, or a comma-separated one with the header
        User,Item,Rating,Timestamp in any order.

    Returns:
      The rows; users and items are whole and from 1 on, all is finite.

    Raises:
      ValueError: if a line cannot be read; it names the line and the remedy.
    """
    lines = _lines(path)
    number, first = next(lines, (1, ""))
    columns: tuple[int, ...] = (0, 1, 2, 3)
    separator = _separator(path, number, first)
    table = array("d")
    if separator == ",":
        columns = _header(path, number, first)
    else:
        table.extend(_row(path, number, first, separator, columns))
    for number, line in lines:
        table.extend(_row(path, number, line, separator, columns))
    if not table:
        raise ValueError(f"{path} has no rating below its header; give at least one.")
    return np.array(table).reshape(-1, 4)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    number = 0
    with path.open("rb") as file:
        while raw := file.readline(_LONGEST + 1):
            number += 1
            if len(raw) > _LONGEST:
                what = f"has more than {_LONGEST} bytes"
                raise _refused(path, number, what, "give one rating a line")
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                what = f"is no text in UTF-8 ({error.reason})"
                remedy = "save the file in that encoding"
                raise _refused(path, number, what, remedy) from error
            if line.strip():
                yield number, line


def _separator(path: Path, number: int, line: str) -> str:
    if "\t" in line:
        return "\t"
    if "::" in line:
        raise _refused(path, number, "is separated by '::'", "put tabs in their place")
    if ";" in line and "," not in line:
        raise _refused(path, number, "is separated by semicolons", "put tabs in their place")
    if "," in line:
        return ","
    what = "has no tabs or commas" if line else "is not there: the file is empty"
    raise _refused(path, number, what, "write user, item, rating and timestamp, separated by tabs")


def _header(path: Path, number: int, line: str) -> tuple[int, ...]:
    names = [name.strip() for name in _fields(line, ",")]
    if missing := [name for name in COLUMNS if name not in names]:
        what = f"has no column {missing[0]}, but {', '.join(names[:8])}"
        if _is_number(names[0]):
            what = f"is no header, but {line[:60]!r}"
        raise _refused(path, number, what, f"let the first line be {','.join(COLUMNS)}")
    return tuple(names.index(name) for name in COLUMNS)


def _row(
    path: Path, number: int, line: str, separator: str, columns: tuple[int, ...]
) -> tuple[float, ...]:  # fmt: skip
    fields = _fields(line, separator)
    try:
        user, item, rating, timestamp = (float(fields[k]) for k in columns)
    except (ValueError, IndexError):
        raise _wrong(path, number, fields, columns) from None
    whole = user % 1 == 0 and item % 1 == 0 and 1 <= user <= _MOST and 1 <= item <= _MOST
    if not (whole and math.isfinite(rating) and abs(timestamp) <= _LATEST):
        raise _wrong(path, number, fields, columns)
    return user, item, rating, timestamp


def _wrong(path: Path, number: int, fields: list[str], columns: tuple[int, ...]) -> ValueError:
    """What is wrong with a line, and the remedy."""
    if len(fields) <= max(columns):
        remedy = "write user, item, rating and timestamp"
        return _refused(path, number, f"has {len(fields)} columns", remedy)
    words = [fields[k].strip() for k in columns]
    for name, word in zip(COLUMNS, words, strict=True):
        if not _is_number(word):
            what = f"has {name.lower()} {word[:40]!r}, which is no number"
            header = ", or take the header away" if number == 1 else ""
            return _refused(path, number, what, f"write a finite one{header}")
    for name, value in zip(COLUMNS, map(float, words[:2]), strict=False):
        if not (1 <= value <= _MOST and value % 1 == 0):
            remedy = "users and items must be numbered from 1, without gaps"
            return _refused(path, number, f"has {name.lower()} {value:g}", remedy)
    what = f"has timestamp {float(words[3]):g}"
    return _refused(path, number, what, "give seconds since 1970")


def _fields(line: str, separator: str) -> list[str]:
    return next(csv.reader([line])) if '"' in line and separator == "," else line.split(separator)


def _is_number(word: str) -> bool:
    """Whether a word is a finite number, as float() reads it."""
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _refused(path: Path, number: int, what: str, remedy: str) -> ValueError:
    return ValueError(f"{path}, line {number} {what}; {remedy}.")
