"""The command `gradflow explore`."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gradflow._util.misuse import Misuse
from gradflow._util.terminal import parse, see_outputs


@dataclass
class Explore:
    """Write stored trajectories as one page, to be explored in a browser without a network."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """What `Trajectory.save` wrote; several runs share the page."""
    html: Path
    """The page."""
    moments: int = 200
    """The most moments of a run that the page has."""
    title: str | None = None
    """The page's heading; by default what ran."""


def explore(words: list[str]) -> int:
    """Write stored trajectories as one page, to be explored in a browser without a network."""
    asked = parse(Explore, words, "gradflow explore")
    from gradflow.plotting.explorer import save_html
    from gradflow.plotting.explorer_runs import MOST_RUNS
    from gradflow.trajectory import Trajectory

    if not asked.files:
        raise Misuse("name a stored trajectory, as in `gradflow explore run.nc --html run.html`.")
    if len(asked.files) > MOST_RUNS:
        raise Misuse(
            f"{len(asked.files)} files are more than one page can tell apart; name at most "
            f"{MOST_RUNS}."
        )
    twice = [
        name for name, count in Counter(map(os.path.realpath, asked.files)).items() if count > 1
    ]
    if twice:
        raise Misuse(f"{twice[0]} is named twice; name each file once.")
    see_outputs({"--html": asked.html}, {str(path): path for path in asked.files})
    runs = []
    for path in asked.files:
        try:
            runs.append(Trajectory.load(path))
        except ValueError as error:
            raise Misuse(
                f"{path} is no whole trajectory that gradflow stored ({error.__cause__}); name a "
                "file that `Trajectory.save` wrote."
            ) from error
        except OSError as error:
            raise Misuse(str(error)) from error
    try:
        labelled = dict(zip(labels(asked.files), runs, strict=True))
        page = runs[0] if len(runs) == 1 else labelled
        save_html(page, asked.html, moments=asked.moments, title=asked.title)
    except (ValueError, OSError) as error:
        raise Misuse(str(error)) from error
    size = asked.html.stat().st_size / 1e6
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    print(f"wrote {asked.html} ({count}, {size:.1f} MB)")
    return 0


def labels(files: Sequence[Path]) -> list[str]:
    """Names of files without their folders and suffix, as far as these tell them apart.

    Example:
      >>> labels([Path("a/run.nc"), Path("b/run.nc")]), labels([Path("a/x.nc"), Path("a/y.nc")])
      (['a/run.nc', 'b/run.nc'], ['x', 'y'])
    """
    for short in (lambda path: path.stem, lambda path: path.name, str):
        found = [short(path) for path in files]
        if len(set(found)) == len(found):
            return found
    return [os.path.realpath(path) for path in files]
