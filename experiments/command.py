"""The command `gradflow`: commands come from the packages that register them as entry points.

It lives here because this package imports nothing by itself: the environment must be set before
JAX is imported.
"""

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import NoReturn

# One BLAS thread, before JAX starts: threads make the SVD of small matrices hundreds of times
# slower. Compiled programs are kept for the next run.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(_CACHE, "gradflow", "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

GROUP = "gradflow.commands"
Command = Callable[[list[str]], int]


class Misuse(Exception):
    """The command's words are off; the message names the remedy."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 if all went well, 1 if something failed, 2 on misuse."""
    words = sys.argv[1:] if arguments is None else arguments
    known = {point.name: point for point in entry_points(group=GROUP)}
    if words[:1] == ["--version"]:
        from gradflow import __version__

        print(f"gradflow {__version__}")
        sys.exit(0)
    if not words or words[0] in ("-h", "--help"):
        print(_help({name: point.load() for name, point in known.items()}))
        sys.exit(0 if words else 2)
    if words[0] not in known:
        print(f"gradflow: there is no command {words[0]!r}.\n", file=sys.stderr)
        print(_help({name: point.load() for name, point in known.items()}), file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(known[words[0]].load()(words[1:]))
    except Misuse as error:
        print(f"gradflow: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("gradflow: stopped; what was finished is kept.", file=sys.stderr)
        sys.exit(130)


def _help(commands: dict[str, Command]) -> str:
    lines = ["usage: gradflow COMMAND [options]", "", "commands:"]
    for name, command in sorted(commands.items()):
        summary = (command.__doc__ or "").strip().splitlines()[0]
        lines.append(f"  {name:9} {summary}")
    lines += ["", "`gradflow COMMAND --help` shows a command's options."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
