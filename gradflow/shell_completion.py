"""The command `gradflow completion`, and what a shell asks for at each press of the tab key."""

import importlib
from dataclasses import Field, dataclass, fields
from typing import Annotated, Literal

import tyro

from gradflow._util.terminal import parse
from gradflow.catalogue import catalogue
from gradflow.commands import COMMANDS

_ASK = 'gradflow complete "${COMP_WORDS[@]:1:COMP_CWORD-1}"'
_BASH = f"""\
_gradflow() {{
  COMPREPLY=($(compgen -W "$({_ASK} 2>/dev/null)" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _gradflow gradflow
"""
_SCRIPTS = {
    "bash": _BASH,
    "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}",
    "fish": "complete -c gradflow -a '(gradflow complete (commandline -opc)[2..])'\n",
}


@dataclass
class Completion:
    """Print the lines that teach a shell this command's words."""

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]
    """Which; `source <(gradflow completion bash)` in its start file."""


def completion(words: list[str]) -> int:
    """Print the lines that teach a shell this command's words."""
    print(_SCRIPTS[parse(Completion, words, "gradflow completion").shell], end="")
    return 0


def complete(words: list[str]) -> int:
    """Print what may come after these words, one a line; the shell leaves out what does not fit."""
    print("\n".join(candidates(words)))
    return 0


def candidates(words: list[str]) -> list[str]:
    """What may come after the words of a command line that is being written.

    Example:
      >>> "--quick" in candidates(["run", "razin2020.fig1"]), candidates(["no such command"])
      (True, [])
    """
    if not words:
        return sorted(COMMANDS)
    if words[0] not in COMMANDS:
        return []
    if words[0] == "completion":
        return list(_SCRIPTS) if len(words) == 1 else []
    module, _, name = COMMANDS[words[0]].options.partition(":")
    kind = getattr(importlib.import_module(module), name)
    options = [f"--{one.name.replace('_', '-')}" for one in fields(kind) if not _positional(one)]
    return [*_ids(COMMANDS[words[0]].takes), *options]


def _positional(field: Field) -> bool:
    return tyro.conf.Positional in getattr(field.type, "__metadata__", ())


def _ids(kinds: tuple[str, ...]) -> list[str]:
    """Ids of claims or experiments, and the papers that they begin with."""
    there = catalogue()
    found = [one.id for kind in kinds for one in getattr(there, kind)]
    return [*dict.fromkeys(id.partition(".")[0] for id in found), *found]
