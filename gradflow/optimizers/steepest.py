"""Along the gradient or its signs: plain, with momentum, or at a rate adapted to its norm."""

import math

import jax
import jax.numpy as jnp
import optax

from gradflow._util.annotations import Checked
from gradflow.optimizers._rate import Rate, decaying, descend, in_range
from gradflow.optimizers._rules import dampened, scale_by_group_rms


def gd(
    learning_rate: Checked[Rate], weight_decay: Checked[float] = 0.0
) -> optax.GradientTransformation:
    r"""Plain gradient descent: f <- f - rate g.

    Args:
      learning_rate: the rate, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if the rate is known and no finite number above 0, or the decay is below 0.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = gd(0.1), jnp.array([4.0, -1.0])
      >>> rule.update(g, rule.init(g))[0].tolist()
      [-0.4, 0.1]
    """
    return descend(learning_rate, *decaying(weight_decay))


def momentum(
    learning_rate: Checked[Rate],
    momentum: Checked[float] = 0.9,
    dampening: Checked[float] = 0.0,
    nesterov: bool = False,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""Gradient descent with momentum: u_t = momentum u_{t-1} + g, f <- f - rate u_t.

    PyTorch's own default is no momentum at all, so that zhao2022's "GD (w. momentum)", run with
    "default momentum values", is ambiguous; 0.9 is the customary value.

    Args:
      learning_rate: the rate, above 0.
      momentum: what is kept of the last update, in [0, 1).
      dampening: what is left away of the gradient, in [0, 1): u_t = momentum u_{t-1} +
        (1 - dampening) g, but u_1 = g.
      nesterov: whether to step along g + momentum u_t instead; without dampening only.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range, or there are both Nesterov's step and dampening.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = momentum(0.1), jnp.array([4.0, -1.0])
      >>> _, state = rule.update(g, rule.init(g))
      >>> rule.update(g, state)[0].round(6).tolist()  # 1.9 times the first
      [-0.76, 0.19]

    References:
      Polyak 1964; zhao2022, Table 3 and Appendix A.3.
    """
    momentum, dampening = in_range(1, momentum=momentum, dampening=dampening)
    if nesterov and (dampening or not momentum):
        raise ValueError(
            f"Nesterov's step needs a momentum above 0 and no dampening, but they are {momentum} "
            f"and {dampening}; leave nesterov or dampening away."
        )
    rule = dampened(momentum, dampening) if dampening else optax.trace(momentum, nesterov)
    return descend(learning_rate, *decaying(weight_decay), rule)


def sign_descent(
    learning_rate: Checked[Rate],
    momentum: Checked[float] = 0.0,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""Sign descent: f <- f - rate (sign(m_t) + weight_decay f), entry by entry.

        m_t = momentum m_{t-1} + (1 - momentum) g

    With momentum it is known as Signum. Where m_t is 0, nothing moves but by the decay. It is
    steepest descent in the largest entry, Adam without memory, and the explicit Euler method for
    `gradflow.dynamics.SignFlow`.

    Args:
      learning_rate: the rate, above 0: the length of every step of every entry.
      momentum: what is kept of the mean of the gradient, in [0, 1).
      weight_decay: at least 0.

    Returns:
      The transformation; its update needs the parameters where there is a decay.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = sign_descent(0.1), jnp.array([4.0, 0.0, -1e-9])
      >>> rule.update(g, rule.init(g))[0].tolist()
      [-0.1, 0.0, 0.1]

    References:
      Bernstein, Wang, Azizzadenesheli and Anandkumar 2018, Algorithms 1 and 2.
    """
    (momentum,) = in_range(1, momentum=momentum)
    kept = [optax.ema(momentum, debias=False)] if momentum else []
    signs = optax.stateless(lambda updates, params: jax.tree.map(jnp.sign, updates))
    return descend(learning_rate, *kept, signs, *decaying(weight_decay))


def group_rmsprop(
    learning_rate: Checked[Rate], decay: Checked[float] = 0.99, eps: Checked[float] = 1e-4
) -> optax.GradientTransformation:
    r"""Gradient descent at one rate for all factors, adapted to the gradient's norm.

        f <- f - rate / (sqrt(c_t / (1 - decay^t)) + eps) g,
        c_t = decay c_{t-1} + (1 - decay) sum_j ||g_j||_F^2, over all factors

    Only the length of a step is changed, not its direction. A gradient of zero moves nothing, also
    where eps is 0.

    Args:
      learning_rate: the rate, above 0: the length of the first step where eps is 0.
      decay: what is kept of the mean of the squared norm, in [0, 1).
      eps: added to the root, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = group_rmsprop(0.1, eps=0.0), (jnp.array([3.0]), jnp.array([4.0]))
      >>> [step.round(6).tolist() for step in rule.update(g, rule.init(g))[0]]
      [[-0.06], [-0.08]]

    References:
      arora2019's published code: rate 1e-3 or 3e-4, eps 1e-4 (the paper: a fixed rate); razin2020,
      Appendix F.2.2: rate 1e-2, eps 1e-6.
    """
    (decay,) = in_range(1, decay=decay)
    (eps,) = in_range(math.inf, eps=eps)
    return descend(learning_rate, scale_by_group_rms(decay, eps))
