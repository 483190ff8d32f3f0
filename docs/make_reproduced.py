"""docs/reproduced.md and its pictures, from stored cells: figures and tables of the papers.

    python docs/make_reproduced.py --out results/experiments

Experiments of whose own grid no cell is in the folder keep what the page has of them; those that it
has nothing of are listed with what they cost.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

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

Figures and tables of the papers, run anew; the last section lists those that are not here yet.
Under *the paper* stand statements that the paper makes, in our words, with its numbers where it
prints some; what we saw besides stands under *also seen*. *Not decided* means that the cells at
hand do not say. `gradflow compare` prints the same tables; `python docs/make_reproduced.py` writes
this page from the stored cells. Tables 1 to 4 of zhao2022 and its Figure 3 have
[a page of their own](zhao2022.md).
"""


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
    parts, missing = [HEAD], []
    for experiment in known().values():
        part = section(experiment, options) or kept(experiment.id, before)
        if part:
            parts.append(part)
        else:
            missing.append(experiment)
    if missing:
        parts.append(not_run(missing))
    with whole_file(options.page) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    print(f"Page: {options.page}")
    return 0


def section(experiment: Experiment, options: Options) -> str:
    """What came out of an experiment on the paper's own grid; empty if nothing was run."""
    found: dict[Protocol, Results] = {}
    for protocol in experiment.protocols:
        results = sweeps.load(experiment.id, protocol=protocol, out=options.out)
        if len(results) > results.missing:  # a few may be shared with another protocol
            found[protocol] = results
    if not found:
        return ""
    lines = [f"## {experiment.id}", "", f"{experiment.title[0].upper()}{experiment.title[1:]}.", ""]
    for protocol, results in found.items():
        words = "" if protocol == "paper" else f" --protocol {protocol}"
        lines += [f"    gradflow run {experiment.id}{words}", ""]
        if results.missing:
            lines += [f"{results.missing} of the grid's cells were not run.", ""]
        if results.all_diverged:
            lines += ["Every run diverged: there is nothing to draw.", ""]
        else:
            name = f"{experiment.id}{'' if protocol == 'paper' else f'-{protocol}'}.png"
            draw(experiment, results, options.page.parent / name)
            lines += [f"![{experiment.id}: {experiment.title}]({name})", ""]
        lines += [findings_markdown(experiment.compare(results)), ""]
    return _marked(experiment.id, "\n".join(lines))


def draw(experiment: Experiment, results: Results, file: Path) -> None:
    """The picture at 110 dots an inch, for a page."""
    import matplotlib

    matplotlib.use("Agg")
    figure = experiment.plot(results)
    with whole_file(file) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def kept(id: str, page: str) -> str:
    """What an older page has of an experiment."""
    part = re.search(rf"<!-- {re.escape(id)} -->\n(.*?)<!-- /{re.escape(id)} -->", page, re.DOTALL)
    return _marked(id, part[1]) if part else ""


def not_run(experiments: list[Experiment]) -> str:
    """What the page has nothing of, and what it costs where that is known."""
    lines = [
        "## Not on this page yet",
        "",
        "| experiment | shows | time on one core |",
        "|---|---|---|",
    ]
    for one in experiments:
        hours = one.hours.get("paper")
        cost = "not measured" if hours is None else span(3600 * hours)
        lines.append(f"| `{one.id}` | {one.title} | {cost} |")
    return "\n".join([*lines, ""])


def _marked(id: str, text: str) -> str:
    return f"<!-- {id} -->\n{text.strip()}\n<!-- /{id} -->\n"


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
