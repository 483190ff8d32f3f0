"""Files written whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there if all went well.

    A crash, a kill or a full disk leaves what was at `path` before.

    Args:
      path: where the file shall be; its folder must exist.

    Raises:
      FileNotFoundError: if the folder does not exist.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with whole_file(pathlib.Path(folder) / "a.txt") as temporary:
      ...         _ = temporary.write_text("all")
      ...     (pathlib.Path(folder) / "a.txt").read_text()
      'all'
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist; create it first.")
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    old = page.read_text(encoding="utf-8")
    if begin not in old or end not in old:
        raise ValueError(f"{page} lacks the lines {begin} and {end}, between which this text goes.")
    before, after = old.split(begin)[0], old.split(end)[1]
    with whole_file(page) as temporary:
        temporary.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
