"""Random keys as numbers, which can be stacked, repeated and stored; fixed noise."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, UInt32


class Keys(eqx.Module):
    """Random keys as numbers.

    Attributes:
      numbers: with several along the first axis; or of a single one.
      kind: the generator's name.
    """

    numbers: Array
    kind: str = eqx.field(static=True)

    def key(self) -> PRNGKeyArray:
        """The single one, as JAX takes it."""
        return jax.random.wrap_key_data(self.numbers, impl=self.kind)


def is_key(value: Any) -> bool:
    """Whether it is an array of JAX's random keys.

    Args:
      value: anything.
    """
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def without_key(value: Any) -> Any:
    """Random keys as their numbers; anything else as it is.

    Args:
      value: anything.
    """
    return jax.random.key_data(value) if is_key(value) else value


def scrambled(bits: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Numbers without a pattern from whole numbers, always the same: the end of MurmurHash3.

    Far less to compile than one of JAX's generators.
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        bits = (bits ^ (bits >> shift)) * jnp.uint32(factor)
    return bits


def as_keys(key: Any, what: str) -> Keys:
    """A key, or several along the first axis.

    Args:
      key: made by `jax.random.key` or `split`, or of the older kind `jax.random.PRNGKey`.
      what: it is called, for the message.

    Raises:
      ValueError: if it is none, or there are keys of several generators.
    """
    if isinstance(key, list | tuple) and key:
        parts = [as_keys(one, what) for one in key]
        if all(part.kind == parts[0].kind and part.numbers.ndim == 1 for part in parts):
            return Keys(jnp.stack([part.numbers for part in parts]), parts[0].kind)
    elif isinstance(key, jax.Array) and is_key(key):
        if key.ndim <= 1 and key.size:
            return Keys(jax.random.key_data(key), str(jax.random.key_impl(key)))
    elif isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32:
        usual = jax.random.key_data(jax.random.key(0)).shape
        if key.shape[-1:] == usual:
            return as_keys(jax.random.wrap_key_data(jnp.asarray(key)), what)
    raise ValueError(
        f"{what} must be a random key, such as jax.random.key(0), or several along one axis, such "
        f"as jax.random.split(jax.random.key(0), 8), all of one generator, but it is {key!r}."
    )


def one_key(key: Any) -> PRNGKeyArray:
    """A single random key, as it was given.

    Args:
      key: see `as_keys`; a traced one, too.

    Raises:
      ValueError: if it is none, or there are several.
    """
    if as_keys(key, "key").numbers.ndim != 1:
        raise ValueError(f"key must be a single random key, such as keys[0], but it is {key!r}.")
    return key
