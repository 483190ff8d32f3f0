"""A checksum at the end of a file, compared before anything in the file is parsed.

HDF5 and zip know where their content ends and pass over what follows, so that a sealed file is
still a NetCDF or npz file for every reader. A damaged one can make such a reader loop or crash;
that is why the whole is compared first.
"""

import hashlib
from pathlib import Path

from gradflow._util.files import whole_file

_MARK = b"\x89\x93SEAL\r\n\x1a\n\xa7sha256\xb6"  # no text looks like it
_LENGTH = len(_MARK) + 64 + 1
_BLOCK = 1 << 20


class Damaged(ValueError):
    """A file that is not what was written."""


def write_sealed(path: str | Path, content: bytes) -> None:
    """Write a file and its seal, whole or not at all.

    Args:
      path: where to; its folder must exist.
      content: of a format that passes over what follows its end.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.write(_seal(hashlib.sha256(content).hexdigest()))


def see_seal(path: str | Path) -> bool:
    """Compare a file with its seal.

    Args:
      path: the file.

    Returns:
      Whether it has a seal; files of earlier versions have none.

    Raises:
      Damaged: if the two differ, or the seal itself is damaged.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "a"
      >>> write_sealed(path, b"content")
      >>> see_seal(path)
      True
      >>> path.write_bytes(path.read_bytes().replace(b"content", b"contenu"))
      90
      >>> see_seal(path)
      Traceback (most recent call last):
      gradflow._util.sealed.Damaged: its checksum differs
    """
    found, size = hashlib.sha256(), Path(path).stat().st_size
    with Path(path).open("rb") as file:
        left = max(size - _LENGTH, 0)
        while left and (block := file.read(min(left, _BLOCK))):
            found.update(block)
            left -= len(block)
        file.seek(max(size - _LENGTH, 0))
        last = file.read(_LENGTH)
        if last == _seal(found.hexdigest()):
            return True
        file.seek(max(size - 2 * _LENGTH, 0))
        if _was_sealed(file.read(2 * _LENGTH)):
            raise Damaged("its checksum differs")
    return False


def _seal(digest: str) -> bytes:
    return _MARK + digest.encode() + b"\n"


def _was_sealed(last: bytes) -> bool:
    """Whether a seal's mark, or most of it, stands at the end of a file, if perhaps cut off."""
    for at in range(len(last) - 3):
        here = last[at : at + len(_MARK)]
        same = sum(a == b for a, b in zip(here, _MARK, strict=False))
        if same > len(_MARK) / 2 or same == len(here):
            return True
    return False
