r"""Starting points of matrix products: balanced, Gaussian and identity factors.

Factors are balanced if W_{j+1}^T W_{j+1} = W_j W_j^T for all j (razin2020, Equation (5)). Gradient
flow keeps these differences constant, so a balanced start stays balanced.
"""

import functools
from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.random import one_key
from gradflow._util.validate import finite_array, positive_or_traced, sizes_of
from gradflow.factorizations.base import Factors, weight_std
from gradflow.linalg.thin_svd import finite_svd


def balanced_factors(
    w: Checked[ArrayLike],
    sizes: Checked[Sequence[int]],
    key: Checked[PRNGKeyArray | None] = None,
) -> Factors:
    r"""Balanced factors of a given matrix: W_j = Q_j S^(1/N) Q_{j-1}^T with W = U S V^T.

    Q_0 = V, Q_N = U, and the Q_j between have orthonormal columns: the first unit vectors, or
    random ones if a key is given.

    Args:
      w: the (d, d') product wanted.
      sizes: (d', d_1, ..., d_{N-1}, d), as in `MatrixProduct`.
      key: for random hidden orthonormal frames.

    Returns:
      The factors W_1, ..., W_N, in the precision of `w`.

    Raises:
      ValueError: if the shapes do not fit or a hidden size is below the rank of `w`.

    Example:
      >>> import jax.numpy as jnp
      >>> factors = balanced_factors(8.0 * jnp.eye(2), (2, 2, 2, 2))
      >>> bool(jnp.allclose(factors[2] @ factors[1] @ factors[0], 8.0 * jnp.eye(2)))
      True

    References:
      Arora, Cohen, Golowich and Hu 2018, Procedure 1; razin2020, Appendix F.2.1.
    """
    w = jnp.asarray(finite_array("w", w, ndim=2))
    sizes = sizes_of(sizes)
    if (sizes[-1], sizes[0]) != w.shape:
        raise ValueError(
            f"w has shape {w.shape} but sizes {sizes} make a product of shape "
            f"{(sizes[-1], sizes[0])}; sizes are (columns, hidden ..., rows)."
        )
    values, factors = _split(w, tuple(sizes), None if key is None else one_key(key))
    s = np.asarray(values)
    rank = int(np.sum(s > s[0] * max(w.shape) * np.finfo(s.dtype).eps)) if s[0] > 0 else 0
    width = min(min(sizes), s.size)
    if width < rank:
        raise ValueError(
            f"w has rank {rank}, but the smallest hidden size is {width}; "
            "factors of these sizes cannot multiply to w. Use larger hidden sizes."
        )
    return factors


@functools.partial(jax.jit, static_argnames="sizes")
def _split(w: Array, sizes: tuple[int, ...], key: PRNGKeyArray | None) -> tuple[Array, Factors]:
    """All singular values of w, and the factors."""
    depth = len(sizes) - 1
    u, s, vt = finite_svd(w)
    if depth == 1:
        return s, (w,)
    width = min(min(sizes), s.size)
    u, root, vt = u[:, :width], s[:width] ** (1 / depth), vt[:width]
    frames = [vt.T]
    for j, size in enumerate(sizes[1:-1]):
        frame = jnp.eye(size, width, dtype=w.dtype)
        if key is not None:
            normal = jax.random.normal(jax.random.fold_in(key, j), (size, width), w.dtype)
            frame = jnp.linalg.qr(normal)[0]
        frames.append(frame)
    frames.append(u)
    return s, tuple((frames[j + 1] * root) @ frames[j].T for j in range(depth))


def random_balanced(
    key: Checked[PRNGKeyArray], sizes: Checked[Sequence[int]], std: Checked[float]
) -> Factors:
    """Balanced factors of a random product with independent N(0, std^2) entries.

    Args:
      key: a JAX random key.
      sizes: (d_0, ..., d_N), as in `MatrixProduct`; no hidden size below min(d_0, d_N).
      std: the standard deviation of the product's entries.

    Example:
      >>> import gradflow as gf, jax
      >>> factors = gf.factorizations.random_balanced(jax.random.key(0), (4, 4, 4, 4), std=1e-3)
      >>> len(factors), float(gf.factorizations.unbalancedness(factors)) < 1e-16
      (3, True)

    References:
      razin2020, Appendix F.2.1.
    """
    key = one_key(key)
    sizes = sizes_of(sizes)
    product = positive_or_traced("std", std) * jax.random.normal(key, (sizes[-1], sizes[0]))
    return balanced_factors(product, sizes)


def gaussian_factors(
    key: Checked[PRNGKeyArray],
    sizes: Checked[Sequence[int]],
    *,
    std: Checked[float | None] = None,
    product_std: Checked[float | None] = None,
) -> Factors:
    r"""Independent N(0, s^2) entries in every factor; not balanced.

    Give either s itself, or the standard deviation a of the entries of the product, from which
    s = (a^2 / (d_1 ... d_{N-1}))^(1/2N).

    Args:
      key: a JAX random key.
      sizes: (d_0, ..., d_N), as in `MatrixProduct`.
      std: s, for each weight.
      product_std: a, for each entry of the product.

    Raises:
      ValueError: unless exactly one of `std`, `product_std` is given, and above 0.

    Example:
      >>> import jax
      >>> factors = gaussian_factors(jax.random.key(0), (5, 4, 6), product_std=0.1)
      >>> [f.shape for f in factors]
      [(4, 5), (6, 4)]

    References:
      razin2020, Appendix F.2.1 (with a); zhao2022, Appendix A.1 (with s).
    """
    key = one_key(key)
    sizes = sizes_of(sizes)
    depth = len(sizes) - 1
    if (std is None) == (product_std is None):
        raise ValueError(
            f"Give exactly one of std and product_std, but they are {std} and {product_std}."
        )
    if std is not None:
        scale = positive_or_traced("std", std)
    else:
        scale = _std_of(sizes, positive_or_traced("product_std", product_std))
    keys = jax.random.split(key, depth)
    return tuple(scale * jax.random.normal(keys[j], (sizes[j + 1], sizes[j])) for j in range(depth))


def _std_of(sizes: Sequence[int], product_std: float) -> float:
    return weight_std(product_std, prod(sizes[1:-1]), len(sizes) - 1)


def identity_factors(sizes: Checked[Sequence[int]], scale: Checked[float]) -> Factors:
    """Factors scale^(1/N) * I, so that the product is scale * I.

    Rectangular ones have zeros beyond the square. Exactly balanced when all sizes are equal.

    Args:
      sizes: (d_0, ..., d_N), as in `MatrixProduct`.
      scale: the wanted multiple of the identity, above 0.

    Example:
      >>> identity_factors((2, 2, 2), 0.25)[0].tolist()
      [[0.5, 0.0], [0.0, 0.5]]
    """
    sizes = sizes_of(sizes)
    depth = len(sizes) - 1
    root = positive_or_traced("scale", scale) ** (1 / depth)
    return tuple(root * jnp.eye(sizes[j + 1], sizes[j]) for j in range(depth))
