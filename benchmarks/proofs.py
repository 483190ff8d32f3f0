"""What the ledger's proofs and enclosures take, in processor seconds of one core.

Run as `python -m benchmarks.proofs`. It takes minutes, for the other cases of a quick check are
computed, too, since proofs stand among them; only proofs are timed.
"""

import sys
import time
from dataclasses import dataclass
from typing import Annotated

import jax
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from gradflow.claims import Settings, select
from gradflow.claims.definition import Case, Claim
from gradflow.claims.evidence import grade_of
from gradflow.claims.registry import load_papers
from theory_checks.razin2020 import _enclosed
from theory_checks.razin2021._enclosed import ONE


@dataclass(frozen=True)
class Options:
    """Time enclosures of flows, and proofs with the bounds along these flows."""

    claims: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Ids or their beginnings; all claims if none is given."""
    flows: bool = False
    """Enclosures alone."""


def main(options: Options, console: Console) -> int:
    """Prove, print; returns the exit status."""
    jax.config.update("jax_enable_x64", True)
    total = enclosures(console)
    if not options.flows:
        total += proofs(list(options.claims), console)
    console.print(f"all: {total:.1f} s")
    return 0


def enclosures(console: Console) -> float:
    """Each flow down to its loss; the seconds of all."""
    shown = Table(title="enclosed flows", box=box.SIMPLE_HEAD)
    for name in ("flow", "steps", "t", "loss", "seconds"):
        shown.add_column(name, justify="left" if name == "flow" else "right", overflow="fold")
    flows, total = (*_enclosed.FLOWS, *_enclosed.PERTURBED_FLOWS, *ONE), 0.0
    for flow in flows:
        begin = time.process_time()
        steps = _enclosed.steps(flow)
        took = time.process_time() - begin
        loss, end = _enclosed.last_loss(flow), float(steps[-1].time + steps[-1].width)
        row = (flow.title, f"{len(steps)}", f"{end:.3f}", f"{loss:.4g}", f"{took:.2f}")
        shown.add_row(*row)
        total += took
    console.print(shown)
    return total


def proofs(ids: list[str], console: Console) -> float:
    """Of each claim and its control, the cases that are proved, refuted or enclosed."""
    load_papers()
    shown = Table(title="proofs and bounds along enclosed flows", box=box.SIMPLE_HEAD)
    for name in ("claim", "proofs", "enclosed", "seconds"):
        shown.add_column(name, justify="left" if name == "claim" else "right", no_wrap=True)
    total, counts = 0.0, [0, 0]
    for made in select(ids):
        found = [took for broken in (False, True) for took in timed(made, broken)]
        if not found:
            continue
        seconds = sum(took for _, took in found)
        kinds = [sum(case.proof is not None for case, _ in found)]
        kinds.append(len(found) - kinds[0])
        counts = [a + b for a, b in zip(counts, kinds, strict=True)]
        shown.add_row(made.id, *map(str, kinds), f"{seconds:.2f}")
        total += seconds
    shown.add_row("all", *map(str, counts), f"{total:.2f}")
    console.print(shown)
    return total


def timed(made: Claim, broken: bool) -> list[tuple[Case, float]]:
    """The rigorous cases of a quick check, each with its seconds."""
    found = []
    cases = made.cases(Settings(quick=True), broken)
    while True:
        begin = time.process_time()
        case = next(cases, None)
        took = time.process_time() - begin
        if case is None:
            return found
        if not case.unreachable and grade_of(case) in ("proved", "enclosed"):
            found.append((case, took))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options), Console()))
