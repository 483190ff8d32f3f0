"""Descents that go on from trajectories, to the same bits as if they had never been stopped."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.random import is_key, without_key
from gradflow.descent.loop import BatchStep, RunStates
from gradflow.descent.mixture import Mixture, each_kind
from gradflow.objective import Objective
from gradflow.resuming import check_goes_on
from gradflow.trajectory import Trajectory, named_factors

Going = tuple[Any, Any, Any, Any]
"""What runs go on with beside parameters and count: optimiser's states, losses, gradients, hits."""


class TakenUp(NamedTuple):
    """Where runs are taken up.

    Attributes:
      starts: their factors.
      begin: the iteration that all of them have come to.
      states: what each goes on with, by name; None for runs that begin.
    """

    starts: list[Any]
    begin: int
    states: list[dict[str, np.ndarray]] | None


def taken_up(objectives: Sequence[Objective], starts: Sequence[Any], steps: int) -> TakenUp:
    """The starts themselves, without their history, and the history.

    Args:
      objectives: one a run.
      starts: what `gradflow.run_descents` was given.
      steps: the last iteration.

    Raises:
      ValueError: if a trajectory cannot be taken up so.
    """
    before = [start for start in starts if isinstance(start, Trajectory)]
    if not before:
        return TakenUp(list(starts), 0, None)
    if len(before) < len(starts):
        raise ValueError(
            f"{len(before)} of {len(starts)} starts are trajectories; take runs up in one call, "
            "and begin others in another one."
        )
    for objective, one in zip(objectives, before, strict=True):
        check_goes_on(one, "descent", objective)
        if not one.state:
            raise ValueError(
                "The trajectory has no optimiser's state: it was stored by an earlier version; "
                "start from its `final`, with a new optimiser and from iteration 0."
            )
    ends = sorted({int(one.times[-1]) for one in before})
    if len(ends) > 1:
        raise ValueError(
            f"The trajectories end at different iterations, {ends[0]} and {ends[-1]} among them; "
            "take up those of one end in one call."
        )
    if steps <= ends[0]:
        raise ValueError(
            f"max_steps = {steps}, but {ends[0]} iterations are done; they are counted from the "
            "first start."
        )
    names = [f"W_{k}" for k in range(1, len(before[0].final) + 1)]
    factors = [tuple(one.final[name] for name in names) for one in before]
    return TakenUp(factors, ends[0], [dict(one.state) for one in before])


def check_rule(start: Any, optimizer: str, rated: bool) -> None:
    """See that a run goes on by the function of a rate that it had, where that has a name.

    States alone do not tell Adam from Adamax.

    Args:
      start: what `gradflow.run_descents` was given.
      optimizer: its description.
      rated: whether it is a function of a rate.

    Raises:
      ValueError: if it has another name.
    """
    if not rated or not isinstance(start, Trajectory) or start.config.get("learning_rate") is None:
        return
    before, now = (told.split("(")[0] for told in (start.config["optimizer"], optimizer))
    if before != now and "<lambda>" not in before + now:
        raise ValueError(
            f"The trajectory was run by {before!r}, not by {now!r}; give the optimizer that it was "
            "run with, or start from its `final`, and from 0."
        )


def with_states(
    batch_step: BatchStep, parameters: Any, found: TakenUp, anew: bool = False
) -> RunStates:
    """Runs at their parameters, with the states that they have come to.

    Args:
      batch_step: what an iteration is.
      parameters: of the runs, along the first axis.
      found: what was taken up.
      anew: whether loss and gradient are evaluated anew, since they are drawn otherwise.

    Raises:
      ValueError: if a state is not that of this optimiser.
    """
    fresh = batch_step.initialise(parameters, found.begin)
    if found.states is None:
        return fresh
    states = found.states

    def filled(part: BatchStep, state: Any, others: tuple[RunStates, Any]) -> tuple[Any, RunStates]:
        del part
        some, numbers = others
        own = TakenUp([], found.begin, [states[k] for k in numbers])
        some = _filled(dataclasses.replace(some, optimizer_state=state), own)
        return some.optimizer_state, dataclasses.replace(some, optimizer_state=None)

    bare = dataclasses.replace(fresh, optimizer_state=None)
    others = (bare, np.arange(len(states)))
    state, runs = each_kind(batch_step, fresh.optimizer_state, others, filled)
    # Where observations are drawn, a run without a loss to stop at has carried that of a batch.
    loss = fresh.loss if anew or batch_step.draws is not None else runs.loss
    gradient = fresh.gradient if anew else runs.gradient
    return dataclasses.replace(runs, optimizer_state=state, loss=loss, gradient=gradient)


def _filled(fresh: RunStates, found: TakenUp) -> RunStates:
    """Runs of one optimiser with the states that they have come to."""
    assert found.states is not None
    going = (fresh.optimizer_state, fresh.loss, fresh.gradient, fresh.hits)
    names = _names(going)
    leaves, structure = jax.tree.flatten(going)
    filled = []
    for name, leaf in zip(names, leaves, strict=True):
        if name == "hits" and name not in found.states[0]:
            filled.append(leaf)
        else:
            filled.append(_restored(name, leaf, [state.get(name) for state in found.states]))
    if more := sorted(set(found.states[0]) - set(names) - {"hits"}):
        raise _other(more[0], "nothing")
    state, loss, gradient, hits = jax.tree.unflatten(structure, filled)
    return RunStates(fresh.parameters, state, fresh.count, loss, gradient, fresh.status, hits)


def going_of(runs: RunStates) -> Going:
    """What runs go on with, as arrays that can be stored."""
    going = (runs.optimizer_state, runs.loss, runs.gradient, runs.hits)
    return jax.tree.map(without_key, going)


def named_states(going: Going) -> dict[str, np.ndarray]:
    """What runs go on with, by name, with the runs along the first axis.

    Args:
      going: as `going_of` gives it, on the host.
    """
    return {
        name: _storable(np.asarray(leaf))
        for name, leaf in zip(_names(going), jax.tree.leaves(going), strict=True)
    }


def own_states(optimizer: Any, going: Going, count: int) -> list[dict[str, Any]]:
    """What each of so many runs goes on with, by the names that its optimiser alone gives it.

    Args:
      optimizer: of all of them, or the mixture.
      going: as for `named_states`.
      count: how many runs.
    """
    parts = [(slice(0, count), going)]
    if isinstance(optimizer, Mixture):
        parts = []
        for k, rows in optimizer.rows():
            state, *others = jax.tree.map(lambda array, rows=rows: array[rows], going)
            parts.append((rows, (optimizer.unpack(k, state), *others)))
    found = []
    for rows, own in parts:
        named = named_states(own)
        found += [
            {name: all_[k] for name, all_ in named.items()} for k in range(rows.stop - rows.start)
        ]
    return found


def _names(going: Going) -> list[str]:
    state, _, gradient, hits = going
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    optimizer = [f"optimizer_{k}{_field(path)}" for k, path in enumerate(paths, start=1)]
    slopes = [name.replace("W", "gradient") for name in named_factors(jax.tree.leaves(gradient))]
    return [*optimizer, "loss", *slopes, *([] if hits is None else ["hits"])]


def _field(path: Any) -> str:
    """What a leaf is to its optimiser, such as "_nu": arrays of one shape may be many things."""
    named = [key.name for key in path if isinstance(key, jax.tree_util.GetAttrKey)]
    return f"_{named[-1]}" if named else ""


def _storable(array: np.ndarray) -> np.ndarray:
    """Numbers that NumPy itself does not have, such as bfloat16, by their bits."""
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array


def _restored(name: str, leaf: Any, arrays: list[np.ndarray | None]) -> Any:
    """The runs' arrays as what they were, with the shape and the kind of a new state's leaf."""
    if any(array is None for array in arrays):
        raise _other("nothing", f"{name} of shape {leaf.shape[1:]}")
    stacked = np.stack([array for array in arrays if array is not None])
    wanted = without_key(leaf)
    kind = np.dtype(wanted.dtype)
    if kind.kind == "V" and stacked.dtype == np.dtype(f"u{kind.itemsize}"):
        stacked = stacked.view(kind)
    if stacked.shape != wanted.shape or stacked.dtype != kind:
        raise _other(
            f"{name} of shape {stacked.shape[1:]} and dtype {stacked.dtype}",
            f"shape {wanted.shape[1:]} and dtype {kind}",
        )
    array = jnp.asarray(stacked)
    return (
        jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key(leaf) else array
    )


def _other(found: str, wanted: str) -> ValueError:
    return ValueError(
        f"The trajectory's state is not that of this optimizer: it has {found}, where {wanted} is "
        "wanted; give the optimizer that it was run with, or start from its `final`, and from 0."
    )
