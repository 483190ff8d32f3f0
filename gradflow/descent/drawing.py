"""What runs draw: of which observations, by which keys, and what does not go with that."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gradflow._util.provenance import plain
from gradflow._util.random import Keys, as_keys
from gradflow.descent.mixture import each_kind
from gradflow.descent.options import DescentOptions
from gradflow.dynamics.sampling import Sampling, sampled
from gradflow.objective import Objective
from gradflow.trajectory import Trajectory

if TYPE_CHECKING:
    from gradflow.descent.loop import BatchStep, RunStates


class Draws(eqx.Module):
    """What of the observations iterations see.

    Attributes:
      sampling: how they are drawn, its numbers along the runs.
      keys: by which keys, one a run; or that of a single one.
      whole_loss: whether losses are those of all observations, as one to stop at is.
    """

    sampling: Sampling
    keys: Keys
    whole_loss: bool = eqx.field(static=True)

    def evaluate(self, objective: Objective, parameters: Any, count: Array) -> tuple[Array, Any]:
        """A single run's loss and gradient, as the iteration with this number sees them.

        Args:
          objective: the run's.
          parameters: the factors.
          count: iterations done before.
        """
        drawn = self.sampling.drawn(objective, self.keys.key(), count, parameters[0].dtype)
        return sampled(objective, parameters, drawn, self.whole_loss)


def gather_draws(
    options: DescentOptions,
    objectives: Sequence[Objective],
    order: Sequence[int],
    losses: Sequence[float | None],
) -> Draws | None:
    """What runs draw, by one key each, if they draw anything.

    Args:
      options: checked.
      objectives: one a run.
      order: the runs' numbers as they were given, and their keys with them.
      losses: to stop at, one a run.

    Raises:
      ValueError: if there is no key, or their number differs, or nothing can be drawn.
    """
    if options.sampling is None:
        return None
    for objective in {id(one): one for one in objectives}.values():
        options.sampling.check(objective)
    whole_loss = any(loss is not None for loss in losses)
    found = as_keys(options.key, "key")
    runs = len(order)
    sampling, numbers = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (runs, *leaf.shape)), (options.sampling, found.numbers)
    )
    if found.numbers.ndim == 1:
        return Draws(sampling, Keys(numbers, found.kind), whole_loss)
    if len(found.numbers) != runs:
        raise ValueError(
            f"There are {runs} starts but {len(found.numbers)} keys; give one for each, as by "
            f"jax.random.split(key, {runs}), or one for all."
        )
    keys = Keys(found.numbers[np.asarray(order)], found.kind)
    return Draws(sampling, keys, whole_loss)


def told_draws(options: DescentOptions, draws: Draws | None, runs: int) -> list[dict[str, Any]]:
    """What is drawn, and by which key, as stored runs say it."""
    if draws is None:
        return [{}] * runs
    sampling = plain(options.sampling)
    return [{"sampling": sampling, "key": one.tolist()} for one in np.asarray(draws.keys.numbers)]


def see_no_loss_asked(batch_step: "BatchStep", runs: "RunStates") -> None:
    """See that optimisers do without the loss, which of a batch is another one each time.

    Raises:
      ValueError: if one does not.
    """

    def first(part: "BatchStep", state: Any, others: "RunStates") -> tuple[Any, tuple]:
        own, carried, run = jax.tree.map(lambda leaf: leaf[0], (part.own(), state, others))
        part.of(own).change(run.count, run.parameters, carried, run.loss, run.gradient)
        return state, ()

    if batch_step.draws is None:
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
