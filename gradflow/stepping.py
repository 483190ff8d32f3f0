r"""Compiled iterations of an optimiser on a batch of runs, chunk by chunk.

A chunk is a list of stops: iterations at which observables may be recorded. Inside it everything
stays on the device, and every run stops by itself at its loss. Where chunks end changes no bit of
what is computed: loss and gradient are carried along, never evaluated again.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from gradflow.charts import FactorChart
from gradflow.factorizations import Objective
from gradflow.observables import Observable, State

Optimizer = optax.GradientTransformation | Callable[[Any], optax.GradientTransformation]
Mode = Literal["map", "vmap"]
Pairs = tuple[tuple[str, Observable], ...]

RUNNING, LOSS, DIVERGED = range(3)
STOPS = 32


class Lanes(eqx.Module):
    """The runs' states, each array with the runs along its first axis.

    Attributes:
      parameters: the factors.
      optimizer_state: what the optimiser carries.
      count: iterations done.
      loss: at the parameters.
      gradient: of the value, at the parameters.
      status: RUNNING, LOSS or DIVERGED.
    """

    parameters: Any
    optimizer_state: Any
    count: Int[Array, " b"]
    loss: Float[Array, " b"]
    gradient: Any
    status: Int[Array, " b"]


def make(optimizer: Optimizer, rate: Array | None) -> optax.GradientTransformation:
    """The transformation itself, from a rate if it is made from one."""
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    return optimizer(rate)


@eqx.filter_jit
def initialise(
    objective: Objective, many: bool, optimizer: Optimizer, parameters: Any, rates: Array | None
) -> Lanes:
    """The runs at iteration 0.

    Args:
      objective: of all runs, or, if `many`, one a run along the first axis of its arrays.
      many: which of the two.
      optimizer: see `gradflow.run_descent`.
      parameters: the starts, along the first axis.
      rates: learning rates, if the optimiser is made from one.
    """

    def one(run: tuple[Any, Any, Array | None]) -> tuple[Any, Any]:
        data, values, rate = run
        evaluated = (data if many else objective).loss_and_gradient(values)
        return make(optimizer, rate).init(values), evaluated

    # One after the other on every device: a batched product may add in another order.
    batch = (objective if many else None, parameters, rates)
    state, (loss, gradient) = _each(one, batch, "map")
    count = loss.shape[0]
    return Lanes(
        parameters=parameters,
        optimizer_state=state,
        count=jnp.zeros(count, jax.dtypes.canonicalize_dtype(jnp.int64)),
        loss=loss,
        gradient=gradient,
        status=jnp.zeros(count, jnp.int32),
    )


def next_chunk(marks: np.ndarray, position: int, now: int, budget: int) -> tuple[Array, int, int]:
    """The next stops (iteration, recorded or not), the next position in `marks`, the end.

    Their number is fixed, so that the program is compiled once: a short list is padded with its
    last stop, not recorded again. A chunk ends after `budget` iterations at the latest, if need be
    between records.
    """
    stops: list[tuple[int, int]] = []
    while len(stops) < STOPS and position < len(marks):
        if marks[position] > now + budget:
            break
        stops.append((int(marks[position]), 1))
        position += 1
    if not stops:
        stops.append((now + budget, 0))
    last = stops[-1][0]
    stops += [(last, 0)] * (STOPS - len(stops))
    return jnp.asarray(np.array(stops).T), position, last


def advance(
    objective: Objective,
    many: bool,
    optimizer: Optimizer,
    rates: Array | None,
    lanes: Lanes,
    chunk: Int[Array, "2 k"],
    pairs: Pairs,
    stop_loss: Array,
    mode: Mode,
) -> tuple[Lanes, Any]:
    """Take all runs through the stops of one chunk.

    With several devices the runs are spread over them, as evenly as their number allows, and each
    device goes on until its own runs are done.

    Returns:
      The runs, and the records: valid or not, iteration, observables; runs first, then stops.
    """
    count, devices = lanes.count.shape[0], jax.device_count()
    if devices == 1 or count == 1:
        return _advance(objective, many, optimizer, rates, lanes, chunk, pairs, stop_loss, mode)
    spread = -(-count // devices) * devices
    padded, data, steps = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[:1], spread - count, axis=0)]),
        (lanes, objective if many else None, rates),
    )
    idle = jnp.arange(spread) >= count
    padded = eqx.tree_at(lambda tree: tree.status, padded, jnp.where(idle, DIVERGED, padded.status))
    moved, found = _advance_spread(
        data if many else objective, many, optimizer, steps, padded, chunk, pairs, stop_loss, mode
    )
    return jax.tree.map(lambda leaf: leaf[:count], (moved, found))


@eqx.filter_jit
def _advance_spread(
    objective: Objective,
    many: bool,
    optimizer: Optimizer,
    rates: Array | None,
    lanes: Lanes,
    chunk: Array,
    pairs: Pairs,
    stop_loss: Array,
    mode: Mode,
) -> tuple[Lanes, Any]:
    runs, all_alike = PartitionSpec("runs"), PartitionSpec()
    arrays, rest = eqx.partition(objective, eqx.is_array)

    def part(data: Any, speeds: Any, some: Lanes, stops: Array, target: Array) -> Any:
        whole = eqx.combine(data, rest)
        return _through(whole, many, optimizer, speeds, some, stops, pairs, target, mode)

    return jax.shard_map(
        part,
        mesh=Mesh(np.array(jax.devices()), ("runs",)),
        in_specs=(runs if many else all_alike, runs, runs, all_alike, all_alike),
        out_specs=runs,
        check_vma=False,
    )(arrays, rates, lanes, chunk, stop_loss)


def program(
    objective: Objective,
    many: bool,
    optimizer: Optimizer,
    rates: Array | None,
    lanes: Lanes,
    pairs: Pairs,
    mode: Mode,
) -> str:
    """The text of what `advance` does on one device: two optimisers or observables differ in it."""
    chunk, stop_loss = jnp.zeros((2, STOPS), lanes.count.dtype), jnp.zeros((), lanes.loss.dtype)
    return _advance.lower(
        objective, many, optimizer, rates, lanes, chunk, pairs, stop_loss, mode
    ).as_text()


@eqx.filter_jit
def _advance(
    objective: Objective,
    many: bool,
    optimizer: Optimizer,
    rates: Array | None,
    lanes: Lanes,
    chunk: Array,
    pairs: Pairs,
    stop_loss: Array,
    mode: Mode,
) -> tuple[Lanes, Any]:
    return _through(objective, many, optimizer, rates, lanes, chunk, pairs, stop_loss, mode)


def _through(
    objective: Objective,
    many: bool,
    optimizer: Optimizer,
    rates: Array | None,
    lanes: Lanes,
    chunk: Array,
    pairs: Pairs,
    stop_loss: Array,
    mode: Mode,
) -> tuple[Lanes, Any]:
    def one(run: tuple[Any, Lanes, Array | None]) -> tuple[Lanes, Any]:
        data, lane, rate = run
        whole = data if many else objective
        return _one(whole, make(optimizer, rate), lane, chunk, pairs, stop_loss)

    return _each(one, (objective if many else None, lanes, rates), mode)


def _each(function: Callable[[Any], Any], batch: Any, mode: Mode) -> Any:
    """The function of every run; of a single one without a loop around it."""
    if jax.tree.leaves(batch)[0].shape[0] == 1:
        single = jax.tree.map(lambda leaf: leaf[0], batch)
        return jax.tree.map(lambda leaf: leaf[None], function(single))
    return jax.lax.map(function, batch) if mode == "map" else jax.vmap(function)(batch)


def _one(
    objective: Objective,
    transformation: optax.GradientTransformation,
    lane: Lanes,
    chunk: Array,
    pairs: Pairs,
    stop_loss: Array,
) -> tuple[Lanes, Any]:
    """One run through a chunk."""
    # Value and gradient are at hand for those that ask for more (L-BFGS, Polyak's rule); where
    # none does, the compiler leaves the penalty's value out.
    update = optax.with_extra_args_support(transformation).update

    def status_of(loss: Array) -> Array:
        status = jnp.where(loss <= stop_loss, LOSS, RUNNING)
        return jnp.where(loss < jnp.inf, status, DIVERGED).astype(jnp.int32)

    def to_stop(carry: Any, stop: Array) -> tuple[Any, Any]:
        mark, recorded = stop
        status = carry[-1]
        alive = status == RUNNING

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
            loss, gradient = objective.loss_and_gradient(parameters)
            return count + 1, loss, gradient, parameters, state

        inner = jax.lax.while_loop(going, body, carry[:-1])
        count, loss, _, parameters, _ = inner
        status = jnp.where(alive, status_of(loss), status)
        valid = alive & ((recorded == 1) | (status != RUNNING))
        view = State(FactorChart(objective), parameters)

        def observe(_: Any) -> Any:
            return {name: function(view) for name, function in pairs}

        def nothing(_: Any) -> Any:
            shapes = jax.eval_shape(observe, None)
            return jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)

        seen = jax.lax.cond(valid, observe, nothing, None)
        return (*inner, status), (valid, count, seen)

    # The carry holds loss and gradient at the current parameters: each iteration evaluates once,
    # and the stop is decided before the update.
    carry = (
        lane.count,
        lane.loss,
        lane.gradient,
        lane.parameters,
        lane.optimizer_state,
        lane.status,
    )
    carry, found = jax.lax.scan(to_stop, carry, chunk.T)
    count, loss, gradient, parameters, state, status = carry
    return Lanes(parameters, state, count, loss, gradient, status), found
