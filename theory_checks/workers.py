"""Check claims in several processes: those of one module together, since they share flows."""

import concurrent.futures
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradflow.memory import forget_programs
from theory_checks.claims import Claim, Settings, select
from theory_checks.ledger import check
from theory_checks.papers import load_file, load_papers

Row = dict[str, Any]


def check_all(
    claims: list[Claim],
    settings: Settings,
    jobs: int,
    module: Path | None = None,
    told: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """The ledger's rows (`Entry.as_json`), in the order of the claims.

    Args:
      claims: what to check.
      settings: how hard.
      jobs: processes; 1 checks here, one claim after the other.
      module: a file with claims of one's own, for the other processes to load.
      told: called with each row as it is finished.
    """
    groups: dict[str, list[str]] = {}
    for made in claims:
        groups.setdefault(made.function.__module__, []).append(made.id)
    if jobs == 1 or len(groups) == 1:
        rows = []
        for made in claims:
            rows.append(check(made, settings).as_json())
            forget_programs()
            told(rows[-1])
        return rows
    import jax

    done: dict[str, Row] = {}
    with concurrent.futures.ProcessPoolExecutor(
        min(jobs, len(groups)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(bool(jax.config.read("jax_enable_x64")), module),
    ) as pool:
        waiting = [pool.submit(_check_group, ids, settings) for ids in groups.values()]
        for finished in concurrent.futures.as_completed(waiting):
            for row in finished.result():
                done[row["id"]] = row
                told(row)
    return [done[made.id] for made in claims]


def _begin(float64: bool, module: Path | None) -> None:
    import jax

    jax.config.update("jax_enable_x64", float64)
    load_papers()
    if module is not None:
        load_file(module)


def _check_group(ids: list[str], settings: Settings) -> list[Row]:
    rows = []
    for made in select(ids):
        if made.id in ids:
            rows.append(check(made, settings).as_json())
            forget_programs()
    return rows
