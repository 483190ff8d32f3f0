"""The commands on claims: `gradflow check` and `gradflow report`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gradflow._util.misuse import Misuse
from gradflow.claims.registry import load_file, load_papers, registered

if TYPE_CHECKING:
    from rich.console import Console

    from gradflow.claims.definition import Claim
    from gradflow.claims.report.page import Row


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
    """Write the ledger as one HTML page."""
    pictures: Path | None = None
    """Folder for pictures; by default that of the HTML or JSON file, or results."""
    module: Path | None = None
    """A Python file with claims of your own."""
    jobs: int | None = None
    """Processes; as many as cores by default."""
    precision: Literal["float64", "float32"] = "float64"
    """Arithmetic; in float32 every verdict is inconclusive."""


@dataclass
class Report:
    """Write the ledger as one HTML page that works offline."""

    html: Path = Path("results/theorems.html")
    """The page."""
    ledger: Path | None = None
    """The verdicts, as `gradflow check --json` stored them; without it, all claims are checked."""
    full: tyro.conf.FlagCreatePairsOff[bool] = False
    """More and larger cases, if claims are checked."""
    seed: int = 0
    """For every random choice, if claims are checked."""
    summary: Path | None = None
    """Also put the table of verdicts between the marks of this Markdown page."""


def check(words: list[str]) -> int:
    """Check claims and their negative controls, and print a verdict for each.

    The status is 0 if every verdict was reached, 1 if a check crashed or a control did not fail.
    """
    command = tyro.cli(Check, args=words, prog="gradflow check")
    import jax

    from gradflow.claims.registry import select

    jax.config.update("jax_enable_x64", command.precision == "float64")
    _load(command.module)
    if command.quick and command.full:
        raise Misuse("give --quick or --full, not both.")
    for path in (command.json, command.html):
        if path is not None and not path.resolve().parent.is_dir():
            raise Misuse(f"the folder {path.parent} does not exist; create it first.")
    try:
        chosen = select(list(command.ids))
    except ValueError as error:
        raise Misuse(str(error)) from error
    return _check(command, chosen, _console())


def report(words: list[str]) -> int:
    """Write the ledger as one HTML page that works offline."""
    command = tyro.cli(Report, args=words, prog="gradflow report")
    import jax

    jax.config.update("jax_enable_x64", True)
    _load(None)
    return _report(command, _console())


def _load(module: Path | None) -> None:
    try:
        load_papers()
        if module is not None:
            load_file(module)
    except ValueError as error:
        raise Misuse(str(error)) from error


def _console() -> "Console":
    from rich.console import Console

    return Console()


def _check(command: Check, chosen: "list[Claim]", console: "Console") -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from gradflow._util.processes import compile_quickly, cores
    from gradflow.claims import pool as workers
    from gradflow.claims.definition import Settings
    from gradflow.claims.report import page, pictures
    from gradflow.claims.report import terminal as report

    try:
        settings = Settings(full=command.full, seed=command.seed, quick=command.quick)
    except ValueError as error:
        raise Misuse(str(error)) from error
    if not command.full:
        compile_quickly()
    jobs = cores() if command.jobs is None else command.jobs
    if jobs < 1:
        raise Misuse(f"--jobs must be at least 1, but it is {jobs}.")
    with Progress(
        TextColumn("checking claims"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=len(chosen))

        def on_progress(row: workers.Row) -> None:
            bar.advance(task)
            bar.console.print(f"{row['id']}: {row['verdict']} ({row['seconds']:.1f} s)")

        draw = command.precision == "float64"
        rows, drawn = workers.check_all(chosen, settings, jobs, command.module, on_progress, draw)
    console.print(report.table(rows))
    report.details(rows, console)
    if command.json is not None:
        report.write_json(rows, command.json)
    if drawn:
        folder = command.pictures or _beside(command.html or command.json)
        for file in pictures.save(drawn, folder):
            console.print(f"Picture: {file}")
    if command.html is not None:
        page.write_page(rows, command.html, drawn)
        console.print(f"Report: {command.html}")
    return 0 if all(report.sound(row) for row in rows) else 1


def _report(command: Report, console: "Console") -> int:
    from gradflow.claims.registry import select
    from gradflow.claims.report import page, pictures

    status, ledger = 0, command.ledger
    if ledger is not None and not ledger.is_file():
        raise Misuse(f"there is no file {ledger}; `gradflow check --json {ledger}` makes it.")
    if command.summary is not None and not command.summary.is_file():
        raise Misuse(f"there is no file {command.summary}.")
    command.html.resolve().parent.mkdir(parents=True, exist_ok=True)
    if ledger is None:
        ledger = command.html.with_suffix(".json")
        asked = Check(full=command.full, seed=command.seed, json=ledger, html=command.html)
        status = _check(asked, select([]), console)
        rows = json.loads(ledger.read_text(encoding="utf-8"))
    else:
        try:
            rows = json.loads(ledger.read_text(encoding="utf-8"))
            page.write_page(rows, command.html, pictures.draw(_known(rows)))
        except (ValueError, KeyError, TypeError) as error:
            raise Misuse(f"{ledger} is no ledger of `gradflow check --json`: {error!r}") from error
        console.print(f"Report: {command.html}")
    if command.summary is not None:
        page.write_summary(rows, command.summary)
    return status


def _known(rows: "list[Row]") -> "list[Claim]":
    """The claims of stored rows, as far as there still are such."""
    known = registered()
    return [known[row["id"]] for row in rows if row["id"] in known]


def _beside(path: Path | None) -> Path:
    return Path("results") if path is None else path.resolve().parent
