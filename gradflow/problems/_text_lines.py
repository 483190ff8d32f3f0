"""Text files, some megabytes at a time, strictly decoded and cut into lines."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gradflow._util.annotations import Checked

_BLOCK = 1 << 22  # bytes
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_MARK = "\ufeff"


class Lines(NamedTuple):
    """Some lines of a file, none of them blank.

    Attributes:
      path: of the file.
      numbers: of the lines, from 1.
      texts: the lines, without their ends.
    """

    path: Path
    numbers: Any
    texts: list[str]

    def without_first(self) -> "Lines":
        """All but the first line."""
        return Lines(self.path, self.numbers[1:], self.texts[1:])


class Off(Exception):
    """What is off in one of some lines, and the remedy."""

    def __init__(self, index: int, what: str, remedy: str):
        super().__init__(what)
        self.index, self.what, self.remedy = index, what, remedy

    def at(self, lines: Lines) -> ValueError:
        """The error for the user."""
        return refused(lines.path, lines.numbers[self.index], self.what, self.remedy)


def refused(path: Path, number: int, what: str, remedy: str) -> ValueError:
    """The error that names a line and the remedy."""
    return ValueError(f"{path}, line {number} {what}; {remedy}.")


def lines_of(path: Path, encoding: Checked[str | None], longest: int) -> Iterator[Lines]:
    """The lines of a text file that are not blank, in portions.

    Args:
      path: the file; one that ends in .gz is unpacked.
      encoding: of the text; None for that of its byte order mark or, without one, UTF-8.
      longest: the most characters of a line.

    Raises:
      ValueError: if a line is longer, or is no text in this encoding.
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    number, rest, begun = 1, "", False
    with opened(path, "rb") as file:
        raw = _read(path, file)
        decoder = _decoder(path, raw, encoding)
        while True:
            try:
                text = rest + decoder.decode(raw, final=not raw)
            except UnicodeError as error:
                raise _undecoded(path, number + rest.count("\n"), error, encoding) from error
            if not begun and text:  # decoders leave the mark where an encoding is named
                text, begun = text.removeprefix(_MARK), True
            texts = text.split("\n")
            rest = texts.pop() if raw else ""
            portion = _not_blank(path, number, texts, longest)
            number += len(texts)
            if portion.texts:
                yield portion
            if len(rest) > longest:
                raise _too_long(path, number, longest)
            if not raw:
                return
            raw = _read(path, file)


def _read(path: Path, file: Any) -> bytes:
    try:
        return file.read(_BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); fetch it again.") from error


def _decoder(path: Path, raw: bytes, encoding: Checked[str | None]) -> Any:
    if encoding is None:
        encoding = next((name for bom, name in _BOMS if raw.startswith(bom)), "utf-8")
    try:
        made = codecs.getincrementaldecoder(encoding)("strict")
        if not isinstance(made.decode(b""), str):
            raise LookupError(encoding)
    except (LookupError, TypeError) as error:
        raise ValueError(
            f"encoding must be the name of a text encoding, such as 'latin-1', but it is "
            f"{encoding!r}, for {path}."
        ) from error
    return io.IncrementalNewlineDecoder(made, translate=True)


def _not_blank(path: Path, number: int, texts: list[str], longest: int) -> Lines:
    numbers: Any = range(number, number + len(texts))
    if max(map(len, texts), default=0) > longest:
        k = next(k for k, text in enumerate(texts) if len(text) > longest)
        raise _too_long(path, number + k, longest)
    if "\0" in "".join(texts):
        k = next(k for k, text in enumerate(texts) if "\0" in text)
        remedy = "name the file's encoding, such as 'utf-16-le'"
        raise refused(path, number + k, "has characters that are no text (zeros)", remedy)
    if any(_MARK in text for text in texts):
        k = next(k for k, text in enumerate(texts) if _MARK in text)
        remedy = "take it away, as where files were put together"
        raise refused(path, number + k, "has a byte order mark within the file", remedy)
    if "" in texts or any(map(str.isspace, texts)):
        numbers = [n for n, text in zip(numbers, texts, strict=True) if text.strip()]
        texts = [text for text in texts if text.strip()]
    return Lines(path, numbers, texts)


def _too_long(path: Path, number: int, longest: int) -> ValueError:
    return refused(path, number, f"has more than {longest} characters", "give one rating a line")


def _undecoded(
    path: Path, number: int, error: UnicodeError, encoding: Checked[str | None]
) -> ValueError:
    if isinstance(error, UnicodeDecodeError):
        number += bytes(error.object[: error.start]).count(b"\n")
    reason = getattr(error, "reason", str(error))
    if encoding is not None:
        return refused(
            path, number, f"is no text in {encoding} ({reason})", "give another encoding"
        )
    remedy = "save the file in that encoding, or name its own, such as encoding='latin-1'"
    return refused(path, number, f"is no text in UTF-8 ({reason})", remedy)
