"""What a batch of runs draws: their keys, and what does not go with drawn gradients."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.provenance import plain
from gradflow._util.random import Keys, as_keys
from gradflow.descent.loop import BatchStep, RunStates
from gradflow.descent.mixture import each_kind
from gradflow.descent.options import DescentOptions
from gradflow.objective import Objective
from gradflow.trajectory import Trajectory


def gather_keys(
    options: DescentOptions, objectives: Sequence[Objective], order: Sequence[int]
) -> Keys | None:
    """One key a run, if they draw anything.

    Args:
      options: checked.
      objectives: one a run.
      order: the runs' numbers as they were given, and their keys with them.

    Raises:
      ValueError: if there is no key, or their number differs, or nothing can be drawn.
    """
    if options.sampling is None:
        return None
    for objective in {id(one): one for one in objectives}.values():
        options.sampling.check(objective)
    found = as_keys(options.key, "key")
    runs = len(order)
    if found.numbers.ndim == 1:
        numbers = jnp.broadcast_to(found.numbers, (runs, *found.numbers.shape))
        return Keys(numbers, found.kind)
    if len(found.numbers) != runs:
        raise ValueError(
            f"There are {runs} starts but {len(found.numbers)} keys; give one for each, as by "
            f"jax.random.split(key, {runs}), or one for all."
        )
    return Keys(found.numbers[np.asarray(order)], found.kind)


def told_keys(options: DescentOptions, keys: Keys | None, runs: int) -> list[dict[str, Any]]:
    """What is drawn, and by which key, as stored runs say it."""
    if keys is None:
        return [{}] * runs
    sampling = plain(options.sampling)
    return [{"sampling": sampling, "key": one.tolist()} for one in np.asarray(keys.numbers)]


def see_no_loss_asked(batch_step: BatchStep, runs: RunStates) -> None:
    """See that optimisers do without the loss, which of a batch is another one each time.

    Raises:
      ValueError: if one does not.
    """

    def first(part: BatchStep, state: Any, others: RunStates) -> tuple[Any, tuple]:
        own, carried, run = jax.tree.map(lambda leaf: leaf[0], (part.own(), state, others))
        part.of(own).change(run.count, run.parameters, carried, run.loss, run.gradient)
        return state, ()

    if batch_step.sampling is None:
        return
    others = dataclasses.replace(runs, optimizer_state=None)
    try:
        eqx.filter_eval_shape(each_kind, batch_step, runs.optimizer_state, others, first)
    except TypeError as error:
        raise ValueError(
            f"The optimizer asks for more than the gradient ({error}), such as a loss to search "
            "along, which batches do not have; choose another one, or leave sampling away."
        ) from None


def drawn_anew(starts: Sequence[Any], told: Sequence[dict[str, Any]]) -> bool:
    """Whether runs that are taken up have drawn by other rules or keys than they will.

    Args:
      starts: as for `gradflow.run_descents`.
      told: what each run draws now.
    """
    names = ("sampling", "key")
    return any(
        isinstance(start, Trajectory)
        and [start.config.get(name) for name in names] != [now.get(name) for name in names]
        for start, now in zip(starts, told, strict=True)
    )
