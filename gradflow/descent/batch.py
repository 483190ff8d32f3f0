"""Batches of runs on the way: chunks, records, runs that are done, checkpoints."""

import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow.descent.checkpoint import Keeper
from gradflow.descent.loop import BatchStep, RunStates, next_chunk
from gradflow.descent.stopping import RUNNING

_CHUNK_SECONDS, _FIRST_BUDGET = 0.5, 256


class Batch:
    """Runs on the way: their states on the device, their records here.

    Where runs go side by side, those that are done are taken out once they are half of all, so that
    the others are not held up.
    """

    def __init__(self, batch_step: BatchStep, runs: RunStates):
        self.batch_step, self.runs = batch_step, runs
        count = runs.count.shape[0]
        self.going = list(range(count))
        self.records: list[list[Any]] = [[] for _ in range(count)]
        self.ended: dict[int, RunStates] = {}
        self.seconds = 0.0

    def run(self, marks: np.ndarray, keeper: Keeper, bar: Callable[[int, float], None]) -> None:
        """Go on to the last mark, or until every run has stopped."""
        position, now, budget = self._resume(marks, keeper)
        while position < len(marks) and self.going:
            chunk, position, last = next_chunk(marks, position, now, budget)
            tick = time.perf_counter()
            self.runs, found = self.batch_step.advance(self.runs, chunk)
            jax.block_until_ready(self.runs)
            self._keep(jax.tree.map(np.asarray, found))
            spent = time.perf_counter() - tick
            self.seconds += spent
            budget = _grow(budget, last - now, spent)
            now = last
            bar(int(jnp.max(self.runs.count)), float(jnp.max(self.runs.loss)))
            self._take_out()
            if keeper.due():
                self._write(keeper, position, now, budget)
        for k, run in enumerate(self.going):
            self.ended[run] = jax.tree.map(lambda leaf, k=k: leaf[k], self.runs)

    def _keep(self, found: Any) -> None:
        for k, run in enumerate(self.going):
            kept = np.flatnonzero(found[0][k])
            if kept.size:
                part = jax.tree.map(lambda array, k=k, kept=kept: array[k][kept], found[1:])
                self.records[run].append(part)

    def _take_out(self) -> None:
        running = np.asarray(self.runs.status) == RUNNING
        if self.batch_step.mode == "map" and running.any():
            return  # here a run that is done costs nothing
        if 2 * running.sum() > len(running):
            return
        for k in np.flatnonzero(~running):
            self.ended[self.going[k]] = jax.tree.map(lambda leaf, k=k: leaf[k], self.runs)
        self.going = [run for run, alive in zip(self.going, running, strict=True) if alive]
        left = np.flatnonzero(running)
        self.runs = jax.tree.map(lambda leaf: leaf[left], self.runs)
        self.batch_step = self.batch_step.restrict(left)

    def _write(self, keeper: Keeper, position: int, now: int, budget: int) -> None:
        for parts in self.records:
            if len(parts) > 1:
                parts[:] = [jax.tree.map(lambda *some: np.concatenate(some), *parts)]
        ended = sorted(self.ended)
        plain = {
            "position": position,
            "now": now,
            "budget": budget,
            "seconds": self.seconds,
            "going": self.going,
            "ended": ended,
            "recorded": [k for k, parts in enumerate(self.records) if parts],
        }
        records = [parts[0] for parts in self.records if parts]
        keeper.write((self.runs, [self.ended[k] for k in ended], records), plain)

    def _resume(self, marks: np.ndarray, keeper: Keeper) -> tuple[int, int, int]:
        """Position in the marks, iteration and budget to begin with."""
        begin = (0, 0, _FIRST_BUDGET)
        found = keeper.read()
        if found is None:
            return begin
        leaves, plain = found
        chunk = next_chunk(marks, *begin)[0]
        records = eqx.filter_eval_shape(BatchStep.advance, self.batch_step, self.runs, chunk)[1][1:]
        left, recorded = plain["going"], plain["recorded"]
        run = jax.tree.map(lambda leaf: leaf[0], self.runs)
        shape = (self.runs, [run] * len(plain["ended"]), [records] * len(recorded))
        runs, ended, parts = jax.tree.unflatten(jax.tree.structure(shape), leaves)
        self.runs = jax.tree.map(jnp.asarray, runs)
        self.ended = dict(zip(plain["ended"], ended, strict=True))
        for k, part in zip(recorded, parts, strict=True):
            self.records[k] = [part]
        self.batch_step = self.batch_step.restrict(np.asarray(left, int))
        self.going, self.seconds = left, plain["seconds"]
        return plain["position"], plain["now"], plain["budget"]


def _grow(budget: int, used: int, seconds: float) -> int:
    """Iterations for the next chunk, so that one takes about half a second."""
    rate = max(used, 1) / max(seconds, 1e-6)
    return int(np.clip(rate * _CHUNK_SECONDS, budget / 8, budget * 8)) + 1
