"""Batches of runs on the way: chunks, records, runs that are done, checkpoints."""

import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.device import out_of_memory
from gradflow._util.logs import LOGGER
from gradflow._util.spread import agreed, fetched
from gradflow.descent.checkpoint import Keeper
from gradflow.descent.loop import BatchStep, RunStates, next_chunk
from gradflow.descent.pace import Pace
from gradflow.descent.records import Ends, Records, in_order
from gradflow.descent.resuming import going_of
from gradflow.descent.stopping import RUNNING

_CHUNK_SECONDS, _FIRST_BUDGET = 0.5, 256
"""What a chunk should take, and iterations of the first, when none has been timed."""
_PATIENCE = 1.0
"""For how many times its first chunk's seconds, most of them the compiler's, a batch keeps a size,
since another one is compiled again."""


class RunningBatch:
    """Runs on the way: their states on the device, their records here.

    Where runs go side by side, those that are done are taken out once they are half of all, so that
    the others are not held up, but no sooner than what this compiles has been worth (`_PATIENCE`).
    What comes from the device comes for all runs at once.
    """

    def __init__(self, batch_step: BatchStep, runs: RunStates):
        self.batch_step, self.runs = batch_step, runs
        self.going = np.arange(runs.count.shape[0])
        self.records: list[Records] = []
        self.ended: list[Ends] = []
        self.seconds = 0.0
        self.first, self.since = 0.0, 0.0  # seconds of the first chunk of this size, of the others

    def run(self, marks: np.ndarray, keeper: Keeper, bar: Callable[[int, float], None]) -> None:
        """Go on to the last mark, or until every run has stopped."""
        position, now, budget = self._resume(marks, keeper)
        pace = Pace()
        while position < len(marks) and self.going.size:
            before = position
            chunk, position, last = next_chunk(marks, position, now, budget)
            tick = time.perf_counter()
            found, (count, loss, status) = self._advance(chunk)
            spent = time.perf_counter() - tick
            self.records.append(Records.of(self.going, found))
            self.seconds += spent
            self.first, self.since = self.first or spent, self.since + spent * (self.first > 0)
            used = last - now
            budget = _grow(budget, used, pace.of_iterations(used, position - before, spent))
            budget = agreed(budget, self.runs)
            LOGGER.debug("descent: to iteration %d in %.3g s", last, spent)
            now = last
            bar(int(np.max(count)), float(np.max(loss)))
            self._take_out(status == RUNNING)
            if keeper.due():
                self._write(keeper, position, now, budget)
        if self.going.size:
            self.ended.append(self._ends())

    def results(self) -> tuple[Records, Ends]:
        """The records and the ends of all runs, in the order of these."""
        self.records, self.ended = [in_order(self.records)], [in_order(self.ended)]
        return self.records[0], self.ended[0]

    def _advance(self, chunk: Any) -> tuple[Any, Any]:
        """Take the runs through a chunk: records; iterations, losses and statuses at its end."""
        try:
            self.runs, found = self.batch_step.advance(self.runs, chunk)
            runs = self.runs
            return fetched((found, (runs.count, runs.loss, runs.status)))
        except jax.errors.JaxRuntimeError as error:
            if not out_of_memory(error):
                raise
            raise MemoryError(
                f"The device has not enough memory for {self.going.size:,} runs at once; give "
                "fewer in one call, or record less."
            ) from error

    def _ends(self) -> Ends:
        """Where those that go are now."""
        runs = self.runs
        parts = (runs.parameters, runs.count, runs.status, going_of(runs))
        return Ends(self.going, *fetched(parts))

    def _take_out(self, running: np.ndarray) -> None:
        if self.batch_step.mode == "map" and running.any():
            return  # here a run that is done costs nothing
        if 2 * running.sum() > len(running):
            return
        if running.any() and self.since < _PATIENCE * self.first:
            return
        self.first, self.since = 0.0, 0.0
        self.ended.append(self._ends().take(~running))
        left = np.flatnonzero(running)
        self.going = self.going[left]
        if not left.size:
            return
        self.runs = jax.tree.map(lambda leaf: leaf[left], self.runs)
        self.batch_step = self.batch_step.restrict(left)

    def _write(self, keeper: Keeper, position: int, now: int, budget: int) -> None:
        self.records = [in_order(self.records)]
        self.ended = [in_order(self.ended)] if self.ended else []
        plain = {
            "position": position,
            "now": now,
            "budget": budget,
            "seconds": self.seconds,
            "going": self.going.tolist(),
            "some_ended": bool(self.ended),
        }
        keeper.write((self.runs, self.records[0], self.ended), plain)

    def _resume(self, marks: np.ndarray, keeper: Keeper) -> tuple[int, int, int]:
        """Position in the marks, iteration and budget to begin with."""
        begin = (0, int(marks[0]), _FIRST_BUDGET)
        kept = keeper.read()
        if kept is None:
            return begin
        leaves, plain = kept
        chunk = next_chunk(marks, *begin)[0]
        found = eqx.filter_eval_shape(BatchStep.advance, self.batch_step, self.runs, chunk)[1]
        runs: Any = self.runs
        records = Records(*found)
        ends = Ends(runs.count, runs.parameters, runs.count, runs.status, going_of(runs))
        shape = (runs, records, [ends] if plain["some_ended"] else [])
        self.runs, records, self.ended = jax.tree.unflatten(jax.tree.structure(shape), leaves)
        self.runs, self.records = jax.tree.map(jnp.asarray, self.runs), [records]
        self.going, self.seconds = np.asarray(plain["going"], int), plain["seconds"]
        self.batch_step = self.batch_step.restrict(self.going)
        return plain["position"], plain["now"], plain["budget"]


def _grow(budget: int, used: int, seconds: float) -> int:
    """Iterations for the next chunk, so that one takes about half a second."""
    rate = max(used, 1) / max(seconds, 1e-6)
    return int(np.clip(rate * _CHUNK_SECONDS, budget / 8, budget * 8)) + 1
