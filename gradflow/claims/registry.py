"""Where the claims are: the papers' packages, and files of one's own."""

import itertools
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from gradflow._util.plugins import papers, run_module
from gradflow._util.words import beginnings, meant
from gradflow.claims.definition import Claim, defined
from gradflow.claims.paper import Paper


@cache
def load_papers() -> dict[str, Paper]:
    """Import the papers' packages, which registers their claims; by key, in order of years.

    Raises:
      ValueError: if a package has no `PAPER` that is called as itself.
    """
    found = {}
    for module in papers("theory_checks"):
        name = module.__name__.rpartition(".")[2]
        paper = getattr(module, "PAPER", None)
        if not isinstance(paper, Paper) or paper.key != name:
            raise ValueError(
                f"{module.__file__} must set PAPER = Paper({name!r}, ...), but it is {paper}."
            )
        found[name] = paper
    return found


def load_file(path: Path | str) -> None:
    """Run a Python file that registers claims; a second time does nothing.

    Raises:
      ValueError: if it does not exist or is not a Python file.
    """
    run_module(path, "claims")


def registered() -> dict[str, Claim]:
    """All claims by id: the papers' in their order, then others in that of their definition."""
    listed = [made.id for paper in load_papers().values() for made in paper.claims]
    place = dict(zip(listed, itertools.count(), strict=False))

    def key(id: str) -> tuple[int, bool]:
        printed = id.removesuffix(".corrected")
        return place.get(printed, len(place)), id != printed

    return {id: made for id, made in sorted(defined().items(), key=lambda item: key(item[0]))}


def select(patterns: list[str]) -> list[Claim]:
    """Claims by id or prefix (`razin2020`, `razin2020.thm1`), in the ledger's order; all if empty.

    Raises:
      ValueError: if a pattern matches nothing; it names near ones.
    """
    known = registered()
    for pattern in patterns:
        if not any(_matches(id, pattern) for id in known):
            hint = _hint(pattern, known)
            raise ValueError(
                f"there is no claim {pattern!r}{hint} `gradflow list claims` shows all."
            )
    return [
        made
        for id, made in known.items()
        if not patterns or any(_matches(id, pattern) for pattern in patterns)
    ]


def _hint(pattern: str, known: Iterable[str]) -> str:
    """What a pattern that matches nothing may be a slip of: an id, a prefix, or a paper's name.

    A label alone, such as lem5, is meant as that of some paper.
    """
    labels = beginnings(known)
    same = [id for id in labels if id.partition(".")[2] == pattern]
    if same:
        return f"; did you mean {' or '.join(same)}?"
    return meant(pattern, labels if "." in pattern else load_papers(), most=3)


def _matches(id: str, pattern: str) -> bool:
    return id == pattern or id.startswith(pattern.rstrip(".") + ".")
