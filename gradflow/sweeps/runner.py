"""Run an experiment: what is missing, spread over cores, an accelerator or a cluster."""

import concurrent.futures
import gc
import json
import pickle
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradflow._util.device import Device, present
from gradflow._util.processes import cores, processor_name
from gradflow._util.workers import worker_pool
from gradflow.sweeps.experiment import Experiment, Item, Precision, Protocol, Scale, flat, items_of
from gradflow.sweeps.progress import Display
from gradflow.sweeps.registry import find
from gradflow.sweeps.results import folder, grid_of
from gradflow.sweeps.store import Corrupt, NoSpace, Store
from gradflow.sweeps.worker import Done, Task, do

_ATTEMPTS = 3  # how often a task is tried whose worker dies
_REACH = 15.0  # seconds to reach a cluster's scheduler


@dataclass
class Report:
    """What a run came to.

    Attributes:
      done: cells done now.
      there: cells that were there before.
      failures: label -> traceback.
      seconds: wall time.
      notes: what the user should know, such as damaged files that were set aside.
    """

    done: int = 0
    there: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def run(
    id: str,
    *,
    scale: Scale = "paper",
    protocol: Protocol = "paper",
    out: Path | str | None = None,
    grid: Any = None,
    precision: Precision | None = None,
    with_flow: bool = False,
    device: Device = "cpu",
    jobs: int | None = None,
    batch: int = 1024,
    cluster: str | None = None,
    module: Path | str | None = None,
    show: bool = True,
    **changes: Any,
) -> Report:
    """Compute the cells of an experiment that are not in the store yet.

    Args:
      id: of the experiment.
      scale: "paper" or "quick".
      protocol: "paper" or "code".
      out: where results go, if not to `gradflow.sweeps.results.folder()`.
      grid: the grid, if it is not that of scale and protocol.
      precision: of the runs, if not the experiment's own.
      with_flow: also the exact flow from each descent's start.
      device: "cpu", "gpu" or "tpu".
      jobs: processes on a CPU, as many as cores by default; 1 computes in this process.
      batch: the most runs that go side by side on an accelerator.
      cluster: address of a dask.distributed scheduler, whose workers share the store.
      module: a file that defines the experiment, if it is your own.
      show: progress on the terminal.
      **changes: to the grid's fields.

    Returns:
      What was done.

    Raises:
      ValueError: on an unknown experiment, protocol, field or value, before anything is computed.
      RuntimeError: if the device is not there.
      OSError: if the store cannot be written to; what is in it stays.
    """
    experiment = find(id, module)
    if grid is None:
        grid = grid_of(experiment, scale, protocol, changes)
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, but it is {jobs}.")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, but it is {batch}.")
    items = items_of(experiment, grid, precision or experiment.precision, with_flow)
    store = Store(folder(out) / experiment.store_name())
    store.prepare()
    report = Report()
    missing = _missing(experiment, items, store, report)
    report.there = len(items) - len(missing)
    tasks = _tasks(experiment, missing, store, module, device, batch)
    began = time.monotonic()
    if tasks:
        with Display(experiment.id, len(items), report.there, store.folder, show) as display:
            _do_all(tasks, device, jobs, cluster, report, display)
        report.seconds = time.monotonic() - began
        line = {
            "experiment": experiment.id,
            "scale": scale,
            "protocol": protocol,
            "precision": precision or experiment.precision,
            "with_flow": with_flow,
            "done": report.done,
            "seconds": round(report.seconds, 2),
            "device": device,
            "jobs": jobs or cores(),
            "cluster": cluster is not None,
            "processor": processor_name(),
        }
        _log(store, line)
    return report


def _missing(experiment: Experiment, items: list[Item], store: Store, report: Report) -> list[Item]:
    """Items without a good file; damaged files are set aside."""
    names, missing = store.names(), []
    for item in items:
        name = experiment.name(item)
        if name in names:
            try:
                store.load(name)
                continue
            except Corrupt as error:
                aside = store.set_aside(name)
                reason = str(error).split("; delete")[0]
                report.notes.append(f"{reason}. It is now {aside.name} and is computed again.")
        missing.append(item)
    return missing


def _tasks(
    experiment: Experiment, items: list[Item], store: Store, module: Path | str | None,
    device: Device, batch: int,
) -> list[Task]:  # fmt: skip
    """On a CPU one item each, those of one program after another; else what goes side by side."""
    groups: dict[Any, list[Item]] = defaultdict(list)
    alike = experiment.shape_of if device == "cpu" else experiment.batch_of
    for item in items:
        groups[alike(item)].append(item)
    size = 1 if device == "cpu" else batch
    labels = _labels(items)
    tasks = []
    for group in groups.values():
        for k in range(0, len(group), size):
            some = group[k : k + size]
            tasks.append(
                Task(
                    experiment.id,
                    None if module is None else str(Path(module).resolve()),
                    pickle.dumps(some),
                    tuple(experiment.name(item) for item in some),
                    tuple(labels[item] for item in some),
                    str(store.folder.resolve()),  # workers of a cluster run in other folders
                    device,
                )
            )
    return tasks


def _labels(items: list[Item]) -> dict[Item, str]:
    """Each item by the fields in which items differ."""
    values: dict[str, set[Any]] = defaultdict(set)
    for item in items:
        for name, value in flat(item.cell).items():
            values[name].add(value)
    labels = {}
    for item in items:
        parts = [f"{name} {value}" for name, value in flat(item.cell).items()
                 if len(values[name]) > 1]  # fmt: skip
        labels[item] = ", ".join([*parts, *(["flow"] if item.method == "flow" else [])]) or "run"
    return labels


def _do_all(
    tasks: list[Task], device: Device, jobs: int | None, cluster: str | None, report: Report,
    display: Display,
) -> None:  # fmt: skip
    if cluster is None and device == "cpu" and (jobs == 1 or len(tasks) == 1):
        with display.watching(lambda: (report.done, len(report.failures))):
            for task in tasks:
                _take(task, do(task), report, display)
        return
    died: dict[Task, int] = defaultdict(int)
    waiting, suspects = deque(tasks), deque[Task]()
    while waiting or suspects:
        if not waiting:  # alone, so that no other is blamed when it dies
            waiting.append(suspects.popleft())
        with _pool(device, jobs, cluster) as (pool, room):
            lost = _until_death(pool, room, waiting, report, display)
        again = 0
        for task in lost:
            died[task] += 1
            again += died[task] < _ATTEMPTS
            if died[task] == _ATTEMPTS:
                _give_up(task, f"Its worker died {_ATTEMPTS} times; is memory short?", report)
            else:
                (suspects if died[task] == _ATTEMPTS - 1 else waiting).append(task)
        if again:
            report.notes.append(f"A worker died; {again} unfinished tasks were begun again.")
        display.update(report.done, len(report.failures))


def _until_death(
    pool: Any, room: int, waiting: deque[Task], report: Report, display: Display
) -> list[Task]:
    """Do what waits, until all is done or a worker dies; the tasks that may have killed it.

    Args:
      pool: an executor.
      room: the most tasks it is given at a time.
      waiting: what is left of it stays in here.
      report: is added to.
      display: is told.
    """
    going: dict[Any, Task] = {}
    lost: list[Task] = []
    while going or (waiting and not lost):
        while waiting and not lost and len(going) < room:
            try:
                future = pool.submit(do, waiting[0])
            except BrokenExecutor:
                break  # those that go will say so
            going[future] = waiting.popleft()
        finished, _ = concurrent.futures.wait(
            going, timeout=0.5, return_when=concurrent.futures.FIRST_COMPLETED
        )
        for future in finished:
            task = going.pop(future)
            if future.cancelled():
                raise ConnectionError("The cluster's scheduler has gone; run again when it is up.")
            error = future.exception()
            if error is None:
                _take(task, future.result(), report, display)
            elif isinstance(error, BrokenExecutor):
                lost.append(task)
            elif type(error).__name__ == "KilledWorker":  # dask has tried it several times
                _give_up(task, f"Its workers died; is memory short? ({error})", report)
            else:
                for other in going:
                    other.cancel()
                raise error
        display.update(report.done, len(report.failures))
    return lost


def _give_up(task: Task, text: str, report: Report) -> None:
    report.failures |= dict.fromkeys(task.labels, text)


def _take(task: Task, done: Done, report: Report, display: Display) -> None:
    for name, label in zip(task.names, task.labels, strict=True):
        failure = done.failures[name]
        if failure is None:
            report.done += 1
        else:
            report.failures[label] = failure
    display.update(report.done, len(report.failures))


@contextmanager
def _pool(device: Device, jobs: int | None, cluster: str | None) -> Iterator[tuple[Any, int]]:
    """Processes here, or a cluster's workers, as an executor; how many tasks to give it at a time.

    When a process dies, nobody knows which of its tasks killed it, so there are not more than that
    can run; a cluster's scheduler knows.
    """
    if cluster is not None:
        with _cluster(cluster) as client:
            pool = client.get_executor(pure=False)
            _see_device(pool, device)
            yield pool, sys.maxsize
        return
    count = (jobs or cores()) if device == "cpu" else 1
    with worker_pool(count) as pool:
        _see_device(pool, device)
        yield pool, count


def _see_device(pool: Any, device: Device) -> None:
    """See that a worker starts and has the device.

    Raises:
      RuntimeError: if not.
    """
    try:
        wrong = pool.submit(present, device).result()
    except BrokenExecutor as error:
        raise RuntimeError(
            "No worker could be started. A script that runs an experiment needs "
            '`if __name__ == "__main__":` around it; or set jobs to 1.'
        ) from error
    except ImportError as error:
        raise RuntimeError(
            f"A worker lacks a package ({error}); install gradflow there."
        ) from error
    if wrong is not None:
        raise RuntimeError(wrong)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            "--cluster needs dask.distributed; install it with pip install gradflow[cluster]."
        ) from error
    client: Any = None
    wrong = ""
    try:
        # Not the default, which would make other packages' calls wait for this cluster.
        client = Client(address, timeout=_REACH, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        wrong = str(error)
    if client is None:
        # A client that failed is closed now: collected while another one starts, it blocks it.
        gc.collect()
        raise ValueError(f"there is no scheduler at {address} ({wrong}).")
    with client:
        if not client.scheduler_info()["workers"]:
            raise ValueError(f"the cluster at {address} has no workers; start some.")
        yield client


def _log(store: Store, line: dict[str, Any]) -> None:
    """Keep one line a run, for the table of times."""
    try:
        with (store.folder / "runs.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError:
        pass


__all__ = ["NoSpace", "Report", "run"]
