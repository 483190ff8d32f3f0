r"""Singular value decompositions that a GPU does for a whole batch at once.

There those of a batch of matrices beyond 32 x 32 are done one after the other, 2.3 ms each at
100 x 100, but eigendecompositions of symmetric matrices all at once. So on a GPU a decomposition is
had from one of these, of

- W^T W in float64 for a W in float32: singular values to 1e-8 s_1 are told apart, where an SVD in
  float32 tells them apart to 1e-7 s_1; those of W V, once V is known, are right to 1e-16 s_1;
- [[0, W], [W^T, 0]] in the precision of W otherwise, whose eigenvalues are s_i and -s_i: as
  accurate as an SVD, to some eps s_1.

Elsewhere `jnp.linalg.svd` does it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.annotations import AnyArray


def thin_svd(
    w: Float[AnyArray, "m n"],
) -> tuple[Float[Array, "m k"], Float[Array, " k"], Float[Array, "k n"]]:
    """U, s and V^T with W = U diag(s) V^T, k = min(m, n), s falling.

    On a GPU, where s_i is below the rounding of s_1, columns of U and V need not have unit length,
    nor those s_i be in order; W is what it was all the same.

    Args:
      w: a matrix.

    Raises:
      ValueError: if it is none.

    Example:
      >>> import jax.numpy as jnp
      >>> u, s, vt = thin_svd(jnp.diag(jnp.array([-3.0, 4.0])))
      >>> s.tolist(), jnp.round((u * s) @ vt, 6).tolist()
      ([4.0, 3.0], [[-3.0, 0.0], [0.0, 4.0]])
    """
    w = _matrix(w)
    return _guarded(_together, w) if _one_by_one() else finite_svd(w)


def finite_svd(
    w: Float[AnyArray, "m n"],
) -> tuple[Float[Array, "m k"], Float[Array, " k"], Float[Array, "k n"]]:
    """`jnp.linalg.svd(w, full_matrices=False)`; of a matrix that is not finite, NaN.

    LAPACK's divide and conquer may go on for ever where an entry is infinite, and so may NumPy's:
    a descent that has diverged, or a step of a flow that is too long, would never be told of.

    Args:
      w: a matrix.

    Example:
      >>> import jax.numpy as jnp
      >>> finite_svd(jnp.array([[jnp.inf, 0.3], [0.4, 0.4]]))[1].tolist()
      [nan, nan]
    """

    def decomposed(w: Array) -> tuple[Array, Array, Array]:
        u, s, vt = jnp.linalg.svd(w, full_matrices=False)
        return u, s, vt

    return _guarded(decomposed, jnp.asarray(w))


def _guarded(function: Callable[[Array], Any], w: Array) -> Any:
    """What a decomposition gives, and NaN of a matrix that is not finite, which it does not see."""
    finite = jnp.all(jnp.isfinite(w))
    found = function(jnp.where(finite, w, 0.0))
    return jax.tree.map(lambda part: jnp.where(finite, part, jnp.nan), found)


def values(w: Float[AnyArray, "m n"]) -> Float[Array, " k"]:
    """The singular values alone, in falling order, with finite gradients at repeated ones too.

    Args:
      w: a matrix.

    Raises:
      ValueError: if it is none.

    Example:
      >>> import jax.numpy as jnp
      >>> values(jnp.diag(jnp.array([-3.0, 4.0]))).tolist()
      [4.0, 3.0]
    """
    w = _matrix(w)
    if _one_by_one():
        return _guarded(_values_together, w)
    return _guarded(lambda w: jnp.linalg.svd(w, compute_uv=False), w)


def _matrix(w: AnyArray) -> Array:
    """What is to be decomposed; of arrays with more axes NumPy would do one matrix each."""
    w = jnp.asarray(w)
    see_matrix(w.shape)
    return w


def see_matrix(shape: tuple[int, ...]) -> None:
    """See that there are singular values.

    Raises:
      ValueError: if the shape is not that of a matrix.
    """
    if len(shape) != 2:
        raise ValueError(
            f"Singular values are those of a matrix, but the array has shape {tuple(shape)}; of a "
            "tensor take a flattening, in an observable of your own."
        )


def _one_by_one() -> bool:
    """Whether the device does the SVDs of a batch one after the other."""
    return jax.default_backend() == "gpu"


@jax.custom_jvp
def _together(w: Array) -> tuple[Array, Array, Array]:
    if w.shape[0] < w.shape[1]:
        u, s, vt = _together(w.T)
        return vt.T, s, u.T
    return _from_gram(w) if _wider(w) else _from_reflection(w)


@_together.defjvp
def _together_moved(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    """The derivative where singular values differ and none is 0, as that of `jnp.linalg.svd`."""
    (w,), (dw,) = primals, tangents
    u, s, vt = _together(w)
    p = u.T @ dw @ vt.T
    gaps = s[None, :] ** 2 - s[:, None] ** 2 + jnp.eye(s.size, dtype=s.dtype)
    turns = (1 - jnp.eye(s.size, dtype=s.dtype)) / gaps
    du = u @ (turns * (p * s + s[:, None] * p.T))
    dv = vt.T @ (turns * (s[:, None] * p + p.T * s))
    if w.shape[0] > w.shape[1]:
        du = du + (dw @ vt.T - u @ p) / s
    if w.shape[0] < w.shape[1]:
        dv = dv + (dw.T @ u - vt.T @ p.T) / s
    return (u, s, vt), (du, jnp.diagonal(p), dv.T)


@jax.custom_jvp
def _values_together(w: Array) -> Array:
    count = min(w.shape)
    tall = w if w.shape[0] >= w.shape[1] else w.T
    if _wider(w):
        wide = tall.astype(jnp.float64)
        squares = jnp.linalg.eigvalsh(wide.T @ wide, symmetrize_input=False)[::-1]
        return jnp.sqrt(jnp.maximum(squares, 0)).astype(w.dtype)
    if _thin(tall):
        tall = jnp.linalg.qr(tall, mode="r")
    both = jnp.linalg.eigvalsh(_reflection(tall), symmetrize_input=False)
    return jnp.maximum(both[: -count - 1 : -1], 0)


@_values_together.defjvp
def _values_moved(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (w,), (dw,) = primals, tangents
    u, _, vt = _together(w)
    return _values_together(w), jnp.sum((u.T @ dw) * vt, axis=1)


def _wider(w: Array) -> bool:
    """Whether there are numbers with twice the digits of W's."""
    known = jax.dtypes.canonicalize_dtype(jnp.float64) == jnp.float64
    return known and w.dtype != jnp.float64


def _from_gram(w: Array) -> tuple[Array, Array, Array]:
    """From eigenvectors of W^T W, in float64; W is not wider than high."""
    wide = w.astype(jnp.float64)
    v = jnp.linalg.eigh(wide.T @ wide, symmetrize_input=False)[1][:, ::-1]
    image = wide @ v
    s = jnp.linalg.norm(image, axis=0)
    u = image / jnp.where(s > 0, s, 1.0)
    return u.astype(w.dtype), s.astype(w.dtype), v.T.astype(w.dtype)


def _from_reflection(w: Array) -> tuple[Array, Array, Array]:
    """From the eigenvectors (u_i, v_i) of [[0, W], [W^T, 0]] with eigenvalues s_i."""
    rows, columns = w.shape
    if _thin(w):
        q, r = jnp.linalg.qr(w)
        u, s, vt = _from_reflection(r)
        return q @ u, s, vt
    both, vectors = jnp.linalg.eigh(_reflection(w), symmetrize_input=False)
    z = 2**0.5 * vectors[:, : -columns - 1 : -1]
    return z[:rows], jnp.maximum(both[: -columns - 1 : -1], 0), z[rows:].T


def _reflection(w: Array) -> Array:
    rows, columns = w.shape
    none = [jnp.zeros((k, k), w.dtype) for k in (rows, columns)]
    return jnp.block([[none[0], w], [w.T, none[1]]])


def _thin(w: Array) -> bool:
    """Whether W is so high that its triangular factor is better decomposed."""
    return w.shape[0] > 2 * w.shape[1]
