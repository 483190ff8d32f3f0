"""Training of the models of `_recommender`, penalised or not.

Depth 1 descends on the whole training set, W from N(0, std^2) and b from 0; the embeddings on
mini-batches in a new order each epoch, from N(0, 1 / dimension^2) and biases from 0, as in the
Spotlight library, where zhao2022 has its embedding model from. A penalty may keep its polar factor
for some steps.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gradflow import optimizers
from gradflow.linalg.spectrum import effective_rank
from gradflow.penalties.nuclear_frobenius import ratio_gradient

from ._recommender import (
    SMOOTHING,
    Bias,
    Loss,
    Params,
    Parts,
    Rows,
    batch_loss,
    embedding_start,
    errors,
    matrix_loss,
    matrix_start,
    smooth_polar,
)

RISES = 3
"""How many epochs in a row the training error rises before training ends."""


class How(NamedTuple):
    """How steps are made.

    Attributes:
      optimizer: a name in `gradflow.optimizers`.
      renewed: steps for which a penalty's polar factor is kept; 1 computes it at each.
      smoothing: of the penalties' nuclear norms.
    """

    optimizer: str
    renewed: int
    smoothing: float = SMOOTHING


def penalised(
    gradient: Params, params: Params, weights: Mapping[str, Array], polars: Params
) -> Params:
    """Add the gradients of the ratio penalties.

    Args:
      gradient: of the loss.
      params: where.
      weights: of the penalties, by the name of the matrix that each is of.
      polars: of these matrices.
    """
    added = {
        name: gradient[name] + weight * ratio_gradient(params[name], polars[name])
        for name, weight in weights.items()
    }
    return gradient | added


def steps_of(
    gradient_of: Callable[[Params, Any], Params], state: Any, batches: Any, rate: Array,
    weights: Mapping[str, Array], how: How,
) -> Any:  # fmt: skip
    """Steps of an optimiser along gradients and penalties.

    Args:
      gradient_of: the loss' gradient, from parameters and what a step is given.
      state: parameters and the optimiser's state.
      batches: what the steps are given, along the first axis.
      rate: learning rate.
      weights: of the penalties, by matrix.
      how: the rest.
    """
    rule = optimizers.named(how.optimizer)(rate)
    count = len(jax.tree.leaves(batches)[0])

    def step(state: Any, given: tuple[Array, Any]) -> tuple[Any, None]:
        params, memory, polars = state
        k, some = given
        polars = jax.lax.cond(
            k % how.renewed == 0,
            lambda: {name: smooth_polar(params[name], how.smoothing) for name in weights},
            lambda: polars,
        )
        gradient = penalised(gradient_of(params, some), params, weights, polars)
        updates, memory = rule.update(gradient, memory, params)
        return (jax.tree.map(jnp.add, params, updates), memory, polars), None

    params, memory = state
    polars = {name: jnp.zeros_like(params[name]) for name in weights}
    given = (jnp.arange(count), batches)
    params, memory, _ = jax.lax.scan(step, (params, memory, polars), given)[0]
    return params, memory


@partial(jax.jit, static_argnames=("how", "loss", "steps"))
def matrix_steps(
    state: Any, target: Array, mask: Array, rate: Array, weights: Mapping[str, Array], *, how: How,
    loss: Loss, steps: int,
) -> Any:  # fmt: skip
    """Full-batch iterations of depth 1, from parameters and optimiser state to the same later."""

    def gradient_of(params: Params, _: Array) -> Params:
        return jax.grad(matrix_loss)(params, target, mask, loss)

    return steps_of(gradient_of, state, jnp.zeros(steps), rate, weights, how)


@partial(jax.jit, static_argnames=("how", "batch"))
def embedding_epoch(
    state: Any, key: Array, train: Rows, rate: Array, weights: Mapping[str, Array], *, how: How,
    batch: int,
) -> Any:  # fmt: skip
    """One epoch of mini-batches in a random order; the last one may be smaller."""
    count = train.users.size
    batches = -(-count // batch)
    order = jnp.pad(jax.random.permutation(key, count), (0, batches * batch - count))
    counts = (jnp.arange(batches * batch) < count).astype(train.ratings.dtype)

    def gradient_of(params: Params, some: tuple[Array, Array]) -> Params:
        rows = Rows(*(column[some[0]] for column in train))
        return jax.grad(batch_loss)(params, rows, some[1])

    shape = (batches, batch)
    given = (order.reshape(shape), counts.reshape(shape))
    return steps_of(gradient_of, state, given, rate, weights, how)


def train_matrix(
    known: Parts, shape: tuple[int, int], *, optimizer: str, rate: float, weight: float,
    renewed: int, bias: Bias, loss: Loss, std: float, steps: int, every: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Train depth 1 on the whole training set.

    Args:
      known: the three parts.
      shape: numbers of users and items.
      optimizer: a name in `gradflow.optimizers`.
      rate: learning rate.
      weight: of the penalty on W; 0 for none.
      renewed: iterations for which the penalty's polar factor is kept.
      bias: which biases there are.
      loss: mean or sum of squares.
      std: of the initial weights.
      steps: iterations.
      every: how many of them are an epoch: errors are taken and seen to after each.
      seed: of the start.

    Returns:
      What `follow` returns, and the effective rank of W at the end.
    """
    dtype = known.train.ratings.dtype
    params = matrix_start(jax.random.key(seed), shape, bias, std, dtype)
    at = (known.train.users, known.train.items)
    target = jnp.zeros(shape, dtype).at[at].set(known.train.ratings)
    mask = jnp.zeros(shape, dtype).at[at].set(1)
    weights = _positive({"weights": weight}, dtype)

    def advance(state: Any, _: int) -> Any:
        return matrix_steps(
            state, target, mask, jnp.asarray(rate, dtype), weights,
            how=How(optimizer, renewed), loss=loss, steps=every,
        )  # fmt: skip

    memory = optimizers.named(optimizer)(rate).init(params)
    found, params = follow(advance, (params, memory), known, steps // every, rises=None)
    return found | {"effective_rank": _rank(params["weights"])}


def train_embeddings(
    known: Parts, shape: tuple[int, int], *, optimizer: str, rate: float, user_weight: float,
    item_weight: float, renewed: int, dimension: int, batch: int, epochs: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Train the embeddings on mini-batches.

    Args:
      known: the three parts.
      shape: numbers of users and items.
      optimizer: a name in `gradflow.optimizers`.
      rate: learning rate.
      user_weight: of the penalty on the users' embeddings; 0 for none.
      item_weight: of that on the items'.
      renewed: batches for which the penalties' polar factors are kept.
      dimension: of an embedding.
      batch: ratings in a mini-batch.
      epochs: at most.
      seed: of start and order.

    Returns:
      What `follow` returns, and the effective rank of the users' embeddings at the end.
    """
    dtype = known.train.ratings.dtype
    of_start, of_order = jax.random.split(jax.random.key(seed))
    params = embedding_start(of_start, shape, dimension, dtype)
    weights = _positive({"users": user_weight, "items": item_weight}, dtype)

    def advance(state: Any, epoch: int) -> Any:
        return embedding_epoch(
            state, jax.random.fold_in(of_order, epoch), known.train, jnp.asarray(rate, dtype),
            weights, how=How(optimizer, renewed), batch=batch,
        )  # fmt: skip

    memory = optimizers.named(optimizer)(rate).init(params)
    found, params = follow(advance, (params, memory), known, epochs, rises=RISES)
    return found | {"effective_rank": _rank(params["users"])}


def follow(
    advance: Callable[[Any, int], Any], state: Any, known: Parts, epochs: int, rises: int | None
) -> tuple[dict[str, Any], Params]:
    """Train epoch by epoch and look at the errors in between.

    Nothing that is decided here looks at the test set: its error is taken along.

    Args:
      advance: from a state, parameters first, and the epoch's number to the next state.
      state: before training.
      known: the three parts.
      epochs: at most.
      rises: after how many rises of the training error in a row training ends; None: never.

    Returns:
      Errors by epoch ("train", "validation", "test"); those where the training error is least
      ("epoch", "validation_rmse", "test_rmse"); those where the validation error is
      ("stopped_epoch", "stopped_validation_rmse", "stopped_test_rmse"); the number of "epochs" and
      whether the run "diverged", which makes its errors infinite. And the last parameters.
    """
    curve = [np.asarray(errors(state[0], known))]
    for epoch in range(epochs):
        state = advance(state, epoch)
        curve.append(np.asarray(errors(state[0], known)))
        if not np.all(np.isfinite(curve[-1])):
            break
        if rises is not None and len(curve) > rises:
            recent = [at[0] for at in curve[-rises - 1 :]]
            if all(later > before for before, later in zip(recent, recent[1:], strict=False)):
                break
    table = np.asarray(curve, float)
    diverged = not np.all(np.isfinite(table[-1]))
    table[~np.isfinite(table)] = np.inf
    best, stopped = (len(table) - 1,) * 2 if diverged else np.argmin(table[:, :2], axis=0)
    found = dict(zip(("train", "validation", "test"), table.T, strict=True))
    found |= {
        "epoch": int(best),
        "validation_rmse": table[best, 1],
        "test_rmse": table[best, 2],
        "stopped_epoch": int(stopped),
        "stopped_validation_rmse": table[stopped, 1],
        "stopped_test_rmse": table[stopped, 2],
        "epochs": len(table) - 1,
        "diverged": int(diverged),
    }
    return found, state[0]


def _positive(weights: Mapping[str, float], dtype: Any) -> dict[str, Array]:
    """Those above 0: no penalty is computed for the others."""
    return {name: jnp.asarray(value, dtype) for name, value in weights.items() if value > 0}


def _rank(w: Array) -> float:
    """The effective rank, where there is one."""
    alive = bool(jnp.all(jnp.isfinite(w))) and bool(jnp.any(w != 0))
    return float(effective_rank(w)) if alive else float("nan")
