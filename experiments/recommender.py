r"""Models that complete ratings, and their training: a matrix with a bias, and embeddings.

A score for user u and item i is, by depth 1 and by embeddings,

    W_ui + b    and    <p_u, q_i> + b_u + b_i,

where the bias b of depth 1 is one number, or one for each item, or one for each user and each item.
No mean is taken off and no score is clipped to the scale of ratings. Depth 1 descends on the whole
training set, W from N(0, std^2) and b from 0; the embeddings on mini-batches in a new order each
epoch, from N(0, 1 / dimension^2) and biases from 0, as in the Spotlight library, where zhao2022 has
its embedding model from.

The loss is a mean or a sum of squares, no half, and the ratio penalty ||.||_* / ||.||_F of W, or of
the embeddings' matrices, is added with its weight. Its nuclear norm is smoothed at a share of the
Frobenius norm (`smooth_polar`), and depth 1 may keep its polar factor for some iterations.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gradflow import optimizers
from gradflow.data import Ratings
from gradflow.penalties import ratio_gradient
from gradflow.spectrum import effective_rank

Bias = Literal["one", "items", "users and items"]
Loss = Literal["mean", "sum"]
Params = dict[str, Array]
SMOOTHING = 1e-3
"""Share of the Frobenius norm below which singular values hardly count in the penalty."""
RISES = 3
"""How many epochs in a row the training error rises before training ends."""


class Rows(NamedTuple):
    """Some ratings.

    Attributes:
      users: user numbers.
      items: item numbers.
      ratings: their ratings.
    """

    users: Int[Array, " n"]
    items: Int[Array, " n"]
    ratings: Float[Array, " n"]


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


class Parts(NamedTuple):
    """Ratings to learn from, to choose by, and to report."""

    train: Rows
    validation: Rows
    test: Rows


def parts(
    ratings: Ratings, learn: np.ndarray, test: np.ndarray, held_out: float, seed: int, dtype: Any
) -> Parts:
    """Hold a share of the rows to learn from out for validation.

    Args:
      ratings: all of them.
      learn: rows outside of the test set.
      test: rows of the test set.
      held_out: share of `learn` that becomes the validation set.
      seed: of the draw.
      dtype: of the ratings.
    """
    mixed = np.random.default_rng([seed, len(learn)]).permutation(learn)
    count = max(1, round(held_out * len(learn)))

    def rows(which: np.ndarray) -> Rows:
        which = np.sort(which)
        return Rows(
            jnp.asarray(ratings.users[which], jnp.int32),
            jnp.asarray(ratings.items[which], jnp.int32),
            jnp.asarray(ratings.ratings[which], dtype),
        )

    return Parts(rows(mixed[count:]), rows(mixed[:count]), rows(test))


def ratio(w: Float[Array, "m n"], smoothing: float = SMOOTHING) -> Float[Array, ""]:
    r"""The smoothed ratio sum_i sqrt(s_i^2 / ||W||_F^2 + smoothing^2), 0 at W = 0.

    Without smoothing it is ||W||_* / ||W||_F.

    Args:
      w: a matrix.
      smoothing: share of the Frobenius norm, at least 0.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(ratio(jnp.diag(jnp.array([4.0, 3.0])), 0.0)), 6)
      1.4
    """
    square = jnp.sum(w**2)
    safe = jnp.where(square > 0, square, 1.0)
    s = jnp.linalg.svd(w, compute_uv=False)
    return jnp.where(square > 0, jnp.sum(jnp.sqrt(s**2 / safe + smoothing**2)), 0.0)


def smooth_polar(w: Float[Array, "m n"], smoothing: float = SMOOTHING) -> Float[Array, "m n"]:
    r"""The smoothed polar factor W (W^T W + smoothing^2 ||W||_F^2 I)^(-1/2); 0 at W = 0.

    Singular values far above smoothing ||W||_F become 1, those far below fall in proportion. In
    single precision their squares are known to 1e-7 of the largest, so that with a smoothing of
    1e-3 the eigenvalues of the Gram matrix of the shorter side will do: of all ways to a polar
    factor of 943 x 1682 this was the fastest on a core.

    Args:
      w: a matrix.
      smoothing: share of the Frobenius norm, at least 1e-3 in single precision.
    """
    square = jnp.sum(w**2)
    x = w / jnp.sqrt(jnp.where(square > 0, square, 1.0))
    x = x if (wide := x.shape[0] <= x.shape[1]) else x.T
    squares, vectors = jnp.linalg.eigh(x @ x.T)
    least = 16 * jnp.finfo(w.dtype).tiny
    root = jnp.sqrt(jnp.maximum(jnp.maximum(squares, 0) + smoothing**2, least))
    factor = ((vectors / root) @ vectors.T) @ x
    return factor if wide else factor.T


def matrix_start(key: Array, shape: tuple[int, int], bias: Bias, std: float, dtype: Any) -> Params:
    """Depth 1 before training: small weights, no bias.

    Args:
      key: of the weights.
      shape: numbers of users and items.
      bias: which biases there are.
      std: standard deviation of each weight.
      dtype: of all.
    """
    users, items = shape
    start = {"weights": std * jax.random.normal(key, shape, dtype)}
    if bias == "one":
        return start | {"bias": jnp.zeros((1, 1), dtype)}
    start["item_bias"] = jnp.zeros((1, items), dtype)
    if bias == "users and items":
        start["user_bias"] = jnp.zeros((users, 1), dtype)
    return start


def embedding_start(key: Array, shape: tuple[int, int], dimension: int, dtype: Any) -> Params:
    """Embeddings before training: standard deviation 1 / dimension, no biases.

    Args:
      key: of the embeddings.
      shape: numbers of users and items.
      dimension: of an embedding.
      dtype: of all.
    """
    users, items = shape
    of_users, of_items = jax.random.split(key)
    return {
        "users": jax.random.normal(of_users, (users, dimension), dtype) / dimension,
        "items": jax.random.normal(of_items, (items, dimension), dtype) / dimension,
        "user_bias": jnp.zeros((users, 1), dtype),
        "item_bias": jnp.zeros((1, items), dtype),
    }


def scores(params: Params, users: Int[Array, " n"], items: Int[Array, " n"]) -> Float[Array, " n"]:
    """Predicted ratings by either model.

    Args:
      params: of `matrix_start` or `embedding_start`.
      users: user numbers.
      items: item numbers.
    """
    if "weights" in params:
        found = params["weights"][users, items]
    else:
        found = jnp.sum(params["users"][users] * params["items"][items], axis=1)
    if "bias" in params:
        found += params["bias"][0, 0]
    if "user_bias" in params:
        found += params["user_bias"][users, 0]
    if "item_bias" in params:
        found += params["item_bias"][0, items]
    return found


@jax.jit
def errors(params: Params, known: Parts) -> Float[Array, "3"]:
    """Root mean squared errors on the three parts."""
    return jnp.stack(
        [jnp.sqrt(jnp.mean((scores(params, r.users, r.items) - r.ratings) ** 2)) for r in known]
    )


def matrix_loss(
    params: Params, target: Float[Array, "m n"], mask: Float[Array, "m n"], loss: Loss
) -> Float[Array, ""]:
    """Squares of the residuals where there is a rating, summed or averaged."""
    found = params["weights"]
    for name in ("bias", "user_bias", "item_bias"):
        found = found + params[name] if name in params else found
    total = jnp.sum((mask * (found - target)) ** 2)
    return total / jnp.sum(mask) if loss == "mean" else total


def batch_loss(params: Params, rows: Rows, counts: Float[Array, " n"]) -> Float[Array, ""]:
    """Mean of squared residuals of a batch; rows that only fill it up count 0."""
    residuals = scores(params, rows.users, rows.items) - rows.ratings
    return jnp.sum(counts * residuals**2) / jnp.sum(counts)


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


def check_bias(bias: str) -> None:
    """Refuse the name of a bias that there is not.

    Raises:
      ValueError: if it is none of those known.
    """
    if bias not in get_args(Bias):
        raise ValueError(f"bias must be one of {', '.join(get_args(Bias))}, but it is {bias!r}.")


def _positive(weights: Mapping[str, float], dtype: Any) -> dict[str, Array]:
    """Those above 0: no penalty is computed for the others."""
    return {name: jnp.asarray(value, dtype) for name, value in weights.items() if value > 0}


def _rank(w: Array) -> float:
    """The effective rank, where there is one."""
    alive = bool(jnp.all(jnp.isfinite(w))) and bool(jnp.any(w != 0))
    return float(effective_rank(w)) if alive else float("nan")
