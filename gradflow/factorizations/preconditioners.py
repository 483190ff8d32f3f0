r"""The operators through which depth acts on the gradient, as operators rather than as matrices."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg.spectral_map import divided_difference_of_powers, power
from gradflow.linalg.thin_svd import finite_svd


def end_to_end(
    w: Float[Array, "d d_prime"], gradient: Float[Array, "d d_prime"], depth: int
) -> Float[Array, "d d_prime"]:
    r"""P_W[G] = sum_{j=1}^N (W W^T)^((j-1)/N) G (W^T W)^((N-j)/N): the flow is dW/dt = -P_W[G].

    Computed in the singular basis of W, where the sum has the weights
    c_rs = sum_j s_r^(2(j-1)/N) s_s^(2(N-j)/N); the zeroth power is the identity also off the
    singular vectors of a rectangular matrix.

    Args:
      w: the product matrix W.
      gradient: G, of the shape of w.
      depth: N, at least 1; P_W is the identity at 1.

    Returns:
      P_W[G], of the shape of w.

    Raises:
      ValueError: if depth is below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> w = jnp.diag(jnp.array([4.0, 1.0]))
      >>> end_to_end(w, jnp.eye(2), depth=2).tolist()  # 2 s_r on the diagonal
      [[8.0, 0.0], [0.0, 2.0]]

    References:
      arora2019, Lemma 3; zhao2022, Equation (4).
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, but it is {depth}.")
    return gradient if depth == 1 else _end_to_end(depth, w, gradient)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _end_to_end(depth: int, w: Array, gradient: Array) -> Array:
    u, s, vt = finite_svd(w)
    return _applied(depth, u, s, vt, gradient)


def _applied(depth: int, u: Array, s: Array, vt: Array, gradient: Array) -> Array:
    powers = [jnp.ones_like(s)] + [s ** (2 * j / depth) for j in range(1, depth)]
    weights = sum(powers[j][:, None] * powers[depth - 1 - j][None, :] for j in range(depth))
    left = u.T @ gradient
    core = left @ vt.T
    result = u @ (weights * core) @ vt
    rows, columns = gradient.shape
    if rows < columns:
        result = result + (u * powers[-1]) @ (left - core @ vt)
    if rows > columns:
        result = result + ((gradient @ vt.T - u @ core) * powers[-1]) @ vt
    return result


@_end_to_end.defjvp
def _derivative(depth: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    r"""P_W[G] and its derivative, without one of singular vectors, which need not have any.

    That of (W W^T)^a is U (D o (K S + S K^T)) U^T with K = U^T dW V and the divided differences
    D_il = (s_i^2a - s_l^2a) / (s_i^2 - s_l^2), whose limit at equal singular values is a
    s^(2a-2); where W is rectangular, beside it stand E U^T + U E^T, E = (I - U U^T) dW V S^(2a-1).
    Where both s_i and s_l are 0 it is taken as 0: the derivative along matrices of the same rank.
    """
    (w, gradient), (dw, dgradient) = primals, tangents
    u, s, vt = finite_svd(w)
    moved = _applied(depth, u, s, vt, dgradient)
    for j in range(1, depth):
        left = _power_moved(j / depth, u, s, vt, dw) @ gradient
        moved = moved + _times_power((depth - 1 - j) / depth, left.T, vt.T, s).T
        right = gradient @ _power_moved(j / depth, vt.T, s, u.T, dw.T)
        moved = moved + _times_power((depth - 1 - j) / depth, right, u, s)
    return _applied(depth, u, s, vt, gradient), moved


def _power_moved(a: float, u: Array, s: Array, vt: Array, dw: Array) -> Array:
    """The derivative of (W W^T)^a, 0 < a < 1, in the direction dw."""
    k = u.T @ dw @ vt.T
    high, low = jnp.maximum(s[:, None], s), jnp.minimum(s[:, None], s)
    both = k * s + s[:, None] * k.T
    total = s[:, None] + s
    quotient = both / jnp.where(total > 0, total, 1.0)
    moved = u @ (divided_difference_of_powers(high, low, 2 * a) * quotient) @ u.T
    if u.shape[0] > s.size:
        beside = ((dw @ vt.T - u @ k) * power(s, 2 * a - 1)) @ u.T
        moved = moved + beside + beside.T
    return moved


def _times_power(a: float, right: Array, u: Array, s: Array) -> Array:
    """(W W^T)^a times a matrix; its zeroth power is the identity."""
    return right if a == 0 else (u * s ** (2 * a)) @ (u.T @ right)


def adam_end_to_end(
    factors: Factors, scales: Factors, gradient: Float[Array, "d d_prime"]
) -> Float[Array, "d d_prime"]:
    r"""P_{W,G}[G] = sum_j A_j (S_j o (A_j^T G B_j^T)) B_j: under Adam dW/dt = -P_{W,G}[G].

    A_j = W_N ... W_{j+1} and B_j = W_{j-1} ... W_1, so that A_j^T G B_j^T is the gradient in W_j,
    and o is the product entry by entry with S_j = 1 / sqrt(v_j), v_j the mean of its squares. With
    all S_j = 1 and balanced factors this is `end_to_end`. Theorem 1 of zhao2022 prints another
    place for S_j, on G itself, which is the same at depth 1 only.

    Args:
      factors: W_1, ..., W_N.
      scales: S_1, ..., S_N, of their shapes.
      gradient: G, of the shape of W.

    Returns:
      P_{W,G}[G], of the shape of W.

    Example:
      >>> import jax.numpy as jnp
      >>> factors = (2.0 * jnp.eye(2), jnp.eye(2))
      >>> adam_end_to_end(factors, factors, jnp.eye(2)).tolist()  # 1 * 2 * 1 + 2 * 1 * 2
      [[6.0, 0.0], [0.0, 6.0]]

    References:
      zhao2022, Theorem 1, corrected.
    """
    above, below = MatrixProduct((factors[0].shape[1], *(f.shape[0] for f in factors))).neighbours(
        factors
    )
    parts = [
        a @ (s * (a.T @ gradient @ b.T)) @ b for a, s, b in zip(above, scales, below, strict=True)
    ]
    return sum(parts[1:], parts[0])


def as_matrix(
    operator: Callable[[Array], Array], shape: tuple[int, ...]
) -> Float[Array, "dd_prime dd_prime"]:
    """The matrix of a linear operator on d x d' matrices, in column-first vectorisation.

    Args:
      operator: linear, from (d, d') to (d, d').
      shape: d and d'; the result has (d d')^2 entries.

    Returns:
      The matrix K with vec(operator(G)) = K vec(G).

    Example:
      >>> import jax.numpy as jnp
      >>> a = jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> bool(jnp.all(as_matrix(lambda g: a @ g, (2, 2)) == jnp.kron(jnp.eye(2), a)))
      True
    """
    units = jnp.eye(shape[0] * shape[1]).reshape(-1, shape[1], shape[0]).swapaxes(1, 2)
    images = jax.vmap(operator)(units)
    return images.swapaxes(1, 2).reshape(len(units), -1).T
