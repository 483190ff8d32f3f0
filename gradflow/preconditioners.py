r"""The operators through which depth acts on the gradient, as operators rather than as matrices."""

import jax.numpy as jnp
from jaxtyping import Array, Float


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
    if depth == 1:
        return gradient
    u, s, vt = jnp.linalg.svd(w, full_matrices=False)
    powers = [jnp.ones_like(s)] + [s ** (2 * j / depth) for j in range(1, depth)]
    weights = sum(powers[j][:, None] * powers[depth - 1 - j][None, :] for j in range(depth))
    left = u.T @ gradient
    core = left @ vt.T
    result = u @ (weights * core) @ vt
    rows, columns = w.shape
    if rows < columns:
        result = result + (u * powers[-1]) @ (left - core @ vt)
    if rows > columns:
        result = result + ((gradient @ vt.T - u @ core) * powers[-1]) @ vt
    return result
