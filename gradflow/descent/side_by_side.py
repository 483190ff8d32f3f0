r"""Runs side by side, in step: one loop for all of them, as accelerators want it.

`jax.vmap` of a run's own loop would carry every array of every run through a choice in each
iteration, evaluate what is recorded at every stop, due or not, and wait for the host to say whether
to go on. Here one iteration moves the parameters of those that still run and evaluates loss and
gradient of all, so that nothing but parameters needs a choice: where these stay, so do those.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from gradflow.descent.lanes import lanes
from gradflow.descent.mixture import each_kind
from gradflow.descent.stopping import RUNNING
from gradflow.state import FactorsView, State, recordable

if TYPE_CHECKING:
    from gradflow.descent.loop import BatchStep, RunStates

BLOCK = 16
"""Iterations between two looks at whether any run goes on: the device does them unasked."""
UNROLL = 4
"""Iterations written out in a block: small problems wait for the launch of each piece of a loop."""
WORTH = (64, 10_000_000)
"""Runs, and iterations of all of them, from which on a CPU is faster for the time it compiles."""
LONGEST_ON_CPU = 700
"""Operations of an iteration up to which it is: at 890 (2 x 2, depth 15) arrays are as fast."""


def through(
    batch_step: "BatchStep", runs: "RunStates", chunk: Int[Array, "2 k"]
) -> tuple["RunStates", Any]:
    """All runs through the stops of a chunk; those that still run have done as many iterations.

    Args:
      batch_step: what an iteration is.
      runs: where they are.
      chunk: stops, and whether to record there.

    Returns:
      The runs, and the records: valid or not, iteration, observables; runs first, then stops.
    """

    def to_stop(runs: "RunStates", stop: Array) -> tuple["RunStates", Any]:
        mark, recorded = stop
        before = runs.status == RUNNING
        runs = _to_mark(batch_step, _judged(batch_step, runs), mark)
        valid = before & ((recorded == 1) | (runs.status != RUNNING))
        return runs, (valid, runs.count, _seen(batch_step, runs, valid))

    runs, found = jax.lax.scan(to_stop, runs, chunk.T)
    return runs, jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), found)


def worthwhile(batch_step: "BatchStep", runs: "RunStates", steps: int) -> bool:
    """Whether a CPU should do the runs side by side: many tiny ones, for long."""
    count = runs.count.shape[0]
    if count < WORTH[0] or count * steps < WORTH[1]:
        return False
    tiny = lanes(_iteration, batch_step, runs)
    return tiny is not None and tiny.operations <= LONGEST_ON_CPU


def _to_mark(batch_step: "BatchStep", runs: "RunStates", mark: Array) -> "RunStates":
    """In blocks, and the rest one by one, unless all have stopped before."""
    left = jnp.maximum(mark - jnp.max(jnp.where(runs.status == RUNNING, runs.count, 0)), 0)
    if (tiny := lanes(_iteration, batch_step, runs)) is None:
        one = partial(_iteration, batch_step)
        return _in_blocks(one, runs, lambda r: r.status, left, BLOCK, UNROLL)
    blocks = tiny_blocks(tiny.operations)
    numbers = _in_blocks(
        tiny.iterate, tiny.split(runs), lambda n: tiny.joined(n).status, left, *blocks
    )
    return tiny.joined(numbers)


def tiny_blocks(operations: int) -> tuple[int, int]:
    """Iterations in a block of tiny runs, and how many of them are written out.

    A CPU does them one by one: it need not wait for anything, and as all are the same piece of
    code, where chunks end changes no bit.

    Args:
      operations: of an iteration.
    """
    if jax.default_backend() == "cpu":
        return 1, 1
    return BLOCK, 16 if operations <= 40 else UNROLL if operations <= 200 else 1


def _in_blocks(
    iteration: Callable[[Any], Any],
    runs: Any,
    status: Callable[[Any], Array],
    left: Array,
    block: int,
    unroll: int,
) -> Any:
    """So many iterations, in blocks and the rest one by one, unless all have stopped before."""

    def going(carry: tuple[Array, Any]) -> Array:
        return (carry[0] > 0) & jnp.any(status(carry[1]) == RUNNING)

    def one(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        return carry[0] - 1, iteration(carry[1])

    def several(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        step = jax.lax.fori_loop(0, block, lambda _, r: iteration(r), carry[1], unroll=unroll)
        return carry[0] - 1, step

    if block > 1:
        _, runs = jax.lax.while_loop(going, several, (left // block, runs))
    return jax.lax.while_loop(going, one, (left % block if block > 1 else left, runs))[1]


def _iteration(batch_step: "BatchStep", runs: "RunStates") -> "RunStates":
    """One iteration of those that run; of the others nothing is read that may change."""
    alive = runs.status == RUNNING

    def moved(single: "BatchStep", run: tuple[Any, ...]) -> tuple[Any, Any]:
        return single.change(*run)

    def moved_all(part: "BatchStep", state: Any, others: tuple[Any, ...]) -> tuple[Any, Any]:
        count, parameters, loss, gradient, going = others
        change, after = _each(part, moved, (count, parameters, state, loss, gradient))
        # Of a run that has stopped, what it would go on with stays as well.
        return jax.tree.map(lambda new, old: _chosen(going, new, old), after, state), change

    def evaluated(single: "BatchStep", run: tuple[Any, Any]) -> tuple[Any, Any]:
        return single.evaluate(*run)

    others = (runs.count, runs.parameters, runs.loss, runs.gradient, alive)
    state, change = each_kind(batch_step, runs.optimizer_state, others, moved_all)
    parameters = jax.tree.map(lambda p, c: _chosen(alive, p + c, p), runs.parameters, change)
    count = runs.count + alive
    loss, gradient = _each(batch_step, evaluated, (parameters, count))
    hits = batch_step.stop.looked(count, loss, runs.hits)
    if hits is not None and runs.hits is not None:
        hits = jnp.where(alive, hits, runs.hits)
    moved_on = dataclasses.replace(
        runs,
        parameters=parameters,
        optimizer_state=state,
        count=count,
        loss=jnp.where(alive, loss, runs.loss),
        gradient=gradient,
        hits=hits,
    )
    return _judged(batch_step, moved_on)


def _chosen(which: Array, new: Array, old: Array) -> Array:
    """The new values of these runs, which come along the first axis; the old ones of others."""
    return jnp.where(which.reshape(-1, *[1] * (old.ndim - 1)), new, old)


def _judged(batch_step: "BatchStep", runs: "RunStates") -> "RunStates":
    """With the status of those that run."""

    def judged(single: "BatchStep", values: tuple[Any, ...]) -> Array:
        return single.stop.status(*values)

    status = _each(batch_step, judged, (runs.loss, runs.gradient, runs.hits))
    return dataclasses.replace(runs, status=jnp.where(runs.status == RUNNING, status, runs.status))


def _seen(batch_step: "BatchStep", runs: "RunStates", valid: Array) -> Any:
    """The observables of all runs if one is to be recorded, else zeros."""

    def one(single: "BatchStep", run: tuple[Any, Any]) -> Any:
        count, parameters = run
        view = State(FactorsView(single.objective, single.rate(count)), parameters)
        return {n: recordable(n, function(view)) for n, function in batch_step.pairs}

    def observe(_: Any) -> Any:
        return _each(batch_step, one, (runs.count, runs.parameters))

    def nothing(_: Any) -> Any:
        shapes = jax.eval_shape(observe, None)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    return jax.lax.cond(jnp.any(valid), observe, nothing, None)


def _each(batch_step: "BatchStep", function: Callable[..., Any], batch: Any) -> Any:
    """A function of every run's own step and values."""
    return jax.vmap(lambda own, values: function(batch_step.of(own), values))(
        batch_step.own(), batch
    )
