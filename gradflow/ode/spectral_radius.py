r"""The spectral radius of a Jacobian, from few products with vectors, kept from step to step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gradflow._util.random import scrambled

_LANCZOS = 12
"""Products for a full estimate."""
_NOISE = 0.5
"""Size of the noise in a full estimate's first vector, which finds eigenvectors not yet seen."""
_RENEW = 24
"""Steps for which a full estimate is trusted."""
_ROUGHLY = 8
"""Steps for which a rough estimate is trusted."""
_DRIFT = 0.02
"""The relative change of the size of y after which an estimate is looked at again."""
_DEAR = 40
"""Evaluations from which on a rejected step asks for a full estimate."""


def norm(y: Any) -> Float[Array, ""]:
    """The Euclidean norm of all entries of a tree."""
    return jnp.sqrt(_dot(y, y))


def _dot(a: Any, b: Any) -> Float[Array, ""]:
    parts = jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)
    return jnp.sum(jnp.stack(jax.tree.leaves(parts)))


class SpectralRadius(eqx.Module):
    """An estimate of the Jacobian's spectral radius, kept from step to step.

    A full estimate takes twelve Lanczos steps, which assume real eigenvalues and eigenvectors that
    are about orthogonal, as those of a flow's Hessian are. Power iteration would need no
    orthogonality, but stays at a smaller eigenvalue for dozens of steps where another one has
    overtaken it. Between full estimates one product with the iterated vector may raise the value.

    Attributes:
      value: the estimate; 0 where there is none yet.
      direction: the iterated vector, of norm 1.
      age: steps since the full estimate.
      size: the norm of y when the estimate was last looked at.
    """

    value: Float[Array, ""]
    direction: Any
    age: Int[Array, ""]
    size: Float[Array, ""]

    @classmethod
    def unknown(cls, y: Any) -> "SpectralRadius":
        """No estimate yet, and a random direction."""
        noise = _noise(y, 0)
        zero = jnp.zeros_like(norm(noise))
        return cls(zero, noise, jnp.asarray(_RENEW), zero)

    def renewed(
        self, field: Callable[[Any], Any], y: Any, rough: Any = False
    ) -> tuple["SpectralRadius", Int[Array, ""]]:
        """The estimate for a step from y, and the Jacobian-vector products that it took.

        Args:
          field: the vector field at the step's start.
          y: where the step starts.
          rough: one product now and then is enough, where stability does not depend on it.
        """
        rough = jnp.asarray(rough)
        size = norm(y)
        moved = jnp.abs(size - self.size) > _DRIFT * self.size
        full = jnp.where(rough, self.value == 0, self.age >= _RENEW)
        look = jnp.where(rough, self.age % _ROUGHLY == 0, moved)
        count = jnp.where(full, _LANCZOS, jnp.where(look, 1, 0))
        mixed = jax.tree.map(lambda d, n: d + _NOISE * n, self.direction, _noise(y, 1))
        share = jnp.where(full, 1 / norm(mixed), 1.0)
        first = jax.tree.map(lambda m, d: share * jnp.where(full, m, d), mixed, self.direction)

        def step(j: Array, carry: Any) -> Any:
            before, now, beta, diagonal, off, image, longest = carry
            product = jax.jvp(field, (y,), (now,))[1]
            longest = jnp.maximum(longest, norm(product))
            image = jax.tree.map(lambda p, i: jnp.where(j == 0, p, i), product, image)
            alpha = _dot(now, product)
            rest = jax.tree.map(lambda p, n, b: p - alpha * n - beta * b, product, now, before)
            new_beta = norm(rest)
            # Beyond an invariant subspace there is nothing left but round-off.
            new_beta = jnp.where(new_beta > 1e-10 * longest, new_beta, 0.0)
            after = jax.tree.map(lambda r: jnp.where(new_beta > 0, r / new_beta, 0.0), rest)
            return (
                now,
                after,
                new_beta,
                diagonal.at[j].set(alpha),
                off.at[j].set(new_beta),
                image,
                longest,
            )

        zero = jnp.zeros_like(size)
        empty = jnp.zeros(_LANCZOS, size.dtype)
        nothing = jax.tree.map(jnp.zeros_like, first)
        start = (nothing, first, zero, empty, empty, nothing, zero)
        *_, diagonal, off, image, longest = jax.lax.fori_loop(0, count, step, start)
        ritz = jax.lax.cond(full, _largest, lambda d, o: jnp.zeros_like(zero), diagonal, off)
        found = jnp.maximum(ritz, longest)
        value = jnp.where(full | (rough & look), found, jnp.maximum(self.value, found))
        length = norm(image)
        direction = jax.tree.map(
            lambda i, d: jnp.where((count > 0) & (length > 0), i / length, d),
            image,
            self.direction,
        )
        age = jnp.where(full & ~rough, 0, self.age + 1)
        seen = jnp.where(count > 0, size, self.size)
        return SpectralRadius(value, direction, age, seen), count

    def after_rejection(self, fields: Any) -> "SpectralRadius":
        """To try again with, after a step that cost `fields` evaluations; a dear one asks anew."""
        age = jnp.where(fields > _DEAR, _RENEW, self.age)
        return eqx.tree_at(lambda r: r.age, self, age)


def _largest(diagonal: Float[Array, " k"], off: Float[Array, " k"]) -> Float[Array, ""]:
    """The largest modulus of a Lanczos matrix's eigenvalues, and what it may lack."""
    values, vectors = jnp.linalg.eigh(
        jnp.diag(diagonal) + jnp.diag(off[:-1], 1) + jnp.diag(off[:-1], -1)
    )
    top = jnp.argmax(jnp.abs(values))
    size = jnp.abs(values[top])
    return size + jnp.minimum(off[-1] * jnp.abs(vectors[-1, top]), 0.1 * size)


def _noise(y: Any, seed: int) -> Any:
    """Uniform noise of the shape of y, of norm 1; the same each time.

    From a hash of the entries' numbers: a generator of normal numbers was a fifth of a flow's
    compiled program.
    """
    leaves, tree = jax.tree.flatten(y)
    first, noise = seed * 0x9E3779B9 % 2**32, []
    for leaf in leaves:
        bits = scrambled(jnp.arange(leaf.size, dtype=jnp.uint32) + jnp.uint32(first))
        noise.append(((bits >> 8).astype(leaf.dtype) / 2**24 - 0.5).reshape(leaf.shape))
        first = (first + leaf.size) % 2**32
    total = norm(noise)
    return jax.tree.unflatten(tree, [x / total for x in noise])
