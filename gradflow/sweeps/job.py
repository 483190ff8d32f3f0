"""What a cell asks for, and doing it: a descent, a flow or any computation, to a dataset."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from gradflow.descent.checkpoint import Checkpoint
from gradflow.descent.mixture import Optimizer
from gradflow.descent.run import run_descents
from gradflow.factorizations.base import Factors
from gradflow.flow.solve import solve_flow
from gradflow.objective import Objective
from gradflow.observables import Observe
from gradflow.problems import astype
from gradflow.trajectory import Trajectory

OnProgress = Callable[[int, float], None]


@dataclass(frozen=True)
class Descent:
    """A discrete run.

    Attributes:
      objective: problem, factorisation and penalty; the same object for cells that share the data.
      start: the factors.
      optimizer: a function of a rate, at module level, so that all cells share one program.
      rate: the learning rate.
      steps: iterations allowed.
      stop_loss: where to stop.
      stop_looks: how often to look at the loss, and at how many looks in a row to stop.
      record: iterations to record.
      observe: what to record.
      keep: which parameters to store: "final", "initial".
      flow: keyword arguments for the flow from the same start, where they differ.
    """

    objective: Objective
    start: Factors
    optimizer: Optimizer
    rate: float
    steps: int
    stop_loss: float | None = None
    stop_looks: tuple[int, int] | None = None
    record: Any = None
    observe: Observe | None = None
    keep: tuple[str, ...] = ()
    flow: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    """A gradient flow: what `gradflow.solve_flow` takes."""

    objective: Objective
    start: Any
    options: Mapping[str, Any]
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Computation:
    """Anything else: a function without arguments that gives numbers and arrays by name."""

    function: Callable[[], Mapping[str, Any]]


Job = Descent | Flow | Computation


def flow_beside(descent: Descent) -> Flow:
    """The flow from a descent's start to the same stopping loss."""
    to64 = jax.numpy.float64
    options = {
        "stop_loss": descent.stop_loss,
        "observe": descent.observe,
        "rtol": 1e-6,
        **descent.flow,
    }
    return Flow(astype(descent.objective, to64), astype(descent.start, to64), options, descent.keep)


def do_one(
    job: Job, finish: Callable[[Trajectory], Mapping[str, Any]], on_progress: OnProgress,
    checkpoint: Path | None,
) -> xr.Dataset:  # fmt: skip
    """Do one job.

    Args:
      job: what.
      finish: further numbers from a run.
      on_progress: called with iteration and loss now and then.
      checkpoint: where a descent keeps its state.
    """
    if isinstance(job, Descent):
        return do_descents([job], [finish], on_progress, checkpoint)[0]
    began = time.perf_counter()
    if isinstance(job, Flow):
        run = solve_flow(job.objective, job.start, **job.options)
        return _dataset(run, job.keep, finish, time.perf_counter() - began)
    found = dict(job.function())
    return _with_numbers(xr.Dataset(), found).assign_attrs(seconds=time.perf_counter() - began)


def do_descents(
    jobs: Sequence[Descent],
    finish: Sequence[Callable[[Trajectory], Mapping[str, Any]]],
    on_progress: OnProgress,
    checkpoint: Path | None,
) -> list[xr.Dataset]:
    """Do descents of one shape as one compiled batch, those of several optimisers among them."""
    first = jobs[0]
    rules = [job.optimizer for job in jobs]
    losses = [job.stop_loss for job in jobs]
    objectives = [job.objective for job in jobs]
    shared = all(one is first.objective for one in objectives)
    runs = run_descents(
        first.objective if shared else objectives,
        [job.start for job in jobs],
        first.optimizer if all(rule is rules[0] for rule in rules) else rules,
        learning_rate=[job.rate for job in jobs],
        max_steps=first.steps,
        stop_loss=losses[0] if all(loss == losses[0] for loss in losses) else losses,
        stop_looks=first.stop_looks,
        record=first.record,
        observe=first.observe,
        progress=on_progress,
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint),
    )
    counts = [float(run.stats["steps"]) for run in runs]
    share = float(runs[0].stats["seconds"]) / (sum(counts) or 1)
    return [
        # A batch's time is shared out by iterations.
        _dataset(run, job.keep, then, share * count)
        for job, run, then, count in zip(jobs, runs, finish, counts, strict=True)
    ]


def _dataset(
    run: Trajectory,
    keep: tuple[str, ...],
    finish: Callable[[Trajectory], Mapping[str, Any]],
    seconds: float,
) -> xr.Dataset:
    """A run as a dataset: observables over time, what it came to as plain numbers."""
    data = run.to_xarray()
    dropped = [
        name
        for name in data.data_vars
        if (stage := str(name).partition(":"))[1] and stage[0] not in keep
    ]
    data = data.drop_vars(dropped)
    numbers = {
        "iterations": run.stats["steps"],
        "final_loss": float(run["loss"][-1]),
        **finish(run),
    }
    return _with_numbers(data, numbers).assign_attrs(seconds=seconds)


def _with_numbers(data: xr.Dataset, numbers: Mapping[str, Any]) -> xr.Dataset:
    """Add arrays by name; where a name is taken, as of a final value, that is an error."""
    for name, value in numbers.items():
        if name in data:
            raise ValueError(f"A cell's further number {name!r} has the name of an observable.")
        array = np.asarray(value)
        data[name] = (tuple(f"{name}_{k}" for k in range(array.ndim)), array)
    return data
