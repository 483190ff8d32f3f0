"""What runs in a worker: on this machine, another one, or here. JAX is imported late, on purpose.

A worker gets a task of plain values, sets its device up, does the items one after the other (on an
accelerator: as one batch), and writes each into the store as soon as it is there.
"""

import datetime
import os
import platform
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradflow._util.device import Device, out_of_memory, set_up
from gradflow._util.logs import LOGGER
from gradflow.sweeps.heartbeat import Heartbeat

if TYPE_CHECKING:
    from gradflow.sweeps.experiment import Experiment, Item
    from gradflow.sweeps.job import Job
    from gradflow.sweeps.store import Store


@dataclass(frozen=True)
class Task:
    """Some items of one experiment.

    All is plain but the items, and these are pickled, since their modules import JAX.

    Attributes:
      id: of the experiment.
      module: a file it is defined in, if it is none of ours.
      items: the pickled list of `Item`s.
      names: their names.
      labels: what to call them while they run.
      folder: of the store.
      device: where.
    """

    id: str
    module: str | None
    items: bytes
    names: tuple[str, ...]
    labels: tuple[str, ...]
    folder: str
    device: Device


@dataclass(frozen=True)
class Done:
    """What became of a task: for each name, None or the traceback of a failure."""

    failures: dict[str, str | None]


def do(task: Task) -> Done:
    """Do a task; each finished item is in the store when this returns.

    Raises:
      NoSpace: if the disk is full; what is in the store stays.
      Unwritable: if the store cannot be written to.
    """
    set_up(task.device)
    from gradflow._util.plugins import unpickle
    from gradflow._util.programs import forget_programs
    from gradflow.sweeps.job import Descent
    from gradflow.sweeps.registry import find
    from gradflow.sweeps.store import NoSpace, Store, Unwritable, full

    forget_programs()
    experiment = find(task.id, None if task.module is None else Path(task.module))
    items: list[Item] = unpickle(task.items)
    store = Store(Path(task.folder))
    failures: dict[str, str | None] = {}
    jobs: dict[int, Job] = {}
    for k, item in enumerate(items):
        try:
            jobs[k] = _job(experiment, item)
        except Exception:
            failures[task.names[k]] = traceback.format_exc()
    groups = [[k] for k in jobs]
    if task.device != "cpu":
        together = [k for k in jobs if isinstance(jobs[k], Descent)]
        groups = [*([together] if together else []), *([k] for k in jobs if k not in together)]
    while groups:
        group = groups.pop(0)
        names = [task.names[k] for k in group]
        try:
            _do_group(
                experiment, [items[k] for k in group], [jobs[k] for k in group], names,
                task.labels[group[0]], store,
            )  # fmt: skip
            failures |= dict.fromkeys(names)
        except (NoSpace, Unwritable):
            raise
        except Exception as error:
            if isinstance(error, OSError) and (told := full(error, store.folder)):
                raise told from error
            if len(group) == 1:
                failures[names[0]] = _told(error, task.device)
            else:  # one is bad, or there is no room for so many
                half = len(group) // 2
                LOGGER.warning("%d cells failed together (%s); by halves", len(group), error)
                groups[:0] = [group[:half], group[half:]]
    return Done(failures)


def _told(error: Exception, device: Device) -> str:
    """What a cell's failure is reported as: a sentence where memory is short, else all of it."""
    if out_of_memory(error):
        return f"The {device} has not enough memory for this cell alone; choose another --device."
    return traceback.format_exc()


def _job(experiment: "Experiment", item: "Item") -> "Job":
    from gradflow.sweeps.job import Descent, flow_beside

    job = experiment.job(item.cell, item.precision)
    if item.method == "own":
        return job
    if not isinstance(job, Descent):
        raise ValueError(
            f"{item.cell} is no descent, so there is no flow beside it; leave --with-flow away, or "
            "give the cell a property has_flow that is False."
        )
    return flow_beside(job)


def _do_group(
    experiment: "Experiment",
    items: "list[Item]",
    jobs: "list[Job]",
    names: list[str],
    label: str,
    store: "Store",
) -> None:
    """Do one job, or descents of one shape together."""
    from gradflow.sweeps.job import do_descents, do_one

    path = store.checkpoint(names[0])
    finish = [lambda run, item=item: experiment.finish(item.cell, run) for item in items]
    beat = Heartbeat(store.folder, names[0], label if len(items) == 1 else f"{len(items)} runs")
    began, busy = time.perf_counter(), time.process_time()
    try:
        if len(jobs) > 1:
            found = _without_broken_checkpoint(path, do_descents, jobs, finish, beat)
        else:
            found = [_without_broken_checkpoint(path, do_one, jobs[0], finish[0], beat)]
        spent = {
            "batch_wall_seconds": time.perf_counter() - began,
            "batch_processor_seconds": time.process_time() - busy,
            "batch_size": len(items),
        }
        for item, name, data in zip(items, names, found, strict=True):
            about = {
                "item": experiment.describe(item),
                "experiment": experiment.id,
                "provenance": {**_provenance(), **spent},
            }
            store.save(name, data, about)
        path.unlink(missing_ok=True)
    finally:
        beat.end()


def _without_broken_checkpoint(path: Path, function: Any, *arguments: Any) -> Any:
    """Call with the checkpoint's path last; a damaged checkpoint is thrown away."""
    from gradflow.descent.checkpoint import Broken

    try:
        return function(*arguments, path)
    except Broken:
        path.unlink()
        return function(*arguments, path)


def _provenance() -> dict[str, Any]:
    from gradflow._util.processes import processor_name
    from gradflow._util.provenance import provenance

    return {
        **provenance(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
