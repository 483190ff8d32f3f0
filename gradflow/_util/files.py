"""Files written whole or not at all: one mechanism for all that writes where a user says."""

import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there if all went well.

    A crash, a kill or a full disk leaves what was at `path` before. A link stays a link: what it
    points to is replaced. A device stays a device: it is written to, once all is there.

    Args:
      path: where the file shall be; its folder must exist.
      durable: wait until the disk has it before what was there is given up.

    Raises:
      FileNotFoundError: if the folder does not exist.
      IsADirectoryError: if there is a folder at `path`.
      OSError: if what is there cannot be written to.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with whole_file(pathlib.Path(folder) / "a.txt") as temporary:
      ...         _ = temporary.write_text("all")
      ...     (pathlib.Path(folder) / "a.txt").read_text()
      'all'
    """
    path = Path(path)
    place = _place(path)
    if place is None:
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / path.name
            yield temporary
            _pour(temporary, path)
        return
    temporary = _beside(place)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        if place.is_file():
            shutil.copymode(place, temporary)
        os.replace(temporary, place)
    except OSError as error:  # a full disk does not say whose
        if error.filename is not None or error.errno is None:
            raise
        raise _told(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def see_writable(path: str | Path) -> None:
    """See that `whole_file` will be able to write to `path`; nothing is changed.

    Raises:
      OSError: that says what is in the way.
    """
    path = Path(path)
    place = _place(path)
    if place is None:
        if not os.access(path, os.W_OK):
            raise OSError(f"{path} cannot be written to; name another file.")
        return
    probe = _beside(place)
    try:
        probe.touch(exist_ok=False)
    except OSError as error:
        raise _told(path, error) from error
    finally:
        probe.unlink(missing_ok=True)


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two marks of a text file.

    Args:
      page: the file.
      begin: the first mark.
      end: the second.
      text: what shall stand there.

    Raises:
      ValueError: if the page lacks a mark.
    """
    before, after = around(page, begin, end)
    with whole_file(page) as temporary:
        temporary.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def around(page: Path, begin: str, end: str) -> tuple[str, str]:
    """What stands before one mark of a text file and after another one.

    Raises:
      ValueError: if the page lacks a mark.
    """
    old = page.read_text(encoding="utf-8")
    before, found, rest = old.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page} lacks the lines {begin} and {end}, between which this text goes.")
    return before, after


def _place(path: Path) -> Path | None:
    """The file behind all links; None if there is a device, which is written to where it is."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except OSError as error:
        raise _told(path, error) from error
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; name a file in it.")
    if mode is not None and (stat.S_ISBLK(mode) or stat.S_ISSOCK(mode)):
        raise OSError(f"{path} is a disk or a socket; name a file.")
    place = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist; create it first.")
    if not place.parent.is_dir():
        raise FileNotFoundError(
            f"{path} is a link to {place}, whose folder does not exist; create it first."
        )
    # Descriptors of this process look like files there, and nothing can be put beside them.
    system = [Path(os.path.realpath(path.parent)), place.parent]
    if any(str(folder) == "/dev" or folder.parts[:2] == ("/", "proc") for folder in system):
        return None
    return place if mode is None or stat.S_ISREG(mode) else None


def _beside(place: Path) -> Path:
    return place.with_name(f"{place.name[:40]}.{uuid.uuid4().hex}.part")


def _pour(temporary: Path, device: Path) -> None:
    """Write a file's content to a device, or a pipe that somebody reads."""
    try:
        number = os.open(device, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
        if hasattr(os, "O_NONBLOCK"):  # only opening must not wait for a reader
            os.set_blocking(number, True)
        with os.fdopen(number, "wb") as target, temporary.open("rb") as source:
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise _told(device, error) from error


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _told(path: Path, error: OSError) -> OSError:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    told = type(error)(f"{path} cannot be written to ({reason}); name another file.")
    told.errno = error.errno
    return told
