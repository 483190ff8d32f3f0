"""Files of ratings: how they are laid out, and what stands in them.

A line that is off is named, with the remedy. Nothing is guessed twice: separator, header and
columns are read off the first lines, and every line must agree with them.
"""

import csv
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gradflow.problems._ratings_columns import NUMBER, Labels, Numbers, Times
from gradflow.problems._text_lines import Lines, Off, lines_of, refused
from gradflow.problems.ratings_format import ROLES, RatingsFormat

KNOWN = {
    "user": "user userid users uid customer customerid custid reviewer reviewerid person personid",
    "item": "item itemid items iid movie movieid film filmid book bookid isbn product productid "
    "asin song songid track trackid artist artistid business businessid joke jokeid anime animeid",
    "rating": "rating ratings score stars bookrating overall userrating movierating",
    "timestamp": "timestamp timestamps time date datetime unixreviewtime ts",
}
"""What columns are called, in small letters without signs."""
_SEPARATORS = ("::", "\t", ";", "|", ",", " ")
_LONGEST = 10_000  # characters of a line


class Columns(NamedTuple):
    """What stands in files of ratings, row by row.

    Attributes:
      users: numbers in the order of the labels.
      items: likewise.
      ratings: finite numbers.
      timestamps: whole numbers, or None.
      user_labels: rising; whole numbers or texts.
      item_labels: likewise.
      lines: of each row, its number in its file.
      files: the paths, and at which row each begins.
    """

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    timestamps: np.ndarray | None
    user_labels: np.ndarray
    item_labels: np.ndarray
    lines: np.ndarray
    files: list[tuple[Path, int]]

    def place(self, row: int) -> str:
        """The line of a row, and its file where there are several."""
        file = max((start, str(path)) for path, start in self.files if start <= row)[1]
        return f"line {self.lines[row]}" + (f" of {file}" if len(self.files) > 1 else "")


def read_columns(paths: Sequence[Path], asked: RatingsFormat) -> Columns:
    """What stands in files of ratings with one of them a line.

    Args:
      paths: the files, one after the other.
      asked: what is known of them.

    Raises:
      ValueError: if a line cannot be read; it names the line and the remedy.
    """
    users, items = (Labels(role, asked.ids == "text") for role in ("user", "item"))
    readers = (users, items, Numbers(), Times())
    parts: list[list[np.ndarray]] = [[] for _ in ROLES]
    lines, files, timed = [], [], None
    for path in paths:
        files.append((path, sum(map(len, lines))))
        for portion, columns in _portions(path, asked):
            timed = columns[3] is not None if timed is None else timed
            if timed is not (columns[3] is not None):
                raise ValueError(f"{path} and {paths[0]} differ in their columns; read them apart.")
            try:
                for part, reader, texts in zip(parts, readers, columns, strict=True):
                    part += [] if texts is None else [reader.read(texts)]
            except Off as off:
                raise off.at(portion) from None
            lines.append(np.array(portion.numbers, np.int64))
    if not lines:
        raise ValueError(f"{paths[0]} has no rating below its header; give at least one.")
    of_users, user_labels = users.sorted(np.concatenate(parts[0]))
    of_items, item_labels = items.sorted(np.concatenate(parts[1]))
    times = np.concatenate(parts[3]) if parts[3] else None
    return Columns(
        of_users, of_items, np.concatenate(parts[2]), times, user_labels, item_labels,
        np.concatenate(lines), files,
    )  # fmt: skip


def _portions(path: Path, asked: RatingsFormat) -> Iterator[tuple[Lines, list[list[str] | None]]]:
    """The lines with a rating, some at a time, and their texts by role."""
    plan, held = None, None
    for portion in lines_of(path, asked.encoding, _LONGEST):
        if held is not None:
            portion = Lines(path, [*held.numbers, *portion.numbers], held.texts + portion.texts)
        held = portion if plan is None and all(map(_names_item, portion.texts)) else None
        if held is not None:
            continue  # items without a rating tell nothing of the columns
        try:
            if plan is None:
                plan = _Plan(portion, asked)
                portion = portion.without_first() if plan.header else portion
            portion = plan.with_items(portion)
            if portion.texts:
                yield portion, plan.columns(portion)
        except Off as off:
            raise off.at(portion) from None
    if plan is None and held is None:
        raise refused(path, 1, "is not there: the file is empty", "give one with ratings")


class _Plan:
    """How a file is laid out, read off its first lines."""

    def __init__(self, first: Lines, asked: RatingsFormat):
        begins = asked.layout == "auto" and _names_item(first.texts[0])
        self.blocks = asked.layout == "blocks" or begins
        self.item: str | None = None
        sample = next(t for t in first.texts if not (self.blocks and _names_item(t)))
        least = 2 if self.blocks else 3
        self.separator = asked.separator or guessed_separator(sample, least)
        fields = fields_of([sample], self.separator)[0]
        self.header = asked.header
        if self.header is None:
            named = any(isinstance(getattr(asked, role), str) for role in ROLES)
            self.header = named or (not self.blocks and is_header(fields))
        if self.blocks:
            dataclasses.replace(asked, layout="blocks").check()
            if self.header:
                raise Off(0, "is a header", "take it away: blocks of an item each have none")
            if len(fields) > 3:
                what = f"has {len(fields)} columns, not user, rating and perhaps date"
                raise Off(first.texts.index(sample), what, "take the others away")
            self.count = 1 + len(fields)
            self.places: list[int | None] = [1, 0, 2, 3 if self.count > 3 else None]
            if asked.timestamp is False:
                self.places[3] = None
            return
        self.count = len(fields)
        self.places = places_of(fields if self.header else None, self.count, asked)

    def with_items(self, portion: Lines) -> Lines:
        """Lines with the item of their block before them, where a file has such blocks."""
        if not self.blocks:
            return portion
        numbers, texts = [], []
        for k, (number, text) in enumerate(zip(portion.numbers, portion.texts, strict=True)):
            if _names_item(text):
                self.item = text.strip()[:-1]
            elif self.item is None:
                raise Off(k, "stands before any item", "begin each block with its item, such as 1:")
            else:
                numbers.append(number)
                texts.append(f"{self.item}{self.separator}{text}")
        return Lines(portion.path, numbers, texts)

    def columns(self, portion: Lines) -> list[list[str] | None]:
        """The texts of each role, in the order of `ROLES`."""
        separator, count, texts = self.separator, self.count, portion.texts
        together = "\n".join(texts)
        if separator == " " or '"' in together:
            rows = fields_of(texts, separator)
            self._check([len(row) for row in rows])
            fields = [field for row in rows for field in row]
        else:  # as `fields_of`, but without a list for each line
            self._check([text.count(separator) + 1 for text in texts])
            fields = together.replace(separator, "\n").split("\n")
        return [None if place is None else fields[place::count] for place in self.places]

    def _check(self, counts: list[int]) -> None:
        """See that all lines have as many columns as the first."""
        if counts.count(self.count) == len(counts):
            return
        k = next(k for k, count in enumerate(counts) if count != self.count)
        found, wanted = (n - self.blocks for n in (counts[k], self.count))
        what = f"has {found} columns, but the first has {wanted}"
        raise Off(k, what, "write as many as there")


def _names_item(text: str) -> bool:
    """Whether a line is an item and a colon, as those that begin blocks are."""
    return text.rstrip().endswith(":") and re.fullmatch(r"[^\s,;|:]+:", text.strip()) is not None


def fields_of(texts: list[str], separator: str) -> list[list[str]]:
    """The fields of some lines; quoted ones may hold the separator."""
    quoted = any('"' in text for text in texts)
    if separator == " " or len(separator) > 1 or not quoted:
        rows = [text.split(None if separator == " " else separator) for text in texts]
        for k, row in enumerate(rows if quoted else ()):
            if any(field.strip().startswith('"') for field in row):
                raise Off(k, f"has quotes around what {separator!r} separates", "take them away")
        return rows
    rows = []
    for k, text in enumerate(texts):
        try:
            rows += csv.reader([text], delimiter=separator, strict=True)
        except csv.Error as error:
            raise Off(k, f"has quotes that do not fit ({error})", "close them") from None
    return rows


def guessed_separator(text: str, least: int) -> str:
    """The separator of a line, the first of those that part it into enough fields.

    Args:
      text: the line.
      least: how many fields there must be.
    """
    for separator in _SEPARATORS:
        fields = text.split() if separator == " " else text.split(separator)
        if len(fields) >= least:
            return separator
    raise Off(
        0, f"has no tabs, commas, semicolons or '::' that make {least} columns of it, but "
        f"{text[:40]!r}", "write user, item and rating, or name the separator",
    )  # fmt: skip


def is_header(fields: list[str]) -> bool:
    """Whether no field is a number."""
    return not any(NUMBER.fullmatch(field.strip()) for field in fields)


def places_of(names: list[str] | None, count: int, asked: RatingsFormat) -> list[int | None]:
    """The column of each role.

    Args:
      names: of the columns; None where they have none.
      count: of the columns.
      asked: names or places that are known.
    """
    found: list[int | None] = []
    for role, default in zip(ROLES, range(4), strict=True):
        wanted = getattr(asked, role)
        if role == "timestamp" and wanted is False:
            found.append(None)
        elif wanted is not None:
            found.append(_place(role, wanted, names, count))
        elif names is not None:
            found.append(_known(role, names))
        elif count <= 4:
            found.append(default if default < count else None)
        else:
            what = f"has {count} columns and no header"
            raise Off(0, what, f"say where the {role} stands, such as {role}=0, or timestamp=False")
    used = [place for place in found if place is not None]
    if len(set(used)) < len(used):
        what = f"has one column for two of user, item, rating and timestamp ({found})"
        raise Off(0, what, "say for each where it stands")
    return found


def _place(role: str, wanted: str | int, names: list[str] | None, count: int) -> int:
    if isinstance(wanted, int):
        if 0 <= wanted < count:
            return wanted
        raise Off(0, f"has {count} columns, none at {role}={wanted}", "count them from 0")
    stripped = [name.strip() for name in names or []]
    if stripped.count(wanted) == 1:
        return stripped.index(wanted)
    if names is None:
        raise Off(0, "is no header", f"say by a number where {role}={wanted!r} stands")
    times = "two columns" if wanted in stripped else "no column"
    raise Off(0, f"has {times} {wanted!r}, but {', '.join(stripped[:8])}", f"name the {role}'s")


def names_role(role: str, name: str) -> bool:
    """Whether a column of this name is surely that of a role.

    Args:
      role: one of `ROLES`.
      name: as in a header.
    """
    return re.sub(r"[^a-z0-9]", "", name.lower()) in KNOWN[role].split()


def _known(role: str, names: list[str]) -> int | None:
    found = [k for k, name in enumerate(names) if names_role(role, name)]
    if len(found) == 1:
        return found[0]
    if not found and role == "timestamp":
        return None
    shown = ", ".join(name.strip() for name in names[:8])
    many = "several columns for" if found else "no column that is surely"
    raise Off(0, f"has {many} the {role}: {shown}", f"say which it is by {role}=")
