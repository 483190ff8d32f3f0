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
