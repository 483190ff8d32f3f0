"""What all optimisers share: a rate in the parameters' precision, and checked options."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Float

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive, real

Rate = float | Float[Array, ""] | optax.Schedule


def descend(
    learning_rate: Checked[Rate], *directions: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Against these directions, one made from the other, at a rate in the parameters' precision."""
    if callable(learning_rate):
        return optax.chain(*directions, optax.scale_by_learning_rate(learning_rate))
    if not isinstance(learning_rate, Tracer):
        learning_rate = positive("learning_rate", learning_rate)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda d: -jnp.asarray(learning_rate, d.dtype) * d, updates), state

    scaled = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
    return optax.chain(*directions, scaled)


def checked(eps: Checked[float], **shares: Checked[float]) -> list[float]:
    """Refuse what makes NaN: where there is no gradient, eps = 0 gives 0 / 0."""
    return [positive("eps", eps), *in_range(1, **shares)]


def decaying(weight_decay: Checked[float]) -> list[optax.GradientTransformation]:
    """What adds a share of the parameters to their gradients; nothing where it is 0."""
    (share,) = in_range(math.inf, weight_decay=weight_decay)
    return [optax.add_decayed_weights(share)] if share else []


def in_range(below: float, **options: Any) -> list[float]:
    """The options as Python's floats, which promote no array, if all are in [0, below)."""
    found = []
    for name, value in options.items():
        number = real(value)
        if not 0 <= number < below:
            words = "at least 0 and below 1" if below == 1 else "a finite number of at least 0"
            raise ValueError(
                f"{name} must be {words}, but it is {value!r}; leave it away for the default."
            )
        found.append(number)
    return found
