"""The rules behind `gradflow.optimizers` that optax lacks, as transformations without a rate."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


class _Moments(NamedTuple):
    """Iterations done; the means of the gradient and of its square."""

    count: Any
    first: Any
    second: Any


class _AMSGradState(NamedTuple):
    moments: _Moments
    largest: Any


class _AdagradState(NamedTuple):
    total: Any


class _NAdamState(NamedTuple):
    moments: _Moments
    product: Float[Array, ""]


class _SpreadState(NamedTuple):
    mean: Any
    square: Any


class _DampenedState(NamedTuple):
    begun: Any
    last: Any


class _GroupState(NamedTuple):
    count: Any
    mean: Float[Array, ""]


def scale_by_amsgrad(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Over the root of the largest second moment so far, corrected for its start; eps outside."""

    def init(params: Any) -> _AMSGradState:
        return _AMSGradState(_moments_at_start(params), _zeros(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _AMSGradState]:
        now = _next_moments(state.moments, updates, b1, b2)
        largest = jax.tree.map(jnp.maximum, state.largest, now.second)
        first, second = _weight(b1, now.count), jnp.sqrt(_weight(b2, now.count))

        def direction(m: Array, v: Array) -> Array:
            return m / _as(first, m) / (jnp.sqrt(v) / _as(second, m) + eps)

        return jax.tree.map(direction, now.first, largest), _AMSGradState(now, largest)

    return optax.GradientTransformation(init, update)


def scale_by_adagrad(eps: float, initial: float) -> optax.GradientTransformation:
    """Over the root of the sum of squares so far; eps outside the root."""

    def init(params: Any) -> _AdagradState:
        return _AdagradState(jax.tree.map(lambda f: jnp.full_like(f, initial), params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _AdagradState]:
        total = jax.tree.map(lambda s, g: s + g * g, state.total, updates)
        direction = jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + eps), updates, total)
        return direction, _AdagradState(total)

    return optax.GradientTransformation(init, update)


def scale_by_nadam(
    b1: float, b2: float, eps: float, momentum_decay: float
) -> optax.GradientTransformation:
    """Nesterov's look-ahead in Adam, its momentum rising by a schedule."""

    def momentum_at(t: Array) -> Array:
        return b1 * (1 - 0.5 * jnp.exp(t * (momentum_decay * math.log(0.96))))

    def init(params: Any) -> _NAdamState:
        return _NAdamState(_moments_at_start(params), jnp.ones((), _dtype(params)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _NAdamState]:
        now = _next_moments(state.moments, updates, b1, b2)
        t = now.count.astype(float)
        mu, following, root = momentum_at(t), momentum_at(t + 1), jnp.sqrt(_weight(b2, now.count))
        product = state.product * _as(mu, state.product)
        of_g, of_m = (1 - mu) / (1 - product), following / (1 - product * following)

        def direction(g: Array, m: Array, v: Array) -> Array:
            ahead = _as(of_g, g) * g + _as(of_m, g) * m
            return ahead / (jnp.sqrt(v) / _as(root, g) + eps)

        moved = jax.tree.map(direction, updates, now.first, now.second)
        return moved, _NAdamState(now, product)

    return optax.GradientTransformation(init, update)


def scale_by_radam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adam whose step is rectified by the variance of its second moment, or has none."""
    rho = 2 / (1 - b2) - 1
    # Where rho_t never exceeds 5, r_t is not used, but must not be NaN either.
    scale = rho / ((rho - 4) * (rho - 2)) if rho > 5 else 0.0

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _Moments]:
        now = _next_moments(state, updates, b1, b2)
        first, second = _weight(b1, now.count), _weight(b2, now.count)
        length = rho - 2 * now.count.astype(float) * (1 - second) / second
        above = jnp.maximum(length, 5.0)
        rectified = jnp.sqrt((above - 4) * (above - 2) / above * scale * second)

        def direction(m: Array, v: Array) -> Array:
            adapted = _as(rectified, m) / (jnp.sqrt(v) + eps)
            return m / _as(first, m) * jnp.where(length > 5, adapted, 1)

        return jax.tree.map(direction, now.first, now.second), now

    return optax.GradientTransformation(_moments_at_start, update)


def scale_by_spread(decay: float, eps: float) -> optax.GradientTransformation:
    """Over the root of the gradient's variance, from means that start from 0; eps outside."""

    def init(params: Any) -> _SpreadState:
        return _SpreadState(_zeros(params), _zeros(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _SpreadState]:
        mean = averaged(decay, state.mean, updates)
        square = jax.tree.map(lambda s, g: decay * s + (1 - decay) * g * g, state.square, updates)

        def direction(g: Array, m: Array, s: Array) -> Array:
            return g / (jnp.sqrt(jnp.maximum(s - m * m, 0)) + eps)  # rounding may take it below 0

        return jax.tree.map(direction, updates, mean, square), _SpreadState(mean, square)

    return optax.GradientTransformation(init, update)


def dampened(momentum: float, dampening: float) -> optax.GradientTransformation:
    """Momentum to which a part of the gradient is added, but at first all of it."""

    def init(params: Any) -> _DampenedState:
        return _DampenedState(jnp.asarray(False), _zeros(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _DampenedState]:
        def next_one(u: Array, g: Array) -> Array:
            return jnp.where(state.begun, momentum * u + (1 - dampening) * g, g)

        last = jax.tree.map(next_one, state.last, updates)
        return last, _DampenedState(jnp.asarray(True), last)

    return optax.GradientTransformation(init, update)


def scale_by_group_rms(decay: float, eps: float) -> optax.GradientTransformation:
    """Over the root of the mean squared norm of all factors' gradients together."""

    def init(params: Any) -> _GroupState:
        return _GroupState(jnp.zeros((), jnp.int32), jnp.zeros((), _dtype(params)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _GroupState]:
        count = optax.safe_increment(state.count)
        norm = sum(jnp.sum(g * g) for g in jax.tree.leaves(updates))
        mean = decay * state.mean + (1 - decay) * norm
        below = jnp.sqrt(mean / _as(_weight(decay, count), mean)) + eps
        below = jnp.where(below > 0, below, 1)
        return jax.tree.map(lambda g: g / below, updates), _GroupState(count, mean)

    return optax.GradientTransformation(init, update)


def averaged(kept: float, means: Any, new: Any) -> Any:
    """Means that run on: a share of them is kept, and the rest is new."""
    return jax.tree.map(lambda m, g: kept * m + (1 - kept) * g, means, new)


def _zeros(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)


def _dtype(tree: Any) -> jnp.dtype:
    return jnp.result_type(*jax.tree.leaves(tree))


def _as(number: Array, like: Array) -> Array:
    return number.astype(like.dtype)


def _moments_at_start(params: Any) -> _Moments:
    return _Moments(jnp.zeros((), jnp.int32), _zeros(params), _zeros(params))


def _next_moments(state: _Moments, gradient: Any, b1: float, b2: float) -> _Moments:
    return _Moments(
        optax.safe_increment(state.count),
        averaged(b1, state.first, gradient),
        jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.second, gradient),
    )


def _weight(decay: float, count: Any) -> Float[Array, ""]:
    """1 - decay^count without cancellation, in the widest precision that is switched on."""
    log = math.log(decay) if decay > 0 else -math.inf
    return -jnp.expm1(count.astype(float) * log)
