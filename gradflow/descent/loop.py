r"""Compiled iterations of an optimiser on a batch of runs, chunk by chunk.

A chunk is a list of stops: iterations at which observables may be recorded. Inside it everything
stays on the device, and every run stops by itself at its loss. Where chunks end changes no bit of
what is computed: loss and gradient are carried along, never evaluated again.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from gradflow.descent import side_by_side
from gradflow.descent.drawing import Draws
from gradflow.descent.extras import updated
from gradflow.descent.mixture import Mixture, Optimizer, dealt, each_kind
from gradflow.descent.rates import Rates
from gradflow.descent.stopping import DIVERGED, RUNNING, StopRule
from gradflow.objective import Objective
from gradflow.observables import Observable
from gradflow.state import FactorsView, State, recordable

Mode = Literal["map", "vmap"]
Pairs = tuple[tuple[str, Observable], ...]

STOPS = 32
"""How many a chunk has; see `next_chunk`."""


class RunStates(eqx.Module):
    """The runs' states, each array with the runs along its first axis; or a single run's, without.

    Attributes:
      parameters: the factors.
      optimizer_state: what the optimiser carries.
      count: iterations done.
      loss: at the parameters.
      gradient: of the value, at the parameters.
      status: RUNNING, LOSS, GRADIENT or DIVERGED.
      hits: looks in a row that found the loss low enough, where they are counted.
    """

    parameters: Any
    optimizer_state: Any
    count: Int[Array, "*b"]
    loss: Float[Array, "*b"]
    gradient: Any
    status: Int[Array, "*b"]
    hits: Int[Array, "*b"] | None = None


class Own(NamedTuple):
    """What every run has for itself, along the first axis, or a single one; None if all share it.

    Attributes:
      objective: its data.
      rate: see `BatchStep`.
      draws: by a key of its own.
      loss: to stop at.
    """

    objective: Objective | None = None
    rate: Rates | None = None
    draws: Draws | None = None
    loss: Array | None = None


class BatchStep(eqx.Module):
    """The iterations of one optimiser, or of several, on a batch of runs.

    Attributes:
      objective: of all runs, or, if `many`, one a run along the first axis of its arrays.
      many: which of the two.
      optimizer: see `gradflow.run_descent`; or those of a batch with several.
      rates: learning rates, if the optimiser is made from one.
      pairs: names and functions of what is recorded.
      stop: when a run stops.
      mode: runs one after the other ("map") or side by side ("vmap").
      schedules: those of the rates that are functions of the iteration.
      draws: what of the observations an iteration sees; None for all of them.
    """

    objective: Objective
    many: bool = eqx.field(static=True)
    optimizer: Optimizer | Mixture
    rates: Rates | None
    pairs: Pairs = eqx.field(static=True)
    stop: StopRule
    mode: Mode = eqx.field(static=True)
    schedules: tuple[Callable[[Any], Any], ...] = ()
    draws: Draws | None = None

    def initialise(self, parameters: Any, begin: int = 0) -> RunStates:
        """The runs at the iteration to begin with.

        Args:
          parameters: the starts, along the first axis.
          begin: the number of that iteration.
        """
        number = jnp.asarray(begin, jax.dtypes.canonicalize_dtype(jnp.int64))
        return _initialise(self, parameters, number)

    def advance(self, runs: RunStates, chunk: Int[Array, "2 k"]) -> tuple[RunStates, Any]:
        """Take all runs through the stops of one chunk.

        With several devices the runs are spread over them, those of each optimiser as evenly as
        their number allows, and each device goes on until its own runs are done.

        Returns:
          The runs, and the records: valid or not, iteration, observables; runs first, then stops.
        """
        count, devices = runs.count.shape[0], jax.device_count()
        if devices == 1 or count == 1:
            return _advance(self, runs, chunk)
        mixed = self.optimizer if isinstance(self.optimizer, Mixture) else None
        sizes, numbers, places = dealt((count,) if mixed is None else mixed.sizes, devices)
        spread, own = jax.tree.map(lambda leaf: leaf[numbers], (runs, self.own()))
        first = np.isin(np.arange(len(numbers)), places)
        spread = dataclasses.replace(spread, status=jnp.where(first, spread.status, DIVERGED))
        step = self.of(own)
        if mixed is not None:
            step = dataclasses.replace(step, optimizer=dataclasses.replace(mixed, sizes=sizes))
        moved = _advance_spread(step, spread, chunk)
        return jax.tree.map(lambda leaf: leaf[places], moved)

    def program(self, runs: RunStates) -> str:
        """The text of what `advance` does on one device: optimisers and observables are in it."""
        return _advance.lower(self, runs, jnp.zeros((2, STOPS), runs.count.dtype)).as_text()

    def restrict(self, left: np.ndarray) -> "BatchStep":
        """For these of the runs alone."""
        restricted = self.of(jax.tree.map(lambda leaf: leaf[left], self.own()))
        if not isinstance(self.optimizer, Mixture):
            return restricted
        return dataclasses.replace(restricted, optimizer=self.optimizer.restrict(left))

    def own(self) -> Own:
        """What every run has for itself."""
        data, loss = self.objective if self.many else None, self.stop.loss
        return Own(data, self.rates, self.draws, loss if loss.ndim else None)

    def of(self, own: Own) -> "BatchStep":
        """For other runs, or a single one: those to whom this belongs."""
        objective: Any = own.objective if self.many else self.objective
        stop = self.stop if own.loss is None else dataclasses.replace(self.stop, loss=own.loss)
        return dataclasses.replace(
            self, objective=objective, rates=own.rate, draws=own.draws, stop=stop
        )

    def rate(self, count: Array) -> Array | None:
        """A single run's rate at an iteration, in the precision of its parameters."""
        return None if self.rates is None else self.rates.at(count, self.schedules)

    def transformation(self, count: Array) -> optax.GradientTransformation:
        """The optimiser itself, made from a single run's rate if it is made from one."""
        assert not isinstance(self.optimizer, Mixture)
        if isinstance(self.optimizer, optax.GradientTransformation):
            return self.optimizer
        return self.optimizer(self.rate(count))

    def evaluate(self, parameters: Any, count: Array) -> tuple[Array, Any]:
        """A single run's loss and gradient, as the iteration with this number sees them."""
        if self.draws is None:
            return self.objective.loss_and_gradient(parameters)
        return self.draws.evaluate(self.objective, parameters, count)

    def change(
        self, count: Array, parameters: Any, state: Any, loss: Array, gradient: Any
    ) -> tuple[Any, Any]:
        """What an iteration adds to a run's parameters, and what the optimiser carries on."""
        rule = self.transformation(count)
        if self.draws is not None:  # an iteration's loss is not that of the next one's batch
            return rule.update(gradient, state, parameters)
        return updated(rule, self.objective, gradient, state, parameters, loss)


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


@eqx.filter_jit
def _initialise(batch_step: BatchStep, parameters: Any, begin: Array) -> RunStates:
    def begun(part: BatchStep, _: None, values: Any) -> tuple[Any, tuple]:
        def one(own: Own, values: Any) -> Any:
            return part.of(own).transformation(begin).init(values)

        return jax.vmap(one)(part.own(), values), ()

    def evaluated(run: tuple[Own, Any]) -> tuple[Any, Any]:
        own, values = run
        return batch_step.of(own).evaluate(values, begin)

    given = (batch_step.own(), parameters)
    state, _ = each_kind(batch_step, None, parameters, begun)
    singly = batch_step.mode == "map"
    loss, gradient = _one_by_one(evaluated, given) if singly else jax.vmap(evaluated)(given)
    count = loss.shape[0]
    return RunStates(
        parameters=parameters,
        optimizer_state=state,
        count=jnp.full(count, begin),
        loss=loss,
        gradient=gradient,
        status=jnp.zeros(count, jnp.int32),
        hits=batch_step.stop.no_hits(count),
    )


@eqx.filter_jit
def _advance_spread(batch_step: BatchStep, runs: RunStates, chunk: Array) -> tuple[RunStates, Any]:
    spread, all_alike = PartitionSpec("runs"), PartitionSpec()
    shared = batch_step.of(Own())
    arrays, rest = eqx.partition(shared, eqx.is_array)

    def part(own: Any, shared: Any, some: RunStates, stops: Array) -> Any:
        return _through(eqx.combine(shared, rest).of(own), some, stops)

    return jax.shard_map(
        part,
        mesh=Mesh(np.array(jax.devices()), ("runs",)),
        in_specs=(spread, all_alike, spread, all_alike),
        out_specs=spread,
        check_vma=False,
    )(batch_step.own(), arrays, runs, chunk)


@eqx.filter_jit
def _advance(batch_step: BatchStep, runs: RunStates, chunk: Array) -> tuple[RunStates, Any]:
    return _through(batch_step, runs, chunk)


def _through(batch_step: BatchStep, runs: RunStates, chunk: Array) -> tuple[RunStates, Any]:
    if batch_step.mode == "vmap":
        return side_by_side.through(batch_step, runs, chunk)
    if isinstance(batch_step.optimizer, Mixture):
        return _through_each(batch_step, runs, chunk)

    def one(run: tuple[Any, RunStates]) -> tuple[RunStates, Any]:
        own, state = run
        return _one(batch_step.of(own), state, chunk)

    return _one_by_one(one, (batch_step.own(), runs))


def _through_each(batch_step: BatchStep, runs: RunStates, chunk: Array) -> tuple[RunStates, Any]:
    """One optimiser's runs after the other's."""

    def through(part: BatchStep, state: Any, some: RunStates) -> tuple[Any, Any]:
        some, found = _through(part, dataclasses.replace(some, optimizer_state=state), chunk)
        return some.optimizer_state, (dataclasses.replace(some, optimizer_state=None), found)

    others = dataclasses.replace(runs, optimizer_state=None)
    states, (runs, found) = each_kind(batch_step, runs.optimizer_state, others, through)
    return dataclasses.replace(runs, optimizer_state=states), found


def _one_by_one(function: Callable[[Any], Any], batch: Any) -> Any:
    """The function of every run; of a single one without a loop around it."""
    if jax.tree.leaves(batch)[0].shape[0] == 1:
        single = jax.tree.map(lambda leaf: leaf[0], batch)
        return jax.tree.map(lambda leaf: leaf[None], function(single))
    return jax.lax.map(function, batch)


def _one(batch_step: BatchStep, run: RunStates, chunk: Array) -> tuple[RunStates, Any]:
    """One run through a chunk."""
    objective, rule = batch_step.objective, batch_step.stop

    def to_stop(carry: Any, stop: Array) -> tuple[Any, Any]:
        mark, recorded = stop
        status = carry[-1]
        alive = status == RUNNING

        def going(inner: Any) -> Array:
            count, loss, gradient, hits = *inner[:3], inner[-1]
            return alive & (count < mark) & rule.goes_on(loss, gradient, hits)

        def body(inner: Any) -> Any:
            count, loss, gradient, parameters, state, hits = inner
            change, state = batch_step.change(count, parameters, state, loss, gradient)
            parameters = jax.tree.map(jnp.add, parameters, change)
            loss, gradient = batch_step.evaluate(parameters, count + 1)
            hits = rule.looked(count + 1, loss, hits)
            return count + 1, loss, gradient, parameters, state, hits

        inner = jax.lax.while_loop(going, body, carry[:-1])
        count, loss, gradient, parameters, _, hits = inner
        status = jnp.where(alive, rule.status(loss, gradient, hits), status)
        valid = alive & ((recorded == 1) | (status != RUNNING))
        view = State(FactorsView(objective, batch_step.rate(count)), parameters)

        def observe(_: Any) -> Any:
            return {n: recordable(n, function(view)) for n, function in batch_step.pairs}

        def nothing(_: Any) -> Any:  # not NaN, which jax.debug_nans takes for a mistake
            shapes = jax.eval_shape(observe, None)
            return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        seen = jax.lax.cond(valid, observe, nothing, None)
        return (*inner, status), (valid, count, seen)

    # The carry holds loss and gradient at the current parameters: each iteration evaluates once,
    # and the stop is decided before the update.
    carry = (
        run.count,
        run.loss,
        run.gradient,
        run.parameters,
        run.optimizer_state,
        run.hits,
        run.status,
    )
    carry, found = jax.lax.scan(to_stop, carry, chunk.T)
    count, loss, gradient, parameters, state, hits, status = carry
    return RunStates(parameters, state, count, loss, gradient, status, hits), found
