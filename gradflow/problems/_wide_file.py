"""Tables of ratings with a user in each row and an item in each column, as Jester's."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gradflow.problems._ratings_columns import NUMBER, Labels, Numbers
from gradflow.problems._ratings_file import fields_of, guessed_separator, is_header, names_role
from gradflow.problems._text_lines import Lines, Off, lines_of, refused
from gradflow.problems.ratings_format import RatingsFormat

_LONGEST = 10_000_000  # characters of a line
_GAPS = frozenset({"", "nan", "na", "n/a", "null", "none"})


class Wide(NamedTuple):
    """A table with gaps.

    Attributes:
      values: (users, items), NaN in gaps.
      user_labels: of the rows.
      item_labels: of the columns.
    """

    values: np.ndarray
    user_labels: np.ndarray
    item_labels: np.ndarray


def read_wide(path: Path, asked: RatingsFormat) -> Wide:
    """A table of ratings; an empty field, and the word nan, are gaps.

    Args:
      path: the file.
      asked: what is known of it; `user` is the column of the users' labels.

    Raises:
      ValueError: if a line cannot be read; it names the line and the remedy.
    """
    table: _Table | None = None
    for portion in lines_of(path, asked.encoding, _LONGEST):
        try:
            if table is None:
                table = _Table(portion, asked)
                portion = portion.without_first() if table.header else portion
            for k, fields in enumerate(fields_of(portion.texts, table.separator)):
                table.add(k, fields)
        except Off as off:
            raise off.at(portion) from None
    if table is None or not table.rows:
        raise refused(path, 1, "is not there: no ratings", "give a table with ratings")
    return Wide(np.array(table.rows), table.user_labels(), table.item_labels)


def _is_header(fields: list[str]) -> bool:
    """Whether the first fields are names; those of items may be numbers."""
    words = [field.strip() for field in fields]
    if is_header(words) or names_role("user", words[0]):
        return True
    numbers = words[1:] if words[0].lower() in ("", "id", "index") else words
    whole = all(NUMBER.fullmatch(word) and word.isdigit() for word in numbers)
    counted = numbers == [str(k) for k in range(len(words))]
    if whole and len({*numbers}) == len(numbers) and (counted or numbers is not words):
        remedy = "say header=True, or header=False if these are ratings"
        raise Off(0, f"may be a header or not: {', '.join(words[:8])}", remedy)
    return False


class _Table:
    """How a table is laid out, and what was read of it."""

    def __init__(self, first: Lines, asked: RatingsFormat):
        self.separator = asked.separator or guessed_separator(first.texts[0], 2)
        names = fields_of(first.texts[:1], self.separator)[0]
        named = any(isinstance(x, str) for x in (asked.user, *asked.drop))
        self.header = named or _is_header(names) if asked.header is None else asked.header
        self.names = [name.strip() for name in names] if self.header else None
        self.count = len(names)
        self.user = None if asked.user is None else self._place(asked.user)
        out = {self._place(one) for one in asked.drop} | ({self.user} - {None})
        self.kept = [k for k in range(self.count) if k not in out]
        for name in [] if self.names is None else [self.names[k] for k in self.kept]:
            if names_role("user", name):
                what = f"has a column {name!r}, of users and not of an item"
                raise Off(0, what, f"pass user={name!r}, or drop=[{name!r}]")
        self.labels, self.numbers = Labels("user", asked.ids == "text"), Numbers()
        self.item_labels = self._item_labels()
        self.users: dict[int, str] = {}
        self.rows: list[np.ndarray] = []

    def _place(self, wanted: Any) -> int:
        if isinstance(wanted, str) and (self.names or []).count(wanted) == 1:
            return (self.names or []).index(wanted)
        if isinstance(wanted, int) and 0 <= wanted < self.count:
            return wanted
        shown = f": {', '.join(self.names[:8])}" if self.names else ""
        raise Off(0, f"has no column {wanted!r} among {self.count}{shown}", "name one that it has")

    def add(self, k: int, fields: list[str]) -> None:
        """One more row."""
        if len(fields) != self.count:
            what = f"has {len(fields)} columns, but the first has {self.count}"
            raise Off(k, what, "write as many as there, leaving gaps empty")
        try:
            if self.user is not None:
                label = self.labels.read([fields[self.user]])[0]
                if label in self.users:
                    raise Off(k, f"has user {fields[self.user]!r} again", "give each one line")
                self.users[label] = fields[self.user].strip()
            texts = [fields[at] for at in self.kept]
            seen = [at for at, text in enumerate(texts) if text.strip().lower() not in _GAPS]
            row = np.full(len(texts), np.nan)
            row[seen] = self.numbers.read([texts[at] for at in seen])
        except Off as off:
            raise Off(k, off.what, off.remedy) from None
        self.rows.append(row)

    def user_labels(self) -> np.ndarray:
        """Those of the rows, in their order."""
        if self.user is None:
            return np.arange(len(self.rows))
        if self.labels.whole:
            return np.array(list(self.users), np.int64)
        return np.array(list(self.users.values()), object)

    def _item_labels(self) -> np.ndarray:
        """Those of the columns, in their order: names, or places among all columns."""
        if self.names is None:
            return np.array(self.kept)
        labels = [self.names[k] for k in self.kept]
        if len(set(labels)) < len(labels):
            twice = next(name for name in labels if labels.count(name) > 1)
            raise Off(0, f"has two columns {twice!r}", "give each item one")
        return np.array(labels, object)
