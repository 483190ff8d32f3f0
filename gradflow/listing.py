"""The command `gradflow list`: what both engines have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gradflow._util.misuse import Misuse
from gradflow._util.terminal import console, parse
from gradflow.sweeps.commands import OUT, all_experiments


@dataclass
class List:
    """List all experiments and claims."""

    what: Annotated[Literal["all", "experiments", "claims"], tyro.conf.Positional] = "all"
    """Which."""
    out: Path = OUT
    """Folder of the experiments' results."""
    module: Path | None = None
    """A Python file with experiments (or claims) of your own."""


def list_all(words: list[str]) -> int:
    """List all experiments and claims."""
    asked = parse(List, words, "gradflow list")
    out = console()
    if asked.what != "claims":
        from gradflow.sweeps.tables import experiments_table

        out.print(experiments_table(all_experiments(asked.module), asked.out))
    if asked.what != "experiments":
        from gradflow.claims.report.terminal import registered_listing

        try:
            table = registered_listing(None if asked.what == "all" else asked.module)
        except ValueError as error:
            raise Misuse(str(error)) from error
        out.print(table)
    return 0
