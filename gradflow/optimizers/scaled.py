"""The gradient over the root of its own mean square, without an average of its direction."""

import math

import optax

from gradflow._util.annotations import Checked
from gradflow.optimizers._rate import Rate, checked, decaying, descend, in_range
from gradflow.optimizers._rules import scale_by_adagrad, scale_by_spread


def adagrad(
    learning_rate: Checked[Rate],
    eps: Checked[float] = 1e-10,
    initial_accumulator_value: Checked[float] = 0.0,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""Adagrad: f <- f - rate g / (sqrt(s_t) + eps), s_t = s_{t-1} + g^2.

    optax begins with s_0 = 0.1 and has eps inside the root.

    Args:
      learning_rate: the rate, above 0.
      eps: added to the root, above 0.
      initial_accumulator_value: s_0, at least 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = adagrad(0.1), jnp.array([4.0, -1.0])
      >>> _, state = rule.update(g, rule.init(g))
      >>> rule.update(g, state)[0].round(6).tolist()  # 0.1 / sqrt(2)
      [-0.070711, 0.070711]

    References:
      Duchi, Hazan and Singer 2011; zhao2022, Table 1.
    """
    (eps,) = checked(eps)
    (initial,) = in_range(math.inf, initial_accumulator_value=initial_accumulator_value)
    return descend(learning_rate, *decaying(weight_decay), scale_by_adagrad(eps, initial))


def rmsprop(
    learning_rate: Checked[Rate],
    decay: Checked[float] = 0.99,
    eps: Checked[float] = 1e-8,
    weight_decay: Checked[float] = 0.0,
    momentum: Checked[float] = 0.0,
    centered: bool = False,
) -> optax.GradientTransformation:
    r"""RMSprop: f <- f - rate g / (sqrt(v_t) + eps), v_t = decay v_{t-1} + (1 - decay) g^2.

    The mean is not corrected for its start: the first step is rate / sqrt(1 - decay). optax has
    another decay and eps inside the root.

    Args:
      learning_rate: the rate, above 0.
      decay: what is kept of the mean square, PyTorch's alpha, in [0, 1).
      eps: added to the root, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.
      momentum: what is kept of the last update, in [0, 1): u_t = momentum u_{t-1} + g / (...), and
        f <- f - rate u_t.
      centered: whether v_t is the variance, the mean square less the square of the mean.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = rmsprop(0.1), jnp.array([4.0, -1.0])
      >>> rule.update(g, rule.init(g))[0].round(6).tolist()
      [-1.0, 1.0]

    References:
      Tieleman and Hinton 2012, Lecture 6.5; zhao2022, Table 1.
    """
    eps, decay, momentum = checked(eps, decay=decay, momentum=momentum)
    rule = (
        scale_by_spread(decay, eps)
        if centered
        else optax.scale_by_rms(decay, eps, eps_in_sqrt=False)
    )
    kept = [optax.trace(momentum)] if momentum else []
    return descend(learning_rate, *decaying(weight_decay), rule, *kept)


def adadelta(
    learning_rate: Checked[Rate],
    rho: Checked[float] = 0.9,
    eps: Checked[float] = 1e-6,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""Adadelta: f <- f - rate d_t, d_t = g sqrt((x_{t-1} + eps) / (v_t + eps)).

    The means v and x of g^2 and d^2 keep rho of themselves. PyTorch's rate is 1.

    Args:
      learning_rate: the rate, above 0.
      rho: what is kept of the means, in [0, 1).
      eps: added inside the roots, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = adadelta(1.0), jnp.array([4.0, -1.0])
      >>> rule.update(g, rule.init(g))[0].round(6).tolist()  # sqrt(eps / 0.1)
      [-0.003162, 0.003162]

    References:
      Zeiler 2012; zhao2022, Table 3.
    """
    eps, rho = checked(eps, rho=rho)
    return descend(learning_rate, *decaying(weight_decay), optax.scale_by_adadelta(rho, eps))
