"""Columns of a file of ratings, from texts to numbers: what is not surely one is refused."""

import math
import re

import numpy as np

from gradflow.problems._text_lines import Off

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"(0|[1-9]\d*)(\.0*)?", re.ASCII)
_COUNT = re.compile(r"(\d+)(\.0*)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?Z?)?", re.ASCII)
_NOBODY = frozenset({"", "nan", "inf", "infinity", "null", "none", "na", "n/a", "<na>", "\\n"})
LARGEST = 2**63 - 1
_MANY = 200_000  # texts that are remembered
_LONGEST = 1000  # characters of a label


def _plain_numbers(texts: list[str]) -> np.ndarray | None:
    """Whole numbers, if all are written as digits alone and none begins with 0; else None."""
    together = "\n" + "\n".join(texts) + "\n"
    if "\n\n" in together or "\n0" in together:
        return None
    digits = together.replace("\n", "")
    if not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return np.fromiter(map(int, texts), np.int64, len(texts))
    except (OverflowError, ValueError):  # of too many digits
        return None


class Labels:
    """Users or items: all whole numbers, or all texts that are no numbers, as the first says.

    Args:
      role: "user" or "item".
      as_text: whether labels are taken as they are written, whatever they look like.
    """

    def __init__(self, role: str, as_text: bool):
        self.role, self.as_text = role, as_text
        self.whole: bool | None = False if as_text else None
        self._numbers: dict[str, int] = {}
        self._of_text: dict[str, int] = {}

    def read(self, texts: list[str]) -> np.ndarray:
        """A number for each label: itself, or the one that stands for a text until `sorted`."""
        if self.whole and (plain := _plain_numbers(texts)) is not None:
            return plain
        known = self._of_text
        if self.whole and len(known) > _MANY:
            known.clear()
        for k, text in enumerate(texts):
            if text not in known:
                label = self._label(k, text.strip())
                if isinstance(label, str):
                    label = self._numbers.setdefault(label, len(self._numbers))
                known[text] = label
        return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))

    def sorted(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `read` gave as places among the labels, and the labels, rising.

        Args:
          found: the numbers of all labels, in whatever order.
        """
        if self.whole:
            labels, places = np.unique(found, return_inverse=True)
            return places.reshape(-1), labels
        texts = np.array(list(self._numbers), object)
        order = np.argsort(texts, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        return place[found], texts[order]

    def _label(self, k: int, word: str) -> int | str:
        if word.lower().lstrip("+-") in _NOBODY:
            raise Off(k, f"has {self.role} {word!r}, which is none", "write one, or drop the line")
        if len(word) > _LONGEST or "\0" in word:
            raise Off(k, f"has {self.role} {word[:40]!r}...", "write a label of letters and digits")
        number = _WHOLE.fullmatch(word)
        is_number = NUMBER.fullmatch(word) is not None
        if self.whole is None:
            self.whole = is_number
        if not self.whole:
            if is_number and not self.as_text:
                what = f"has {self.role} {word[:40]!r}, a number, where the first one was none"
                raise Off(k, what, "mend that one, or pass ids='text' to take all as texts")
            return word
        if number is None:
            what = f"has {self.role} {word[:40]!r}, which is no whole number like the others"
            raise Off(k, what, "write one from 0 on, or pass ids='text' to take all as texts")
        label = int(number[1])
        if label > LARGEST:
            what = f"has {self.role} {word[:40]}, which is above {LARGEST}"
            raise Off(k, what, "pass ids='text' to take all as texts")
        return label


class Numbers:
    """Ratings: finite numbers, few of which differ."""

    def __init__(self) -> None:
        self._of_text: dict[str, float] = {}

    def read(self, texts: list[str]) -> np.ndarray:
        """The numbers that are written."""
        known = self._of_text
        if not known.keys() >= set(texts):
            if len(known) > _MANY:
                known.clear()
            for k, text in enumerate(texts):
                if text not in known:
                    known[text] = self._number(k, text.strip())
        return np.fromiter(map(known.__getitem__, texts), float, len(texts))

    def _number(self, k: int, word: str) -> float:
        number = float(word) if NUMBER.fullmatch(word) else math.nan
        if math.isfinite(number):
            return number
        what = f"has rating {word[:40]!r}, which is no number"
        remedy = "write a finite one"
        if re.fullmatch(r"[+-]?\d+,\d+", word):
            remedy = "write it with a point"
        raise Off(k, what, remedy)


class Times:
    """Timestamps: whole numbers, or dates, which become seconds since 1970; not both."""

    def __init__(self) -> None:
        self._dates: bool | None = None
        self._of_text: dict[str, int] = {}

    def read(self, texts: list[str]) -> np.ndarray:
        """The seconds that are written."""
        if self._dates is None and texts:
            self._dates = _DATE.fullmatch(texts[0].strip()) is not None
        if not self._dates and (plain := _plain_numbers(texts)) is not None:
            return plain
        known = self._of_text
        if len(known) > _MANY:
            known.clear()
        for k, text in enumerate(texts):
            if text not in known:
                known[text] = self._seconds(k, text.strip())
        return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))

    def _seconds(self, k: int, word: str) -> int:
        try:
            if self._dates and _DATE.fullmatch(word):
                return int(np.datetime64(word.rstrip("Z").replace(" ", "T"), "s").astype(np.int64))
            number = None if self._dates else _COUNT.fullmatch(word)
            if number is not None and int(number[1]) <= LARGEST:
                return int(number[1])
        except ValueError:  # the 30th of February
            pass
        what = f"has timestamp {word[:40]!r}, which is no {'date' if self._dates else 'number'}"
        wanted = "a date such as 2005-09-06" if self._dates else "whole seconds since 1970"
        raise Off(k, what, f"write {wanted} like the others, or pass timestamp=False")
