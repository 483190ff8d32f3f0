"""The commands on experiments: `gradflow run`, `plot`, `compare`."""

import io
import os
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gradflow._util.files import whole_file
from gradflow._util.misuse import Misuse, in_words
from gradflow._util.places import experiments
from gradflow._util.terminal import console as new_console
from gradflow._util.terminal import parse, see_outputs

if TYPE_CHECKING:
    from gradflow.sweeps.experiment import Experiment
    from gradflow.sweeps.results import Results

_CONF = (tyro.conf.FlagCreatePairsOff,)
HELP_COLUMNS = 80
"""Of the helps that the catalogue keeps."""


@dataclass
class _Which:
    id: Annotated[str, tyro.conf.Positional]
    """The experiment, such as razin2020.fig1; `gradflow list` shows all."""
    quick: bool = False
    """A smaller instance of the paper's own grid, which takes seconds to two minutes."""
    protocol: Literal["paper", "code"] = "paper"
    """As the paper says, or as the authors' code does."""
    out: Path = field(default_factory=experiments)
    """Folder of the results; GRADFLOW_HOME names another one for all commands."""
    precision: Literal["float64", "float32"] | None = None
    """Arithmetic of the runs; by default the experiment's own."""
    module: Path | None = None
    """A Python file with an experiment of your own."""

    @property
    def scale(self) -> Literal["quick", "paper"]:
        """As the library calls it."""
        return "quick" if self.quick else "paper"


@dataclass
class Run(_Which):
    """Run an experiment: only what is missing. Further options change its grid."""

    with_flow: bool = False
    """Also run the exact gradient flow from each descent's start."""
    device: Literal["cpu", "gpu", "tpu"] = "cpu"
    """Where to compute."""
    jobs: int | None = None
    """Processes on a CPU; as many as cores by default."""
    batch: int = 1024
    """The most runs that go side by side on an accelerator."""
    cluster: str | None = None
    """Address of a dask.distributed scheduler, such as tcp://10.0.0.1:8786."""


@dataclass
class Plot(_Which):
    """Draw an experiment's picture from the cells that have been run."""

    file: Path | None = None
    """The picture (PNG, PDF or SVG); by default OUT/<id>.png and .pdf."""


@dataclass
class Compare(_Which):
    """Put the paper's statements and numbers beside what came out here."""

    csv: Path | None = None
    """Also write the table of all cells."""
    markdown: Path | None = None
    """Also write the comparison as a Markdown table."""


def run(words: list[str]) -> int:
    """Run an experiment: only what is missing."""
    asked, experiment, grid = _parse(Run, words)
    from gradflow.sweeps import runner

    console = new_console(soft_wrap=True)
    if asked.out.is_dir():
        see_outputs({f"the picture {file}": file for file in _picture_files(asked)}, {})
    try:
        report = runner.run(
            asked.id,
            scale=asked.scale,
            protocol=asked.protocol,
            out=asked.out,
            grid=grid,
            precision=asked.precision,
            with_flow=asked.with_flow,
            device=asked.device,
            jobs=asked.jobs,
            batch=asked.batch,
            cluster=asked.cluster,
            module=asked.module,
        )
    except (ValueError, RuntimeError) as error:
        raise Misuse(str(error)) from error
    except OSError as error:
        raise Misuse(f"{in_words(error)} What was finished is kept.") from error
    for note in report.notes:
        console.print(f"Note: {note}", style="yellow")
    for label, text in report.failures.items():
        console.print(f"Failed: {label}\n{text}", style="red")
    console.print(
        f"{asked.id}: {report.done} cells done in {report.seconds:.0f} s, "
        f"{report.there} were there already"
        + (f", {len(report.failures)} failed." if report.failures else ".")
    )
    if not report.failures:
        results = _results(asked, experiment, grid)
        _draw(results, _picture_files(asked))
        _print_findings(results, console, asked.quick)
    return 1 if report.failures else 0


def plot(words: list[str]) -> int:
    """Draw an experiment's picture from the cells that have been run."""
    asked, experiment, grid = _parse(Plot, words)
    if asked.file is not None and asked.file.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise Misuse(f"--file must end in .pdf, .svg or .png, but it is {asked.file}.")
    see_outputs({"--file": asked.file}, {"--module": asked.module})
    asked, results = _shown(asked, experiment, grid, words)
    files = [asked.file] if asked.file else _picture_files(asked)
    _draw(results, files)
    return 0


def compare(words: list[str]) -> int:
    """Put the paper's statements and numbers beside ours."""
    asked, experiment, grid = _parse(Compare, words)
    see_outputs({"--csv": asked.csv, "--markdown": asked.markdown}, {"--module": asked.module})
    asked, results = _shown(asked, experiment, grid, words)
    if asked.csv is not None:
        with whole_file(asked.csv) as temporary:
            results.table.to_csv(temporary, index=False)
    if asked.markdown is not None:
        from gradflow.sweeps.tables import findings_markdown

        text = findings_markdown(results.experiment.compare(results), asked.quick)
        with whole_file(asked.markdown) as temporary:
            temporary.write_text(text, encoding="utf-8")
    _print_findings(results, new_console(), asked.quick)
    return 0


def taken() -> set[str]:
    """Names of options, which a grid's fields cannot have; but `protocol`, which sets its field."""
    return {field.name for kind in (Run, Plot, Compare) for field in fields(kind)} - {"protocol"}


def _parse(kind: Any, words: list[str]) -> tuple[Any, "Experiment", Any]:
    """Parse in two turns: which experiment; then the fields of its grid."""
    prog = f"gradflow {kind.__name__.lower()}"
    words = _without_scale(words)
    helps = [word for word in words if word in ("-h", "--help")]
    named = [word for word in words if not word.startswith("-")]
    plain = [word for word in words if word not in ("-h", "--help")]
    if helps and not named:
        parse(kind, ["--help"], prog, config=_CONF)
    asked, rest = parse(kind, plain, prog, config=_CONF, return_unknown_args=True)
    from gradflow.sweeps.experiment import cells_of
    from gradflow.sweeps.registry import find
    from gradflow.sweeps.results import grid_of

    try:
        experiment = find(asked.id, asked.module)
        default = grid_of(experiment, asked.scale, asked.protocol, {})
    except ValueError as error:
        raise Misuse(str(error)) from error
    if clash := sorted(taken() & {field.name for field in fields(default)}):
        raise Misuse(
            f"the grid of {asked.id} has fields named as options of the commands, which would take "
            f"their place: {', '.join(clash)}; rename the fields."
        )
    grid = _grid(kind, experiment, default, [*rest, *helps])
    try:
        cells_of(experiment, grid)
    except ValueError as error:
        raise Misuse(str(error)) from error
    return asked, experiment, grid


def _grid(kind: Any, experiment: "Experiment", default: Any, words: list[str]) -> Any:
    prog = f"gradflow {kind.__name__.lower()}"
    return parse(
        type(default),
        words,
        f"{prog} {experiment.id}",
        also=[f"--{field.name.replace('_', '-')}" for field in fields(kind)[1:]],
        default=default,
        description=f"{experiment.title}. The grid's fields; `{prog} --help` shows the rest.",
        config=_CONF,
    )


def help_of(experiment: "Experiment") -> str:
    """What `gradflow run ID --help` says of the paper's grid, at `HELP_COLUMNS`."""
    told, before = io.TextIOWrapper(io.BytesIO(), "utf-8"), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(HELP_COLUMNS)
    try:
        with redirect_stdout(told), suppress(SystemExit):
            _grid(Run, experiment, experiment.grid("paper", "paper"), ["--help"])
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    told.seek(0)
    return told.read()


def _without_scale(words: list[str]) -> list[str]:
    """`--scale quick` was what --quick is, and `--scale paper` what goes without saying.

    Raises:
      Misuse: on another scale.
    """
    text = "\0".join(words).replace("--scale=", "--scale\0")
    kept = text.split("\0") if words else []
    while "--scale" in kept:
        k = kept.index("--scale")
        scale = kept[k + 1] if k + 1 < len(kept) else ""
        if scale not in ("quick", "paper"):
            raise Misuse(f"there is no scale {scale!r}; give --quick, or nothing.")
        print("gradflow: --scale is now --quick, or nothing.", file=sys.stderr)
        kept[k : k + 2] = ["--quick"] if scale == "quick" else []
    return kept


def _shown(
    asked: Any, experiment: "Experiment", grid: Any, words: list[str]
) -> tuple[Any, "Results"]:
    """The cells that a command shows: of a run that was only a quick one, those.

    Raises:
      Misuse: if there are none.
    """
    results = _results(asked, experiment, grid)
    if not len(results) and not asked.quick:
        other, _, grid = _parse(type(asked), [*words, "--quick"])
        if len(quick := _results(other, experiment, grid)):
            print(
                f"gradflow: only a quick run of {asked.id} is in {asked.out}: this is that one.",
                file=sys.stderr,
            )
            return other, quick
    if not len(results):
        effort = " --quick" if asked.quick else ""
        protocol = "" if asked.protocol == "paper" else f" --protocol {asked.protocol}"
        raise Misuse(
            f"no cell of {asked.id}{effort} (protocol {asked.protocol}) is in {asked.out}; "
            f"`gradflow run {asked.id}{protocol}{effort}` computes them."
        )
    return asked, results


def _results(asked: Any, experiment: "Experiment", grid: Any) -> "Results":
    from gradflow.sweeps.results import load
    from gradflow.sweeps.store import Corrupt

    try:
        return load(
            asked.id, out=asked.out, grid=grid, precision=asked.precision, module=asked.module
        )
    except Corrupt as error:
        raise Misuse(str(error)) from error


def _picture_files(asked: Any) -> list[Path]:
    name = "-".join(
        [asked.id]
        + ([asked.scale] if asked.scale != "paper" else [])
        + ([asked.protocol] if asked.protocol != "paper" else [])
        + ([asked.precision] if asked.precision else [])
    )
    return [asked.out / f"{name}.png", asked.out / f"{name}.pdf"]


def _draw(results: "Results", files: list[Path]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from gradflow.plotting import save_figure

    if results.all_diverged:
        print("No picture: every run diverged.", file=sys.stderr)
        return
    figure = results.experiment.plot(results)
    for file in files:
        save_figure(figure, file)
        print(f"Picture: {file}")


def _print_findings(results: "Results", console: Any, quick: bool) -> None:
    from gradflow.sweeps.tables import findings_tables

    if results.missing:
        console.print(f"{results.missing} cells of the grid have not been run.", style="yellow")
    for table in findings_tables(results.experiment.compare(results), quick):
        console.print(table)
