r"""Discrete time: gradient descent and every optax optimiser, in compiled chunks.

The stopping loss is looked at in every iteration, the observables are computed on the device at the
iterations asked for, and Python is entered only between chunks, to show progress.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradflow._util.progress import DescentProgress
from gradflow._util.provenance import describe, describe_function, fingerprint, provenance
from gradflow._util.validate import finite_array, positive, same_float_dtype, whole
from gradflow.descent.batch import _Batch
from gradflow.descent.checkpoint import Checkpoint, Keeper
from gradflow.descent.loop import (
    DIVERGED,
    LOSS,
    RUNNING,
    Mode,
    Optimizer,
    Stepper,
)
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.observables import Observe, default_observables, resolve
from gradflow.trajectory import Outcome, Trajectory, named_arrays, named_observables

_OUTCOMES = {
    RUNNING: Outcome.OUT_OF_STEPS,
    LOSS: Outcome.REACHED_LOSS,
    DIVERGED: Outcome.DIVERGED,
}
Progress = bool | Callable[[int, float], None]


def run_descent(
    objective: Objective,
    start: Factors,
    optimizer: Optimizer,
    *,
    steps: int,
    learning_rate: float | None = None,
    stop_loss: float | None = None,
    record: Any = None,
    observe: Observe | None = None,
    progress: Progress = False,
    checkpoint: Checkpoint | None = None,
) -> Trajectory:
    """Run an optax optimiser from a start until a stopping loss or a number of iterations.

    Args:
      objective: the problem and its factorisation, in the precision of the run.
      start: the factors W_1, ..., W_N, in the same precision.
      optimizer: an optax transformation, or, with `learning_rate`, a function that makes one from a
        rate, such as `optax.sgd`: then another rate does not compile again.
      steps: the number of iterations allowed.
      learning_rate: the rate handed to `optimizer`.
      stop_loss: stop at the first iteration whose loss is at most this.
      record: iterations to record, rising; by default about 20 a decade. The first and the last are
        always recorded.
      observe: names from `gradflow.observables`, or a dictionary of functions of a `State`.
      progress: show a bar with iteration and loss; or a function that is told both now and then.
      checkpoint: keep the run's state in a file and go on from there after a kill.

    Returns:
      A `Trajectory` whose times are iterations, with the parameters before that iteration's update.

    Raises:
      ValueError: on mixed precisions, wrong shapes, steps or rates out of range, a checkpoint that
        is damaged or of another run.

    Example:
      >>> import gradflow as gf, optax
      >>> problem = gf.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=3))
      >>> start = gf.identity_factors((2, 2, 2, 2), 1e-2)
      >>> run = run_descent(
      ...     objective, start, optax.sgd, learning_rate=0.1, steps=5000, stop_loss=1e-2
      ... )
      >>> run.outcome.name, bool(run["loss"][-1] <= 1e-2)
      ('REACHED_LOSS', True)
    """
    return _run([objective], [start], optimizer, [learning_rate], steps, stop_loss, record, observe,
                progress, checkpoint)[0]  # fmt: skip


def run_descents(
    objectives: Objective | Sequence[Objective],
    starts: list[Factors],
    optimizer: Optimizer,
    *,
    steps: int,
    learning_rates: Any = None,
    stop_loss: float | None = None,
    record: Any = None,
    observe: Observe | None = None,
    progress: Progress = False,
    checkpoint: Checkpoint | None = None,
) -> list[Trajectory]:
    """Run a batch of descents of one shape in one compiled call: seeds, scales, learning rates.

    Args:
      objectives: one for all, or one a run; problems of one kind, shape and number of observations.
      starts: one tuple of factors a run.
      optimizer: as for `run_descent`.
      steps: the number of iterations allowed.
      learning_rates: one a run, or a single number for all.
      stop_loss: as for `run_descent`; each run stops by itself.
      record: as for `run_descent`.
      observe: as for `run_descent`.
      progress: as for `run_descent`; the loss shown is the largest.
      checkpoint: as for `run_descent`, one file for all.

    Returns:
      One `Trajectory` a run: what `run_descent` gives, to the last bit on a CPU, where the runs of
      a device are done one after the other; elsewhere they go side by side, to rounding.

    Raises:
      ValueError: as `run_descent`; and if there is no start, numbers differ or the objectives are
        not alike.

    Example:
      >>> import gradflow as gf, optax
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> starts = [gf.identity_factors((2, 2, 2), scale) for scale in (0.1, 0.01)]
      >>> runs = run_descents(objective, starts, optax.sgd, learning_rates=[0.1, 0.05], steps=100)
      >>> [run.config["learning_rate"] for run in runs]
      [0.1, 0.05]
    """
    starts = list(starts)
    if not starts:
        raise ValueError("There is no start at all; give at least one tuple of factors.")
    rates = np.broadcast_to(
        np.asarray(learning_rates, dtype=object),
        (len(starts),) if np.ndim(learning_rates) == 0 else np.shape(learning_rates),
    ).tolist()
    if len(rates) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(rates)} learning rates.")
    many = [objectives] * len(starts) if isinstance(objectives, Objective) else list(objectives)
    if len(many) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(many)} objectives.")
    return _run(many, starts, optimizer, rates, steps, stop_loss, record, observe, progress,
                checkpoint)  # fmt: skip


def _run(
    objectives: list[Objective],
    starts: list[Any],
    optimizer: Optimizer,
    rates: list[float | None],
    steps: int,
    stop_loss: float | None,
    record: Any,
    observe: Observe | None,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> list[Trajectory]:
    checked = [
        one.factorization.check([finite_array(f"start[{k}]", f) for k, f in enumerate(start)])
        for one, start in zip(objectives, starts, strict=True)
    ]
    dtype = same_float_dtype(objective=objectives, start=checked)
    steps = whole("steps", steps)
    if stop_loss is not None:
        positive("stop_loss", stop_loss)
    _check_optimizer(optimizer, rates)
    pairs = resolve(default_observables(objectives[0].problem) if observe is None else observe)
    marks = _marks(record, int(steps))
    configs = [
        {
            "kind": "descent",
            "objective": describe(one),
            "optimizer": describe_function(optimizer),
            "learning_rate": rate,
            "steps": int(steps),
            "stop_loss": stop_loss,
            "dtype": str(dtype),
            "observe": [name for name, _ in pairs],
            **provenance(),
        }
        for one, rate in zip(objectives, rates, strict=True)
    ]
    objective, many = _together(objectives)
    speeds = None if rates[0] is None else jnp.asarray(np.asarray(rates, float), dtype)
    target = jnp.asarray(-np.inf if stop_loss is None else stop_loss, dtype)
    mode: Mode = "map" if jax.default_backend() == "cpu" else "vmap"
    stepper = Stepper(objective, many, optimizer, speeds, pairs, target, mode)
    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *checked)
    lanes = stepper.initialise(parameters)
    key = None
    if checkpoint is not None:
        numbers = fingerprint((parameters, speeds, target))
        key = [configs, marks.tolist(), numbers, stepper.program(lanes)]
    batch = _Batch(stepper, lanes)
    with DescentProgress(progress, int(steps)) as bar:
        batch.run(marks, Keeper(checkpoint, key), bar)
    return [_trajectory(batch, k, checked[k], configs[k]) for k in range(len(starts))]


def _together(objectives: list[Objective]) -> tuple[Objective, bool]:
    """One objective for all runs, or all of them along a new first axis; and which."""
    first = objectives[0]
    if all(one is first for one in objectives):
        return first, False
    for k, one in enumerate(objectives):
        same = jax.tree.structure(one) == jax.tree.structure(first)
        if not same or [jnp.shape(x) for x in jax.tree.leaves(one)] != [
            jnp.shape(x) for x in jax.tree.leaves(first)
        ]:
            raise ValueError(
                f"objectives[{k}] is not like objectives[0] (kind, shape, number of observations, "
                "loss convention, penalty); run unlike ones in calls of their own."
            )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *objectives), True


def _check_optimizer(optimizer: Optimizer, rates: list[float | None]) -> None:
    made = isinstance(optimizer, optax.GradientTransformation)
    if not made and not callable(optimizer):
        raise ValueError(
            f"optimizer must be an optax transformation or a function of a rate, "
            f"but it is {optimizer!r}."
        )
    if any((rate is None) != (rates[0] is None) for rate in rates):
        raise ValueError("Give a learning rate for every run, or for none.")
    if made and rates[0] is not None:
        raise ValueError(
            "The optimizer already has its learning rate; pass the function that makes it, such as "
            "optax.sgd, together with learning_rate, or leave learning_rate away."
        )
    if not made and rates[0] is None:
        raise ValueError("Give learning_rate, since optimizer is a function of one.")
    for rate in rates:
        if rate is not None:
            positive("learning_rate", rate)


def _marks(record: Any, steps: int) -> np.ndarray:
    """Iterations to record: from 0 to the last."""
    if record is None:
        exponents = np.arange(0, np.log10(steps) + 1e-9, 1 / 20)
        wanted = np.unique(np.round(10.0**exponents).astype(np.int64))
    else:
        wanted = np.asarray(record)
        if wanted.ndim != 1 or wanted.size == 0 or wanted.dtype.kind not in "iu":
            raise ValueError(f"record must be a list of whole numbers, but it is {record!r}.")
        if np.any(wanted < 0) or np.any(np.diff(wanted) <= 0):
            raise ValueError(f"record must rise from 0 on, but it begins {wanted[:5].tolist()}.")
    wanted = wanted[(wanted > 0) & (wanted < steps)]
    return np.concatenate([[0], wanted, [steps]]).astype(np.int64)


def _trajectory(batch: _Batch, k: int, start: Factors, config: dict[str, Any]) -> Trajectory:
    lane = batch.ended[k]
    counts, seen = jax.tree.map(lambda *parts: np.concatenate(parts), *batch.records[k])
    return Trajectory(
        times=counts,
        observables=named_observables(config["observe"], seen),
        final=named_arrays(tuple(lane.parameters)),
        initial=named_arrays(start),
        outcome=_OUTCOMES[int(lane.status)],
        stats={"iterations": int(lane.count), "seconds_of_batch": batch.seconds},
        config=json.loads(json.dumps(config, default=str)),
    )
