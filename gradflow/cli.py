"""The command `gradflow`.

Nothing but this file and the commands' names is read before the environment is set, since that
must happen before JAX is imported.
"""

import importlib
import io
import os
import sys
import threading
from typing import NoReturn

from gradflow._util.logs import listen
from gradflow._util.misuse import Misuse, in_words
from gradflow._util.places import cache
from gradflow._util.stopping import Stopped, stoppable
from gradflow._util.words import meant
from gradflow.commands import ASKED_BY_SHELLS, COMMANDS

# One BLAS thread, before JAX starts: threads make the SVD of small matrices hundreds of times
# slower. Compiled programs are kept for the next run.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache() / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    The code is 0 if all went well, 1 if something failed, 2 on misuse and where a file or the
    output cannot be written to, and 128 and the signal's number if a signal ended it.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # A command that computes elsewhere says so itself; the others leave a card to those that do.
    os.environ["JAX_PLATFORMS"] = "cpu"
    # Pictures and findings, too, are made of what was computed in float64.
    os.environ["JAX_ENABLE_X64"] = "1"
    _take_any_output()
    with stoppable() as taken:
        code, told = _code_of(words, taken)
    if told:
        print(f"gradflow: {' '.join(told.split())}", file=sys.stderr)
    sys.exit(code)


def _code_of(words: list[str], taken: threading.Event) -> tuple[int, str]:
    """Run a command: the exit code, and what to say of a mistake or a signal."""
    try:
        listen()
        code = _run(words)
        sys.stdout.flush()
    except Misuse as error:
        return 2, str(error)
    except Stopped as stop:
        taken.set()
        return stop.code, f"stopped; {stop.words}"
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
        _silence()
        return 128 + 13, ""
    except OSError as error:
        _silence()
        return 2, in_words(error)
    return code, ""


def _run(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from gradflow import __version__

        print(f"gradflow {__version__}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0 if words else 2
    if words[0] not in COMMANDS and words[0] not in ASKED_BY_SHELLS:
        hint = meant(words[0], COMMANDS)
        raise Misuse(f"there is no command {words[0]!r}{hint} `gradflow --help` shows all.")
    if text := _kept_help(words):
        print(text, end="")
        return 0
    place = ASKED_BY_SHELLS.get(words[0]) or COMMANDS[words[0]].function
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)(words[1:])


def _kept_help(words: list[str]) -> str:
    """What there is on `gradflow run ID --help`, without what the command itself imports."""
    command, *others = words
    ids = [word for word in others if word not in ("-h", "--help")]
    if command not in ("run", "plot", "compare") or len(others) != 2 or len(ids) != 1:
        return ""
    from gradflow.kept_help import kept_help

    return kept_help(command, ids[0])


def _take_any_output() -> None:
    """An encoding that lacks a character gets its number; a closed output gets nothing."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence() -> None:
    """Nothing more goes to an output that is closed or full: Python would try again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _help() -> str:
    lines = ["usage: gradflow COMMAND [options]", "", "commands:"]
    lines += [f"  {name:10} {command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "`gradflow COMMAND --help` shows a command's options."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
