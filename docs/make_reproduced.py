"""docs/reproduced.md and its pictures, from stored cells: figures and tables of the papers.

    python docs/make_reproduced.py --out results/experiments

What takes hours is shown as far as two cores get, on the shorter grids of `SHORTENED`, with what
the whole would take. Experiments of which no cell is in the folder keep what the page has of them.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from gradflow import sweeps
from gradflow._util.files import whole_file
from gradflow._util.tables import span
from gradflow.sweeps.experiment import Experiment, Protocol
from gradflow.sweeps.registry import known
from gradflow.sweeps.results import Results
from gradflow.sweeps.tables import findings_markdown

PAGE = Path(__file__).resolve().parent / "reproduced.md"
HEAD = """# Reproduced figures

Figures and tables of the papers, run anew. Under *the paper* stand statements that the paper makes,
in our words, with its numbers where it prints some; what we saw besides stands under *also seen*.
*Not decided* means that the cells at hand do not say. What takes hours is shown as far as two
cores get: there nothing counts against a paper, and *not at this size* says what did not come out.
`gradflow compare` prints the same tables; `python docs/make_reproduced.py` writes this page from
the stored cells.
"""
SHORTENED: dict[tuple[str, Protocol], dict[str, Any]] = {
    ("arora2019.fig3", "paper"): {"rows": ("ratings",), "rating_steps": 2_000},
}
"""Fields of the grid as a CPU can do them."""
MISSING = {
    "arora2019.fig3": ": the ratings of MovieLens 100K, 943 x 1682, which need a card: 200,000 "
    "iterations at depths 2 and 3 take some 6 and 13 hours on one core",
}
"""Why cells are missing."""
ELSEWHERE = {f"zhao2022.table{k}": "zhao2022.md" for k in (1, 2, 3, 4)}
"""Experiments that have a page of their own."""


@dataclass(frozen=True)
class Options:
    """Renew the page of reproduced figures."""

    out: Path = Path("results/experiments")
    """Folder that `gradflow run` wrote to."""
    page: Path = PAGE
    """The page; its pictures go beside it."""


def main(options: Options) -> int:
    """Write the page; returns the exit status."""
    if not options.out.is_dir():
        print(f"There is no folder {options.out}; `gradflow run ID` makes it.", file=sys.stderr)
        return 2
    before = options.page.read_text(encoding="utf-8") if options.page.is_file() else ""
    parts = [HEAD]
    for experiment in known().values():
        if experiment.id in ELSEWHERE:
            parts.append(referred(experiment))
        elif part := section(experiment, options) or kept(experiment.id, before):
            parts.append(part)
        else:
            print(f"Nothing is there of {experiment.id}.", file=sys.stderr)
    with whole_file(options.page) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    print(f"Page: {options.page}")
    return 0


def section(experiment: Experiment, options: Options) -> str:
    """What came out of an experiment on the paper's own grid or a shorter one; empty if nothing."""
    parts = []
    for protocol in experiment.protocols:
        asked: dict[str, Any] = {"protocol": protocol, "out": options.out}
        whole = sweeps.load(experiment.id, **asked)
        fields = SHORTENED.get((experiment.id, protocol))
        if len(whole) and len(whole) >= whole.missing:  # some are shared with other protocols
            parts.append(outcome(whole, protocol, options))
        if (
            whole.missing
            and fields
            and len(shorter := sweeps.load(experiment.id, **asked, **fields))
        ):
            parts.append(outcome(shorter, protocol, options, fields, whole))
    return _marked(experiment.id, "\n".join([head(experiment), *parts])) if parts else ""


def head(experiment: Experiment) -> str:
    """Its id and what it shows."""
    return f"## {experiment.id}\n\n{experiment.title[0].upper()}{experiment.title[1:]}.\n"


def referred(experiment: Experiment) -> str:
    """Where else it is."""
    return _marked(
        experiment.id,
        f"{head(experiment)}\nBeside the printed numbers, cell by cell, on "
        f"[a page of its own]({ELSEWHERE[experiment.id]}).",
    )


def outcome(
    results: Results,
    protocol: Protocol,
    options: Options,
    fields: Mapping[str, Any] | None = None,
    whole: Results | None = None,
) -> str:
    """The command, the picture and the findings.

    Args:
      results: what was run.
      protocol: by which.
      options: where the page is.
      fields: of the grid, where it is a shorter one.
      whole: the whole grid, there.
    """
    experiment, fields = results.experiment, fields or {}
    words = "" if protocol == "paper" else f" --protocol {protocol}"
    for name, value in fields.items():
        values = value if isinstance(value, tuple) else (value,)
        words += f" --{name.replace('_', '-')} {' '.join(map(str, values))}"
    lines = [f"    gradflow run {experiment.id}{words}", ""]
    if results.missing:
        why = MISSING.get(experiment.id, "")
        lines += [f"{results.missing} of the grid's cells were not run{why}.", ""]
    if whole is not None and "steps" in fields:
        lines += [cost(results, whole), ""]
    if results.all_diverged:
        lines += ["Every run diverged: there is nothing to draw.", ""]
    else:
        kinds = [experiment.id, *[protocol] * (protocol != "paper"), *["short"] * bool(fields)]
        name = f"{'-'.join(kinds)}.png"
        draw(experiment, results, options.page.parent / name)
        lines += [f"![{experiment.id}: {experiment.title}]({name})", ""]
    return "\n".join([*lines, findings_markdown(experiment.compare(results), bool(fields)), ""])


def cost(results: Results, whole: Results) -> str:
    """What a shorter grid took, and what the whole one would at that pace."""
    seconds = sum(
        one["batch_processor_seconds"] / one["batch_size"]
        for one in (json.loads(data.attrs["provenance"]) for _, data in results)
    )
    cells, steps = len(whole) + whole.missing, whole.grid.steps
    hours = span(seconds * steps / results.grid.steps * cells / len(results))
    return (
        f"{len(results)} cells, cut off at {results.grid.steps:,} iterations, took {span(seconds)} "
        f"of processor time. At this pace the whole grid, {cells} cells of up to {steps:,} "
        f"iterations, takes up to {hours} on one core."
    )


def draw(experiment: Experiment, results: Results, file: Path) -> None:
    """The picture at 110 dots an inch, for a page."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = experiment.plot(results)
    with whole_file(file) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def kept(id: str, page: str) -> str:
    """What an older page has of an experiment."""
    part = re.search(rf"<!-- {re.escape(id)} -->\n(.*?)<!-- /{re.escape(id)} -->", page, re.DOTALL)
    return _marked(id, part[1]) if part else ""


def _marked(id: str, text: str) -> str:
    return f"<!-- {id} -->\n{text.strip()}\n<!-- /{id} -->\n"


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
