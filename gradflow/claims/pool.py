"""Check claims in several processes: those of one module together, since they share flows."""

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any, NamedTuple

from gradflow._util.programs import forget_programs
from gradflow._util.workers import worker_pool
from gradflow.claims.definition import Claim, Settings
from gradflow.claims.ledger import check
from gradflow.claims.registry import load_file, load_papers, select
from gradflow.claims.report import pictures

Row = dict[str, Any]


class Checked(NamedTuple):
    """What came of checking claims.

    Attributes:
      rows: the ledger's rows (`Entry.as_json`), in the order of the claims.
      pictures: PNG images by the id of the first claim that they illustrate.
    """

    rows: list[Row]
    pictures: dict[str, bytes]


def check_all(
    claims: list[Claim],
    settings: Settings,
    jobs: int,
    module: Path | None = None,
    on_progress: Callable[[Row], None] = lambda row: None,
    draw: bool = False,
) -> Checked:
    """Check claims and draw their pictures.

    Args:
      claims: what to check.
      settings: how hard.
      jobs: processes; 1 checks here, one claim after the other.
      module: a file with claims of one's own, for the other processes to load.
      on_progress: called with each row as it is finished.
      draw: whether pictures are wanted.

    Raises:
      RuntimeError: if a process died.
    """
    groups: dict[str, list[str]] = {}
    for made in claims:
        groups.setdefault(made.function.__module__, []).append(made.id)
    if jobs == 1 or len(groups) == 1:
        rows = []
        for made in claims:
            rows.append(check(made, settings).as_json())
            forget_programs()
            on_progress(rows[-1])
        return Checked(rows, pictures.draw(claims) if draw else {})
    import jax

    done: dict[str, Row] = {}
    drawn: dict[str, bytes] = {}
    count = min(jobs, len(groups))
    arguments = (bool(jax.config.read("jax_enable_x64")), module)
    with worker_pool(count, _prepare, arguments) as pool:
        waiting = [pool.submit(_check_group, ids, settings, draw) for ids in groups.values()]
        try:
            for finished in concurrent.futures.as_completed(waiting):
                found = finished.result()
                drawn |= found.pictures
                for row in found.rows:
                    done[row["id"]] = row
                    on_progress(row)
        except BrokenExecutor as error:
            raise RuntimeError(
                "A process that checked claims died; is memory short? Give fewer --jobs."
            ) from error
    return Checked([done[made.id] for made in claims], drawn)


def _prepare(float64: bool, module: Path | None) -> None:
    import jax

    jax.config.update("jax_enable_x64", float64)
    load_papers()
    if module is not None:
        load_file(module)


def _check_group(ids: list[str], settings: Settings, draw: bool) -> Checked:
    rows = []
    for made in select(ids):
        if made.id in ids:
            rows.append(check(made, settings).as_json())
            forget_programs()
    # Here, where the flows that are drawn have just been run.
    return Checked(rows, pictures.draw(select(ids)) if draw else {})
