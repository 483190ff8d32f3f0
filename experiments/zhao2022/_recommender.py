r"""Models that complete ratings: a matrix with a bias, and embeddings.

A score for user u and item i is, by depth 1 and by embeddings,

    W_ui + b    and    <p_u, q_i> + b_u + b_i,

where the bias b of depth 1 is one number, or one for each item, or one for each user and each item.
No mean is taken off and no score is clipped to the scale of ratings. The loss is a mean or a sum of
squares, no half. The ratio penalty ||.||_* / ||.||_F is that of W, or of the embeddings' matrices;
its nuclear norm is smoothed at a share of the Frobenius norm (`smooth_polar`).
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gradflow.problems.ratings import Ratings

Bias = Literal["one", "items", "users and items"]
Loss = Literal["mean", "sum"]
Params = dict[str, Array]
SMOOTHING = 1e-3
"""Share of the Frobenius norm below which singular values hardly count in the penalty."""


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


def check_bias(bias: str) -> None:
    """Refuse the name of a bias that there is not.

    Raises:
      ValueError: if it is none of those known.
    """
    if bias not in get_args(Bias):
        raise ValueError(f"bias must be one of {', '.join(get_args(Bias))}, but it is {bias!r}.")
