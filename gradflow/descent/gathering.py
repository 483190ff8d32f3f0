"""What every run of a batch has for itself, checked and put into one array each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.penalties.choice import choices
from gradflow.penalties.spectral import AbstractSpectralPenalty
from gradflow.start import as_factors

Stacked = tuple[np.ndarray, ...]
"""The runs' factors, each with the runs along its first axis."""


def gather_starts(
    objectives: Sequence[Objective], starts: Sequence[Any]
) -> Stacked | list[Factors]:
    """The starts' factors, checked: stacked at once where all are arrays of the right shape.

    Raises:
      ValueError: as `as_factors`.
    """
    stacked = _alike(objectives[0].factorization.factor_shapes, starts)
    if stacked is not None:
        return stacked
    return [as_factors(one, start) for one, start in zip(objectives, starts, strict=True)]


def stack_starts(gathered: Stacked | list[Factors]) -> Stacked:
    """What `gather_starts` gave, stacked."""
    if isinstance(gathered, tuple):
        return gathered
    return tuple(np.stack(factors) for factors in zip(*jax.device_get(gathered), strict=True))


def _alike(shapes: tuple[tuple[int, ...], ...], starts: Sequence[Any]) -> Stacked | None:
    """The starts' factors stacked, if nothing has to be said or done about any of them."""
    if not all(type(start) in (tuple, list) and len(start) == len(shapes) for start in starts):
        return None
    stacked = []
    for k, shape in enumerate(shapes):
        arrays = [start[k] for start in starts]
        kind = getattr(arrays[0], "dtype", None)
        if kind not in (np.float32, np.float64) or not all(
            (type(array) is np.ndarray or isinstance(array, jax.Array))
            and array.shape == shape
            and array.dtype == kind
            for array in arrays
        ):
            return None
        factor = np.stack(jax.device_get(arrays))
        if not np.all(np.isfinite(factor)):
            return None
        stacked.append(factor.astype(jax.dtypes.canonicalize_dtype(kind), copy=False))
    return tuple(stacked)


def gather_objectives(
    objectives: Sequence[Objective], order: Sequence[int] | None = None
) -> tuple[Objective, bool]:
    """One objective for all runs, or all of them along a new first axis; and which.

    Penalties of several kinds on singular values become a choice between them.

    Args:
      objectives: one a run.
      order: the numbers that they were given; as they come by default.

    Raises:
      ValueError: if they are not alike; it names the first that is not.
    """
    first = objectives[0]
    if all(one is first for one in objectives):
        return first, False
    objectives = _with_choices(objectives)
    numbers = range(len(objectives)) if order is None else order
    leaves, structure = jax.tree.flatten(objectives[0])
    shapes, columns = [jnp.shape(leaf) for leaf in leaves], [[] for _ in leaves]
    for k, one in enumerate(objectives):
        own, kind = jax.tree.flatten(one)
        if kind != structure or [jnp.shape(leaf) for leaf in own] != shapes:
            raise ValueError(
                f"objectives[{numbers[k]}] is not like objectives[{numbers[0]}] (kind, shape, "
                "number of observations, loss convention, penalty); run unlike ones in calls of "
                "their own."
            )
        for column, leaf in zip(columns, own, strict=True):
            column.append(leaf)
    return jax.tree.unflatten(structure, [_stack(column) for column in columns]), True


def _with_choices(objectives: Sequence[Objective]) -> Sequence[Objective]:
    """Objectives whose penalties, if of several kinds and all had from an SVD, are of one."""
    kinds = {jax.tree.structure(one.penalty) for one in objectives}
    penalties = [
        one.penalty
        for one in objectives
        if isinstance(one.penalty, AbstractSpectralPenalty) and one.penalty.by_svd
    ]
    if len(kinds) == 1 or len(penalties) < len(objectives):
        return objectives
    return [
        dataclasses.replace(one, penalty=penalty)
        for one, penalty in zip(objectives, choices(penalties), strict=True)
    ]


def _stack(leaves: list[Any]) -> jax.Array:
    """As jnp.stack, which compiles a program for every number of leaves."""
    if any(getattr(leaf, "weak_type", not hasattr(leaf, "dtype")) for leaf in leaves):
        return jnp.stack(leaves)
    return jnp.asarray(np.stack(jax.device_get(leaves)))
