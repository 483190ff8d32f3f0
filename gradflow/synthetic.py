"""Synthetic problems: low-rank matrices, observed entries, measurements, the 2x2 construction."""

from collections.abc import Sequence
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradflow._util.annotations import Checked
from gradflow._util.random import one_key
from gradflow._util.validate import positive, real, shape_of, whole
from gradflow.factorizations.cp_tensor import CPTensor
from gradflow.problems.base import LossConvention
from gradflow.problems.completion import MatrixCompletion, TensorCompletion
from gradflow.problems.regression import LeastSquares
from gradflow.problems.sensing import MatrixSensing

_SHUFFLED = 10**8
"""Entries up to which positions are the first of all in random order, which takes 8 bytes each."""


def low_rank_matrix(
    key: Checked[PRNGKeyArray],
    shape: Checked[Sequence[int]],
    rank: Checked[int],
    norm: Checked[float | None] = None,
) -> Float[Array, "d d_prime"]:
    """Random matrix U V^T with standard normal factors.

    Args:
      key: a JAX random key.
      shape: (d, d').
      rank: the number of columns of U and V, at least 1 and at most min(d, d').
      norm: if given, the matrix is rescaled to this Frobenius norm (Arora's code: d).

    Raises:
      ValueError: if the rank does not fit the shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> w = low_rank_matrix(jax.random.key(0), (6, 4), rank=2, norm=6.0)
      >>> int(jnp.linalg.matrix_rank(w)), round(float(jnp.linalg.norm(w)), 6)
      (2, 6.0)

    References:
      arora2019, Appendix D; razin2020, Appendix F.
    """
    key = one_key(key)
    rows, columns = shape_of("shape", shape, 2)
    rank = _number("rank", rank, min(rows, columns))
    left, right = jax.random.split(key)
    w = jax.random.normal(left, (rows, rank)) @ jax.random.normal(right, (columns, rank)).T
    return w if norm is None else w * (positive("norm", norm) / jnp.linalg.norm(w))


def low_rank_tensor(
    key: Checked[PRNGKeyArray], shape: Sequence[int], rank: int, norm: Checked[float | None] = 1.0
) -> Float[Array, "..."]:
    """Random CP tensor of at most the given rank, standard normal factors, unit norm by default.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> w = low_rank_tensor(jax.random.key(0), (3, 4, 2), rank=1)
      >>> w.shape, round(float(jnp.linalg.norm(w)), 6)
      ((3, 4, 2), 1.0)

    References:
      razin2020, Appendix F.2.2.
    """
    key = one_key(key)
    model = CPTensor(shape, rank)
    keys = jax.random.split(key, len(model.shape))
    shapes = model.factor_shapes
    w = model.product(tuple(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)))
    return w if norm is None else w * (positive("norm", norm) / jnp.linalg.norm(w))


def sample_entries(
    key: Checked[PRNGKeyArray], shape: Checked[Sequence[int]], count: Checked[int]
) -> Int[Array, "n order"]:
    """Positions drawn uniformly without repetition.

    Args:
      key: a JAX random key.
      shape: the shape of the array.
      count: how many, at least 1 and at most all.

    Raises:
      ValueError: if there are not that many entries.

    Example:
      >>> import jax
      >>> sample_entries(jax.random.key(0), (4, 5), 20).shape  # each entry once
      (20, 2)
    """
    key = one_key(key)
    shape = shape_of("shape", shape)
    count = _number("count", count, prod(shape))
    if prod(shape) <= _SHUFFLED:
        return _positions(jax.random.choice(key, prod(shape), (count,), replace=False), shape)
    seed = np.asarray(jax.random.bits(key, (4,), "uint32"))
    flat = np.random.default_rng(seed).choice(prod(shape), count, replace=False)
    return jnp.asarray(np.stack(np.unravel_index(flat, shape), axis=1))


def _number(name: str, value: Checked[int], most: int) -> int:
    """A whole number between 1 and another one.

    Raises:
      ValueError: if it is none.
    """
    try:
        return whole(name, value, most=most)
    except ValueError:
        raise ValueError(
            f"{name} must be a whole number between 1 and {most}, but it is {value!r}."
        ) from None


@partial(jax.jit, static_argnums=1)
def _positions(flat, shape):
    """One program for each shape; operation by operation there would be eight to compile."""
    return jnp.stack(jnp.unravel_index(flat, shape), axis=1)


@jax.jit
def _seen(truth, indices):
    return truth[tuple(indices.T)]


def matrix_completion(
    key: Checked[PRNGKeyArray],
    shape: Sequence[int],
    rank: Checked[int],
    observations: Checked[int],
    *,
    norm: float | None = None,
    loss: LossConvention = "half_sum",
) -> MatrixCompletion:
    """Complete a random low-rank matrix from uniformly drawn entries; the truth is kept.

    Args:
      key: a JAX random key.
      shape: (d, d').
      rank: of the truth.
      observations: how many entries are seen.
      norm: Frobenius norm to rescale the truth to.
      loss: the loss convention.

    Example:
      >>> import jax
      >>> problem = matrix_completion(jax.random.key(0), (10, 8), 2, 40)
      >>> problem.shape, problem.observations
      ((10, 8), 40)
    """
    key = one_key(key)
    of_truth, of_entries = jax.random.split(key)
    truth = low_rank_matrix(of_truth, shape, rank, norm)
    _number("observations", observations, prod(shape))
    indices = sample_entries(of_entries, shape, observations)
    return MatrixCompletion(truth.shape, indices, _seen(truth, indices), loss=loss, truth=truth)


def tensor_completion(
    key: Checked[PRNGKeyArray],
    shape: Sequence[int],
    rank: Checked[int],
    observations: Checked[int],
    *,
    loss: LossConvention = "mean",
) -> TensorCompletion:
    """Complete a random unit-norm CP tensor from uniformly drawn entries; the truth is kept.

    Example:
      >>> import jax
      >>> tensor_completion(jax.random.key(0), (3, 4, 2), rank=1, observations=10).convention
      'mean'

    References:
      razin2020, Section 4.2 and Appendix F.2.2.
    """
    key = one_key(key)
    of_truth, of_entries = jax.random.split(key)
    truth = low_rank_tensor(of_truth, shape, rank)
    _number("observations", observations, prod(shape))
    indices = sample_entries(of_entries, shape, observations)
    return TensorCompletion(truth.shape, indices, _seen(truth, indices), loss=loss, truth=truth)


def gaussian_measurements(
    key: Checked[PRNGKeyArray], count: int, shape: Sequence[int], std: Checked[float] = 1.0
) -> Float[Array, "m d d_prime"]:
    """Measurement matrices with independent N(0, std^2) entries (std = 1/d in Arora's code).

    Example:
      >>> import jax
      >>> gaussian_measurements(jax.random.key(0), 7, (3, 2)).shape
      (7, 3, 2)
    """
    key = one_key(key)
    shape = shape_of("shape", (count, *shape), 3)
    return positive("std", std) * jax.random.normal(key, shape)


def matrix_sensing(
    key: Checked[PRNGKeyArray],
    shape: Sequence[int],
    rank: Checked[int],
    measurements: Checked[int],
    *,
    std: float = 1.0,
    norm: float | None = None,
    loss: LossConvention = "half_sum",
) -> MatrixSensing:
    """Sense a random low-rank matrix through Gaussian measurements; the truth is kept.

    Example:
      >>> import jax
      >>> problem = matrix_sensing(jax.random.key(0), (5, 4), rank=1, measurements=12)
      >>> problem.shape, problem.observations, float(problem.loss(problem.truth)) < 1e-20
      ((5, 4), 12, True)

    References:
      arora2019, Appendix D.
    """
    key = one_key(key)
    of_truth, of_a = jax.random.split(key)
    truth = low_rank_matrix(of_truth, shape, rank, norm)
    a = gaussian_measurements(of_a, measurements, shape, std)
    return MatrixSensing(a, jnp.einsum("kij,ij->k", a, truth), loss=loss, truth=truth)


def least_squares(
    key: Checked[PRNGKeyArray],
    rows: Checked[int],
    columns: Checked[int],
    *,
    loss: LossConvention = "half_sum",
) -> LeastSquares:
    """Noiseless linear regression with standard normal inputs and coefficients.

    Example:
      >>> import jax
      >>> least_squares(jax.random.key(0), rows=5, columns=8).shape
      (8,)
    """
    key = one_key(key)
    rows, columns = whole("rows", rows), whole("columns", columns)
    of_x, of_truth = jax.random.split(key)
    x = jax.random.normal(of_x, (rows, columns))
    truth = jax.random.normal(of_truth, (columns,))
    return LeastSquares(x, x @ truth, loss=loss, truth=truth)


def norm_blowup(
    z: Checked[float] = 1.0,
    z_prime: Checked[float] = 1.0,
    epsilon: Checked[float] = 0.0,
    unobserved: Checked[tuple[int, int]] = (0, 0),
    shape: Checked[Sequence[int]] = (2, 2),
) -> MatrixCompletion:
    r"""The completion problem on which fitting drives all norms to infinity, with its extensions.

    At 2x2 and position (i, j) of the unobserved entry (counted from 0; the papers' (1,1) is (0,
    0)): z is observed beside it in its row, z_prime in its column, epsilon diagonally opposite. In
    larger shapes the 2x2 block is the upper left one, further diagonal entries are observed as 1
    and all others as 0.

    Args:
      z: the observed entry in the row of the unobserved one; not 0.
      z_prime: the observed entry in its column; not 0.
      epsilon: the observed entry diagonally opposite.
      unobserved: the position of the unobserved entry in the 2x2 block.
      shape: (d, d'), each at least 2.

    Raises:
      ValueError: on an entry that is no finite number, z or z_prime equal to 0, a position outside
        the block, or a shape below 2x2.

    Example:
      >>> norm_blowup().target.tolist()
      [[0.0, 1.0], [1.0, 0.0]]
      >>> norm_blowup(shape=(3, 4)).observations
      11

    References:
      razin2020, Equations (6), (13) and (25), Theorem 2, Appendix E.
    """
    rows, columns = shape_of("shape", shape, 2)
    if min(rows, columns) < 2:
        raise ValueError(f"shape must be at least (2, 2), but it is {tuple(shape)}.")
    for name, value in {"z": z, "z_prime": z_prime, "epsilon": epsilon}.items():
        if not np.isfinite(real(value)):
            raise ValueError(
                f"{name} must be a finite number, but it is {value!r}; a shape is given by shape=."
            )
    if z == 0 or z_prime == 0:
        raise ValueError(f"z and z_prime must not be 0, but they are {z} and {z_prime}.")
    if np.shape(unobserved) != (2,) or any(k not in (0, 1) for k in unobserved):
        raise ValueError(
            f"unobserved must be one of (0, 0), (0, 1), (1, 0), (1, 1), but it is {unobserved}."
        )
    i, j = unobserved
    target = np.zeros((rows, columns))
    np.fill_diagonal(target, 1.0)
    target[:2, :2] = 0.0
    target[i, 1 - j] = z
    target[1 - i, j] = z_prime
    target[1 - i, 1 - j] = epsilon
    indices = np.array([at for at in np.ndindex(rows, columns) if at != (i, j)])
    return MatrixCompletion((rows, columns), indices, target[tuple(indices.T)])
