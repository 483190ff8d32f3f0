"""Everything that needs an accelerator, piece by piece, unattended: `make gpu`.

Each piece is a process of its own that ends within nine minutes; what is done is kept and not done
again, so that a run that was stopped goes on where it was. The most important pieces come first.
"""

import json as json_format
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from gradflow._util.files import whole_file

LIMIT = 530.0
"""Seconds for one piece."""
PAPERS = (
    "razin2020", "arora2019", "zhao2022", "wang2024", "razin2021", "razin2022", "saxe2014",
    "gidel2019", "woodworth2020", "kunin2024", "domine2025",
)  # fmt: skip
TESTS = {
    "tests-numbers": ("linalg", "penalties", "optimizers", "factorizations", "problems"),
    "tests-descent": ("descent",),
    "tests-baselines": ("baselines", "exact", "ode"),
}
EXPERIMENTS = (
    *(f"zhao2022.table{k}" for k in (1, 3, 4)),
    *("razin2020.fig2", "razin2020.fig6", "razin2021.components"),
    *(f"arora2019.fig{k}" for k in (4, 5, 6)),
)
"""Those that take a CPU many hours."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """Measure and check everything that needs an accelerator."""

    device: Literal["gpu", "tpu", "cpu"] = "gpu"
    """Where; "cpu" is to try this out."""
    scale: Literal["whole", "small"] = "whole"
    """Or all pieces in miniature, in some minutes."""
    minutes: float = 40.0
    """No piece begins later than this."""
    out: Path = Path("results/accelerator")
    """Folder of what is kept between calls."""
    json: Path | None = None
    """The file of all numbers; by default benchmarks/results/<device>.json; if small, in `out`."""
    pieces: tuple[str, ...] = ()
    """Only these."""


@dataclass(frozen=True)
class Piece:
    """A part of the work, as a command.

    Attributes:
      name: its own.
      words: what Python is given; "{file}" stands for the file that it writes.
      read: rows from that file and from what it said.
      codes: exit codes of a piece that came to its end.
      environment: variables for it.
    """

    name: str
    words: tuple[str, ...]
    read: Callable[[Path, str], Rows]
    codes: tuple[int, ...] = (0,)
    environment: dict[str, str] = field(default_factory=dict)


def pieces_of(options: Options) -> list[Piece]:
    """All pieces, the most important first."""
    device, small = options.device, options.scale == "small"
    measured = ("-m", "benchmarks.accelerator_pieces")
    asked = ("--device", device, "--scale", options.scale, "--json", "{file}")
    names = ("device", "precision", "recovery", "batch", "tiny", "spectra", "tables", "flows")
    found = [Piece(name, (*measured, name, *asked), rows_of) for name in names]
    for paper in ("razin2020.prop4",) if small else PAPERS:
        check = ("-m", "gradflow.cli", "check", paper, "--quick", "--json", "{file}", "--device")
        found.append(Piece(f"check-{paper}-on-cpu", (*check, "cpu"), verdicts, (0, 1)))
        if device != "tpu":
            found.append(Piece(f"check-{paper}", (*check, device), verdicts, (0, 1)))
    platform = {"JAX_PLATFORMS": {"gpu": "cuda,cpu"}.get(device, device), "JAXTYPING_DISABLE": "1"}
    tests = {"tests": ("linalg/test_products.py",)} if small else TESTS
    for name, places in tests.items():
        paths = [f"tests/gradflow/{place}" for place in places]
        words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *paths)
        found.append(Piece(name, words, told, (0, 1), platform))
    found.append(Piece("flow-batches", (*measured, "flow-batches", *asked), rows_of))
    for name in ("razin2020.fig1",) if small else EXPERIMENTS:
        stored = str(folder_of(options) / "experiments")
        where = ("--device", device, *(["--quick"] if small else []), "--out", stored)
        found.append(Piece(name, ("-m", "gradflow.cli", "run", name, *where), told))
    return found


def folder_of(options: Options) -> Path:
    """What is kept between calls on this device and scale."""
    return options.out / f"{options.device}-{options.scale}"


def rows_of(file: Path, said: str) -> Rows:
    """The rows that a piece wrote, all or those until it was stopped."""
    del said
    return json_format.loads(file.read_text())


def verdicts(file: Path, said: str) -> Rows:
    """The verdicts of a check; of one that was stopped, those that were reached."""
    del said
    stopped = file.with_name(f"{file.stem}.stopped.json")
    rows = json_format.loads((file if file.exists() else stopped).read_text())
    rows = rows["claims"] if isinstance(rows, dict) else rows
    return [{name: row[name] for name in ("id", "verdict", "seconds")} for row in rows]


def told(file: Path, said: str) -> Rows:
    """The last lines that a command printed."""
    del file
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return [{"said": line} for line in lines[-12:]]


def main(options: Options) -> int:
    """Do the pieces that are not done; returns the exit status: 1 if one failed."""
    began, wrong = time.monotonic(), 0
    folder = folder_of(options)
    (folder / "said").mkdir(parents=True, exist_ok=True)
    pieces = pieces_of(options)
    known = [piece.name for piece in pieces]
    if unknown := sorted(set(options.pieces) - set(known)):
        print(f"There is no piece {unknown[0]!r}; there are {', '.join(known)}.")
        return 2
    for piece in pieces:
        if options.pieces and piece.name not in options.pieces:
            continue
        if kept(folder, piece.name).get("status") == "done":
            print(f"{piece.name}: done before", flush=True)
            continue
        left = options.minutes * 60 - (time.monotonic() - began)
        if left <= 0:
            print(
                f"{piece.name}: left for the next call, since {options.minutes:g} minutes are over"
            )
            continue
        part = do(piece, folder, LIMIT)
        wrong += part["status"] == "failed"
        print(f"{piece.name}: {part['status']} after {part['seconds']:.0f} s", flush=True)
        write(options, folder, known)
        if piece.name == "device" and part["status"] != "done":
            print("\n".join(row["said"] for row in part["rows"]))
            return 2
    write(options, folder, known)
    return 1 if wrong else 0


def do(piece: Piece, folder: Path, limit: float) -> dict[str, Any]:
    """Run a piece to its end or its limit, and keep what came of it."""
    file, said = folder / f"{piece.name}.out.json", folder / "said" / f"{piece.name}.txt"
    words = [sys.executable, *(word.replace("{file}", str(file)) for word in piece.words)]
    began = time.monotonic()
    with said.open("w") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **piece.environment},
        )  # fmt: skip
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    status = "stopped" if code is None else "done" if code in piece.codes else "failed"
    text = said.read_text(errors="replace")
    try:
        rows = piece.read(file, text) if status != "failed" else told(file, text)
    except (OSError, ValueError, KeyError):
        rows, status = told(file, text), "failed" if status == "done" else status
    part = {"status": status, "seconds": round(time.monotonic() - began, 1), "rows": rows}
    _write(folder / f"{piece.name}.part.json", part)
    return part


def _end(process: subprocess.Popen) -> None:
    """End a process and all that it started: by a signal that lets it keep what it has, or two."""
    for word, patience in [(signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0)]:
        if process.poll() is None:
            os.killpg(process.pid, word)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue


def kept(folder: Path, name: str) -> dict[str, Any]:
    """What an earlier call kept of a piece."""
    file = folder / f"{name}.part.json"
    return json_format.loads(file.read_text()) if file.exists() else {}


def write(options: Options, folder: Path, names: Sequence[str]) -> None:
    """All numbers as one file, and a report that can be read."""
    parts = {name: part for name in names if (part := kept(folder, name))}
    about = next(iter(parts.get("device", {}).get("rows", [])), {})
    kind = re.sub(r"[^a-z0-9]+", "-", str(about.get("kind", options.device)).lower()).strip("-")
    default = folder if options.scale == "small" else Path("benchmarks/results")
    file = options.json or default / f"{kind}.json"
    content = {"benchmark": "accelerator", "scale": options.scale, **about, "pieces": parts}
    _write(file, content)
    (folder / "report.md").write_text(report(content))


def report(content: dict[str, Any]) -> str:
    """The numbers as Markdown; verdicts that differ between the devices come first."""
    parts = content["pieces"]
    lines = [f"# {content.get('kind', 'An accelerator')}", ""]
    lines += ["| piece | status | seconds |", "|--|--|--:|"]
    lines += [f"| {name} | {p['status']} | {p['seconds']:.0f} |" for name, p in parts.items()]
    lines += ["", "## Verdicts", "", *compared(parts)]
    for name, part in parts.items():
        if name.startswith("check-") or not part["rows"]:
            continue
        columns = list(dict.fromkeys(key for row in part["rows"] for key in row))
        lines += ["", f"## {name}", "", f"| {' | '.join(columns)} |", "|--" * len(columns) + "|"]
        for row in part["rows"]:
            lines.append(f"| {' | '.join(_shown(row.get(key, '')) for key in columns)} |")
    return "\n".join(lines) + "\n"


def compared(parts: dict[str, Any]) -> list[str]:
    """What the checks on the device say beside those on the CPU."""
    verdicts_of: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for name, part in parts.items():
        if name.startswith("check-") and part["status"] != "failed":
            found = {row["id"]: row["verdict"] for row in part["rows"] if "id" in row}
            verdicts_of[name.endswith("-on-cpu")] |= found
    on_cpu, here = verdicts_of[True], verdicts_of[False]
    both = sorted(on_cpu.keys() & here.keys())
    other = [
        f"- {id}: {here[id]}, on the CPU {on_cpu[id]}" for id in both if here[id] != on_cpu[id]
    ]
    return [f"{len(both)} claims on both; {len(other)} verdicts differ.", *other]


def _shown(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "/")


def _write(file: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, since a kill may come at any time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as place:
        place.write_text(json_format.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
