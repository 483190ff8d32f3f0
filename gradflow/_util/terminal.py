"""What the commands share on the terminal: words to options, a console, outputs seen beforehand."""

import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from gradflow._util.files import see_writable
from gradflow._util.misuse import Misuse
from gradflow._util.words import meant

if TYPE_CHECKING:
    from rich.console import Console


def parse(
    kind: Any, words: Sequence[str], prog: str, also: Iterable[str] = (), **options: Any
) -> Any:
    """`tyro.cli`, whose words on a mistake become one line.

    Args:
      kind: the dataclass of the options.
      words: of the command line.
      prog: the command, as its help names it.
      also: options that were taken before, and that a word may have been meant for.
      **options: of `tyro.cli`.

    Raises:
      Misuse: if the words are not as `kind` has them.
    """
    told = io.StringIO()
    try:
        with redirect_stderr(told):
            return tyro.cli(kind, args=list(words), prog=prog, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
    line = _line(told.getvalue())
    unknown = re.match(r"Unrecognized options: (--[\w-]+)", line)
    if unknown and "perhaps" not in line:
        line = line.removesuffix(".") + meant(unknown[1], also)
    raise Misuse(f"{line} `{prog} --help` shows the options.")


def console(**options: Any) -> "Console":
    """A console that prints what it is given: brackets in a text are no style."""
    from rich.console import Console

    return Console(markup=False, **options)


def see_outputs(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """See that all files can be written, before any work.

    Args:
      outputs: the files to write by option; None for one that is not asked for.
      inputs: files that are read, and that no output may take the place of.

    Raises:
      Misuse: if one cannot be written to, or two have one name.
    """
    taken = {_real(path): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        try:
            see_writable(path)
        except OSError as error:
            raise Misuse(f"{option}: {error}") from error
        if not path.exists() or path.is_file():
            other = taken.setdefault(_real(path), option)
            if other != option:
                raise Misuse(f"{other} and {option} are one file, {path}; name two.")


def see_folder(option: str, folder: Path) -> None:
    """See that a folder is there or can be made.

    Raises:
      Misuse: if something else is in its place.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise Misuse(f"{option}: {there} is no folder that can be written to; name another one.")


def see_seed(seed: int) -> None:
    """See that a random generator takes a seed.

    Raises:
      Misuse: if not.
    """
    from gradflow._util.validate import seed_of  # imports JAX

    try:
        seed_of("--seed", seed)
    except ValueError as error:
        raise Misuse(str(error)) from error


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _line(told: str) -> str:
    """The message in tyro's box, and what it takes for meant."""
    parts: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", told).splitlines()[1:]:  # the first is a title
        inside = line.strip("│╭╮╰╯ ")
        if inside.strip("─-"):
            parts[-1].append(inside)
        elif inside:
            parts.append([])
    said, *more = [part for part in parts if part] or [["the words are not understood"]]
    text = " ".join(said).rstrip(".")
    for part in more:
        if part[0].startswith("Perhaps you meant") and len(part) > 1:
            text += f"; perhaps you meant {part[1]}"
    return f"{text}."
