"""The command `gradflow`.

Nothing but this file and the commands' names is read before the environment is set, since that
must happen before JAX is imported.
"""

import importlib
import os
import sys
from typing import NoReturn

from gradflow._util.misuse import Misuse

# One BLAS thread, before JAX starts: threads make the SVD of small matrices hundreds of times
# slower. Compiled programs are kept for the next run.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(_CACHE, "gradflow", "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

COMMANDS = {
    "check": ("gradflow.claims.commands:check", "Check claims and their negative controls."),
    "compare": ("gradflow.sweeps.commands:compare", "Print a paper's statements beside ours."),
    "list": ("gradflow.listing:list_all", "List all experiments and claims."),
    "plot": ("gradflow.sweeps.commands:plot", "Draw an experiment's picture."),
    "report": ("gradflow.claims.commands:report", "Write the ledger as one HTML page."),
    "run": ("gradflow.sweeps.commands:run", "Run an experiment: only what is missing."),
    "status": ("gradflow.sweeps.commands:status", "Show what is done and what runs now."),
}
"""Each command by name: its function, which is imported when it is called, and what it does."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 if all went well, 1 if something failed, 2 on misuse."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--version"]:
        from gradflow import __version__

        print(f"gradflow {__version__}")
        sys.exit(0)
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        sys.exit(0 if words else 2)
    if words[0] not in COMMANDS:
        print(f"gradflow: there is no command {words[0]!r}.\n\n{_help()}", file=sys.stderr)
        sys.exit(2)
    module, _, function = COMMANDS[words[0]][0].partition(":")
    try:
        sys.exit(getattr(importlib.import_module(module), function)(words[1:]))
    except Misuse as error:
        print(f"gradflow: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("gradflow: stopped; what was finished is kept.", file=sys.stderr)
        sys.exit(130)


def _help() -> str:
    lines = ["usage: gradflow COMMAND [options]", "", "commands:"]
    lines += [f"  {name:9} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += ["", "`gradflow COMMAND --help` shows a command's options."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
