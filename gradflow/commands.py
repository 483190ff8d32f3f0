"""The commands by name: nothing is imported here, so that each costs only what it needs."""

from typing import NamedTuple


class Command(NamedTuple):
    """A command.

    Attributes:
      function: module and name of what is called with its words.
      options: module and name of the dataclass of its options.
      takes: what its words name, as in `gradflow.catalogue.Catalogue`.
      summary: what it does.
    """

    function: str
    options: str
    takes: tuple[str, ...]
    summary: str


def _of(module: str, name: str, takes: str, summary: str) -> Command:
    place = f"gradflow.{module}"
    kinds = tuple(takes.split())
    return Command(f"{place}:{name}", f"{place}:{name.capitalize()}", kinds, summary)


COMMANDS = {
    "check": _of("claims.commands", "check", "claims", "Check claims and their negative controls."),
    "cite": _of("claims.commands", "cite", "claims", "Print what to cite for a claim."),
    "compare": _of(
        "sweeps.commands", "compare", "experiments", "Print a paper's statements beside ours."
    ),
    "completion": _of(
        "shell_completion", "completion", "", "Print shell completion (bash, zsh, fish)."
    ),
    "explore": _of("plotting.commands", "explore", "", "Write trajectories as a page to explore."),
    "list": Command(
        "gradflow.listing:list_all",
        "gradflow.listing:List",
        ("experiments", "claims"),
        "List experiments and claims.",
    ),
    "plot": _of("sweeps.commands", "plot", "experiments", "Draw an experiment's picture."),
    "report": _of("claims.commands", "report", "", "Write the ledger as one HTML page."),
    "run": _of("sweeps.commands", "run", "experiments", "Run an experiment: only what is missing."),
    "status": _of("listing", "status", "experiments", "Show what is done and what runs now."),
}
ASKED_BY_SHELLS = {"complete": "gradflow.shell_completion:complete"}
