r"""Discrete time: gradient descent and every optax optimiser, in compiled chunks.

The stopping loss is looked at in every iteration, the observables are computed on the device at the
iterations asked for, and Python is entered only between chunks, to show progress.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from gradflow._validate import finite_array, positive, same_float_dtype, whole
from gradflow.charts import FactorChart
from gradflow.describe import describe
from gradflow.factorizations import Factors, Objective
from gradflow.observables import Observable, Observe, State, default_observables, resolve
from gradflow.progress import DescentProgress
from gradflow.trajectory import (
    Outcome,
    Trajectory,
    named_arrays,
    named_observables,
    provenance,
)

Optimizer = optax.GradientTransformation | Callable[[Any], optax.GradientTransformation]
_RUNNING, _LOSS, _DIVERGED = range(3)
_MARKS_PER_CHUNK = 32
_CHUNK_SECONDS = 0.5


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
    progress: bool = False,
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
      progress: show a bar with iteration and loss.

    Returns:
      A `Trajectory` whose times are iterations, with the parameters before that iteration's update.

    Raises:
      ValueError: on mixed precisions, wrong shapes, steps or rates out of range.

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
    runs = _run(
        objective, [start], optimizer, [learning_rate], steps, stop_loss, record, observe, progress
    )
    return runs[0]


def run_descents(
    objective: Objective,
    starts: list[Factors],
    optimizer: Optimizer,
    *,
    steps: int,
    learning_rates: Any = None,
    stop_loss: float | None = None,
    record: Any = None,
    observe: Observe | None = None,
    progress: bool = False,
) -> list[Trajectory]:
    """Run a batch of descents of one shape in one compiled call: seeds, scales, learning rates.

    Args:
      objective: as for `run_descent`, one for all.
      starts: one tuple of factors a run.
      optimizer: as for `run_descent`.
      steps: the number of iterations allowed.
      learning_rates: one a run, or a single number for all.
      stop_loss: as for `run_descent`; each run stops by itself.
      record: as for `run_descent`.
      observe: as for `run_descent`.
      progress: show a bar; the loss shown is the largest.

    Returns:
      One `Trajectory` a run, each equal to what `run_descent` gives.

    Raises:
      ValueError: as `run_descent`; and if there is no start or the numbers of starts and rates
        differ.

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
    return _run(objective, starts, optimizer, rates, steps, stop_loss, record, observe, progress)


def _run(
    objective: Objective,
    starts: list[Any],
    optimizer: Optimizer,
    rates: list[float | None],
    steps: int,
    stop_loss: float | None,
    record: Any,
    observe: Observe | None,
    progress: bool,
) -> list[Trajectory]:
    checked = [
        objective.factorization.check([finite_array(f"start[{k}]", f) for k, f in enumerate(start)])
        for start in starts
    ]
    dtype = same_float_dtype(objective=objective, start=checked)
    steps = whole("steps", steps)
    if stop_loss is not None:
        positive("stop_loss", stop_loss)
    _check_optimizer(optimizer, rates)
    pairs = resolve(default_observables(objective.problem) if observe is None else observe)
    marks = _marks(record, int(steps))

    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *checked)
    learning_rates = None
    if rates[0] is not None:
        learning_rates = jnp.asarray([float(r) for r in rates if r is not None], dtype)
    lanes = _initialise(optimizer, parameters, learning_rates)
    target = jnp.asarray(-np.inf if stop_loss is None else stop_loss, dtype)
    mode = "map" if jax.default_backend() == "cpu" else "vmap"

    seen: list[Any] = []
    began = time.perf_counter()
    with DescentProgress(progress, int(steps)) as bar:
        position, now, budget = 0, 0, 256
        while position < len(marks):
            chunk, position, last = _next_chunk(marks, position, now, budget)
            tick = time.perf_counter()
            lanes, found = _advance(
                objective, optimizer, learning_rates, lanes, chunk, pairs, target, mode
            )
            jax.block_until_ready(lanes)
            seen.append(jax.tree.map(np.asarray, found))
            budget = _grow(budget, last - now, time.perf_counter() - tick)
            now = last
            bar(int(jnp.max(lanes.count)), float(jnp.max(lanes.loss)))
            if not bool(jnp.any(lanes.status == _RUNNING)):
                break
    seconds = time.perf_counter() - began

    joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *seen)
    config = {
        "kind": "descent",
        "objective": describe(objective),
        "optimizer": getattr(optimizer, "__qualname__", type(optimizer).__name__),
        "steps": int(steps),
        "stop_loss": stop_loss,
        "dtype": str(dtype),
        "observe": [name for name, _ in pairs],
        **provenance(),
    }
    return [
        _trajectory(lane, joined, lanes, checked[lane], rates[lane], config, seconds)
        for lane in range(len(checked))
    ]


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


class _Lanes(eqx.Module):
    """The runs' states, each array with the runs along its first axis."""

    parameters: Any
    optimizer_state: Any
    count: Int[Array, " b"]
    loss: Float[Array, " b"]
    status: Int[Array, " b"]


def _make(optimizer: Optimizer, rate: Array | None) -> optax.GradientTransformation:
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    return optimizer(rate)


@eqx.filter_jit
def _initialise(optimizer: Optimizer, parameters: Any, rates: Array | None) -> _Lanes:
    def one(values: Any, rate: Array | None) -> Any:
        return _make(optimizer, rate).init(values)

    count = jax.tree.leaves(parameters)[0].shape[0]
    return _Lanes(
        parameters=parameters,
        optimizer_state=jax.vmap(one, in_axes=(0, None if rates is None else 0))(parameters, rates),
        count=jnp.zeros(count, jax.dtypes.canonicalize_dtype(jnp.int64)),
        loss=jnp.full(count, jnp.inf, jax.tree.leaves(parameters)[0].dtype),
        status=jnp.zeros(count, jnp.int32),
    )


def _next_chunk(marks: np.ndarray, position: int, now: int, budget: int) -> tuple[Array, int, int]:
    """The next stops (iteration, recorded or not), the next position in `marks`, the end.

    Their number is fixed, so that the program is compiled once: a short list is padded with its
    last stop, not recorded again. A chunk ends after `budget` iterations at the latest, if need be
    between records.
    """
    stops: list[tuple[int, int]] = []
    while len(stops) < _MARKS_PER_CHUNK and position < len(marks):
        if marks[position] > now + budget:
            break
        stops.append((int(marks[position]), 1))
        position += 1
    if not stops:
        stops.append((now + budget, 0))
    last = stops[-1][0]
    stops += [(last, 0)] * (_MARKS_PER_CHUNK - len(stops))
    return jnp.asarray(np.array(stops).T), position, last


def _grow(budget: int, used: int, seconds: float) -> int:
    """Iterations for the next chunk, so that one takes about half a second."""
    rate = max(used, 1) / max(seconds, 1e-6)
    return int(np.clip(rate * _CHUNK_SECONDS, budget / 8, budget * 8)) + 1


@eqx.filter_jit
def _advance(
    objective: Objective,
    optimizer: Optimizer,
    rates: Array | None,
    lanes: _Lanes,
    chunk: Int[Array, "2 k"],
    pairs: tuple[tuple[str, Observable], ...],
    stop_loss: Array,
    mode: Literal["map", "vmap"],
) -> tuple[_Lanes, Any]:
    """Take all runs through the stops of one chunk; returns the records, runs first, then stops."""

    def one(lane: tuple[_Lanes, Array | None]) -> tuple[_Lanes, Any]:
        start, rate = lane
        # Value and gradient are at hand for those that ask for more (L-BFGS, Polyak's rule); where
        # none does, the compiler leaves the penalty's value out.
        update = optax.with_extra_args_support(_make(optimizer, rate)).update
        evaluate = objective.loss_and_gradient

        def status_of(loss: Array) -> Array:
            status = jnp.where(loss <= stop_loss, _LOSS, _RUNNING)
            return jnp.where(loss < jnp.inf, status, _DIVERGED).astype(jnp.int32)

        def to_stop(carry: Any, stop: Array) -> tuple[Any, Any]:
            mark, recorded = stop
            status = carry[-1]
            alive = status == _RUNNING

            def going(inner: Any) -> Array:
                count, loss = inner[:2]
                return alive & (count < mark) & (loss > stop_loss) & (loss < jnp.inf)

            def body(inner: Any) -> Any:
                count, loss, gradient, parameters, state = inner
                value = loss + objective.penalty_at(parameters)
                change, state = update(
                    gradient, state, parameters,
                    value=value, grad=gradient, value_fn=objective.value,
                )  # fmt: skip
                parameters = jax.tree.map(jnp.add, parameters, change)
                loss, gradient = evaluate(parameters)
                return count + 1, loss, gradient, parameters, state

            inner = jax.lax.while_loop(going, body, carry[:-1])
            count, loss, _, parameters, _ = inner
            status = jnp.where(alive, status_of(loss), status)
            valid = alive & ((recorded == 1) | (status != _RUNNING))
            view = State(FactorChart(objective), parameters)

            def observe(_: Any) -> Any:
                return {name: function(view) for name, function in pairs}

            def nothing(_: Any) -> Any:
                shapes = jax.eval_shape(observe, None)
                return jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)

            seen = jax.lax.cond(valid, observe, nothing, None)
            return (*inner, status), (valid, count, seen)

        # The carry holds loss and gradient at the current parameters: each iteration evaluates
        # once, # and the stop is decided before the update.
        loss, gradient = evaluate(start.parameters)
        carry = (
            start.count,
            loss,
            gradient,
            start.parameters,
            start.optimizer_state,
            start.status,
        )
        carry, found = jax.lax.scan(to_stop, carry, chunk.T)
        count, loss, _, parameters, state, status = carry
        return _Lanes(parameters, state, count, loss, status), found

    lanes_and_rates = (lanes, rates)
    if lanes.count.shape[0] == 1:
        single = jax.tree.map(lambda leaf: leaf[0], lanes_and_rates)
        return jax.tree.map(lambda leaf: leaf[None], one(single))
    if mode == "map":
        return jax.lax.map(one, lanes_and_rates)
    return jax.vmap(one)(lanes_and_rates)


def _trajectory(
    lane: int,
    joined: Any,
    lanes: _Lanes,
    start: Factors,
    rate: float | None,
    config: dict[str, Any],
    seconds: float,
) -> Trajectory:
    valid, counts, seen = joined
    kept = valid[lane]
    recorded = jax.tree.map(lambda array: array[lane][kept], seen)
    outcome = {
        _RUNNING: Outcome.OUT_OF_STEPS,
        _LOSS: Outcome.REACHED_LOSS,
        _DIVERGED: Outcome.DIVERGED,
    }[int(lanes.status[lane])]
    return Trajectory(
        times=counts[lane][kept],
        observables=named_observables(config["observe"], recorded),
        final=named_arrays(tuple(leaf[lane] for leaf in lanes.parameters)),
        initial=named_arrays(start),
        outcome=outcome,
        stats={"iterations": int(lanes.count[lane]), "seconds_of_batch": seconds},
        config=json.loads(json.dumps({**config, "learning_rate": rate}, default=str)),
    )
