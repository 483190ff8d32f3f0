"""The commands on claims: `gradflow check`, `gradflow report` and `gradflow cite`."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gradflow._util.device import choose, see
from gradflow._util.misuse import Misuse, in_words
from gradflow._util.places import results
from gradflow._util.stopping import last_words
from gradflow._util.terminal import console as new_console
from gradflow._util.terminal import parse, see_folder, see_outputs, see_seed

if TYPE_CHECKING:
    from rich.console import Console

    from gradflow.claims.definition import Claim, Settings
    from gradflow.claims.pool import Checked
    from gradflow.claims.report.numbers import Row


@dataclass
class Check:
    """Check claims and their negative controls, and print a verdict for each."""

    ids: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Ids or prefixes (razin2020, razin2020.thm1); all claims if none is given."""
    quick: tyro.conf.FlagCreatePairsOff[bool] = False
    """Without the largest cases: real ratings, some depths at 100 x 100, some long arithmetic."""
    full: tyro.conf.FlagCreatePairsOff[bool] = False
    """More and larger cases."""
    seed: int = 0
    """For every random choice."""
    json: Path | None = None
    """Write the ledger as JSON."""
    html: Path | None = None
    """Write the ledger to read, an index and a page for each claim, as one HTML file."""
    pictures: Path | None = None
    """Folder for pictures; by default that of the HTML or JSON file, or results."""
    module: Path | None = None
    """A Python file with claims of your own."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Where to compute; on a card one process checks all."""
    jobs: int | None = None
    """Processes on a CPU; as many as cores by default."""
    precision: Literal["float64", "float32"] = "float64"
    """Arithmetic; in float32 every verdict is inconclusive."""


@dataclass
class Report:
    """Write the ledger to read, as one HTML file: an index, and a page for each claim.

    `gradflow check IDS --html PAGE` writes that of some claims alone.
    """

    html: Path = field(default_factory=lambda: results() / "theorems.html")
    """The file."""
    ledger: Path | None = None
    """The verdicts, as `gradflow check --json` stored them; without it, all claims are checked."""
    full: tyro.conf.FlagCreatePairsOff[bool] = False
    """More and larger cases, if claims are checked."""
    seed: int = 0
    """For every random choice, if claims are checked."""
    summary: Path | None = None
    """Also put the table of verdicts between the marks of this Markdown page."""


@dataclass
class Cite:
    """Print what to cite for claims: the paper, and the check."""

    ids: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Ids or prefixes (razin2020.thm1)."""
    ledger: Path | None = None
    """Also print the verdicts, as `gradflow check --json` stored them."""
    module: Path | None = None
    """A Python file with claims of your own."""


def check(words: list[str]) -> int:
    """Check claims and their negative controls, and print a verdict for each.

    The status is 0 if every verdict was reached, 1 if a check crashed or a control did not fail.
    """
    command = parse(Check, words, "gradflow check")
    see_seed(command.seed)
    if command.jobs is not None and command.jobs < 1:
        raise Misuse(f"--jobs must be at least 1, but it is {command.jobs}.")
    if command.device != "cpu" and (command.jobs or 1) > 1:
        raise Misuse(
            f"--jobs is {command.jobs}, but on a {command.device} one process checks all; leave it "
            "away, or choose --device cpu."
        )
    if command.quick and command.full:
        raise Misuse("give --quick or --full, not both.")
    see_outputs({"--json": command.json, "--html": command.html}, {"--module": command.module})
    see_folder("--pictures", command.pictures or _beside(command.html or command.json))
    _start(command)
    from gradflow.claims.registry import select

    _load(command.module)
    try:
        chosen = select(list(command.ids))
    except ValueError as error:
        raise Misuse(str(error)) from error
    return _check(command, chosen, new_console())[0]


def _start(command: Check) -> None:
    """Choose device and precision, before anything is computed."""
    import jax

    choose(command.device)
    jax.config.update("jax_enable_x64", command.precision == "float64")
    if command.device == "cpu":
        return
    try:
        see(command.device)
    except RuntimeError as error:
        raise Misuse(str(error)) from error


def report(words: list[str]) -> int:
    """Write the ledger to read, as one HTML file: an index, and a page for each claim."""
    command = parse(Report, words, "gradflow report")
    from gradflow.claims.report import summary

    see_seed(command.seed)
    if command.ledger is not None and not command.ledger.is_file():
        raise Misuse(
            f"there is no file {command.ledger}; `gradflow check --json {command.ledger}` makes it."
        )
    outputs = {"--html": command.html, "--summary": command.summary}
    if command.ledger is None and _ordinary(command.html):
        outputs["the ledger beside the page"] = command.html.with_suffix(".json")
    try:
        if not command.html.exists():
            command.html.parent.mkdir(parents=True, exist_ok=True)
        if command.summary is not None:
            summary.see_summary(command.summary)
    except OSError as error:
        raise Misuse(in_words(error)) from error
    except ValueError as error:
        raise Misuse(str(error)) from error
    see_outputs(outputs, {"--ledger": command.ledger})
    import jax

    jax.config.update("jax_enable_x64", True)
    _load(None)
    return _report(command, new_console())


def cite(words: list[str]) -> int:
    """Print what to cite for claims: the paper, and the check."""
    command = parse(Cite, words, "gradflow cite")
    if not command.ids:
        raise Misuse("name a claim, as in `gradflow cite razin2020.thm1`.")
    from gradflow.claims.citation import citation, verdict_in_words
    from gradflow.claims.registry import select
    from gradflow.claims.report.stored import read_ledger

    _load(command.module)
    try:
        chosen = select(list(command.ids))
        rows = read_ledger(command.ledger) if command.ledger else []
    except (ValueError, OSError) as error:
        raise Misuse(str(error)) from error
    found = {row["id"]: row for row in rows}
    for k, made in enumerate(chosen):
        lines = citation(made)
        if made.id in found:
            lines.append(verdict_in_words(found[made.id]))
        elif command.ledger is not None:
            lines.append(f"Verdict: none of this claim in {command.ledger}.")
        print("\n" * (k > 0) + "\n".join(lines))
    return 0


def _load(module: Path | None) -> None:
    from gradflow.claims.registry import load_file, load_papers

    try:
        load_papers()
        if module is not None:
            load_file(module)
    except ValueError as error:
        raise Misuse(str(error)) from error


def _check(
    command: Check, chosen: "list[Claim]", console: "Console"
) -> "tuple[int, Sequence[Row]]":
    from gradflow._util.processes import compile_quickly
    from gradflow.claims.definition import Settings
    from gradflow.claims.report import page, pictures
    from gradflow.claims.report import terminal as report

    settings = Settings(full=command.full, seed=command.seed, quick=command.quick)
    if not command.full and command.device == "cpu":
        compile_quickly()
    kept = _Kept(chosen, command.json)
    rows, drawn = _verdicts(command, chosen, settings, console, kept)
    console.print(report.table(rows, console.width))
    report.details(rows, console)
    if command.json is not None:
        report.write_json(rows, command.json)
        kept.forget()
    if drawn:
        folder = command.pictures or _beside(command.html or command.json)
        for file in pictures.save(drawn, folder):
            console.print(f"Picture: {file}")
    if command.html is not None:
        page.write_page(rows, command.html, drawn)
        console.print(f"Report: {command.html}")
    return (0 if all(report.sound(row) for row in rows) else 1), rows


def _verdicts(
    command: Check,
    chosen: "list[Claim]",
    settings: "Settings",
    console: "Console",
    kept: "_Kept",
) -> "Checked":
    """Check claims under a bar, and keep what is finished, whatever may stop it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from gradflow._util.processes import cores
    from gradflow.claims.pool import check_all

    with (
        last_words(kept.told),
        Progress(
            TextColumn("checking claims"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as bar,
    ):
        task = bar.add_task("", total=len(chosen))

        def on_progress(row: dict[str, Any]) -> None:
            kept.add(row)
            bar.advance(task)
            bar.console.print(f"{row['id']}: {row['verdict']} ({row['seconds']:.1f} s)")

        draw, jobs = command.precision == "float64", command.jobs or cores()
        if command.device != "cpu":
            jobs = 1
        try:
            return check_all(chosen, settings, jobs, command.module, on_progress, draw)
        except RuntimeError as error:
            raise Misuse(f"{error} Before, {kept.told()}") from error


class _Kept:
    """The verdicts that were reached, in a file beside the ledger; a part must not take its place.

    The file is written with each verdict, so that it is there after a kill or a power cut too; a
    check that comes to its end takes it away.
    """

    def __init__(self, chosen: "list[Claim]", ledger: Path | None):
        self.order = {made.id: k for k, made in enumerate(chosen)}
        self.done: list[Row] = []
        self.place: Path | None = None
        if ledger is not None and _ordinary(ledger):
            self.place = ledger.with_name(f"{ledger.stem}.stopped.json")

    def add(self, row: "Row") -> None:
        from gradflow.claims.report.terminal import write_json

        self.done.append(row)
        if self.place is not None:
            # A disk that is full now need not be so at the end.
            with contextlib.suppress(OSError):
                write_json(sorted(self.done, key=lambda row: self.order[row["id"]]), self.place)

    def told(self) -> str:
        text = f"{len(self.done)} of {len(self.order)} claims were checked"
        if self.place is None or not self.done or not self.place.exists():
            return f"{text}."
        return f"{text}; their verdicts are in {self.place}."

    def forget(self) -> None:
        if self.place is not None:
            self.place.unlink(missing_ok=True)


def _report(command: Report, console: "Console") -> int:
    from gradflow.claims.registry import select
    from gradflow.claims.report import page, pictures, summary
    from gradflow.claims.report.stored import read_ledger

    status = 0
    if command.ledger is None:
        ledger = command.html.with_suffix(".json") if _ordinary(command.html) else None
        asked = Check(full=command.full, seed=command.seed, json=ledger, html=command.html)
        status, rows = _check(asked, select([]), console)
    else:
        try:
            rows = read_ledger(command.ledger)
        except ValueError as error:
            raise Misuse(str(error)) from error
        page.write_page(rows, command.html, pictures.draw(_known(rows)))
        console.print(f"Report: {command.html}")
    if command.summary is not None:
        summary.write_summary(rows, command.summary)
    return status


def _known(rows: "Sequence[Row]") -> "list[Claim]":
    """The claims of stored rows, as far as there still are such."""
    from gradflow.claims.registry import registered

    known = registered()
    return [known[row["id"]] for row in rows if row["id"] in known]


def _ordinary(path: Path) -> bool:
    """Whether a path is that of a file, and so has room beside it; not so a device."""
    return path.is_file() or not os.path.lexists(path)


def _beside(path: Path | None) -> Path:
    return results() if path is None or not _ordinary(path) else path.resolve().parent
