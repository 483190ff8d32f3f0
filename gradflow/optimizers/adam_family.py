"""Adam and its relatives, which average the gradient and its size elementwise."""

import math

import optax

from gradflow._util.annotations import Checked
from gradflow.optimizers._rate import Rate, checked, decaying, descend, in_range
from gradflow.optimizers._rules import scale_by_amsgrad, scale_by_nadam, scale_by_radam


def adam(
    learning_rate: Checked[Rate],
    b1: Checked[float] = 0.9,
    b2: Checked[float] = 0.999,
    eps: Checked[float] = 1e-8,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""Adam: f <- f - rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps).

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1).
      eps: added to the root, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = adam(0.1), jnp.array([4.0, -1.0, 1e-8])
      >>> rule.update(g, rule.init(g))[0].round(6).tolist()
      [-0.1, 0.1, -0.05]

    References:
      Kingma and Ba 2015, Algorithm 1.
    """
    eps, b1, b2 = checked(eps, b1=b1, b2=b2)
    return descend(learning_rate, *decaying(weight_decay), optax.scale_by_adam(b1, b2, eps))


def amsgrad(
    learning_rate: Checked[Rate],
    b1: Checked[float] = 0.9,
    b2: Checked[float] = 0.999,
    eps: Checked[float] = 1e-8,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""AMSGrad: Adam with max(v_1, ..., v_t) for v_t.

        f <- f - rate m / (1 - b1^t) / (sqrt(max_s v_s / (1 - b2^t)) + eps)

    The maximum is that of v before its correction; optax takes it afterwards.

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1).
      eps: added to the root, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = amsgrad(0.1), jnp.array([4.0, -1.0, 1e-8])
      >>> rule.update(g, rule.init(g))[0].round(6).tolist()
      [-0.1, 0.1, -0.05]

    References:
      Reddi, Kale and Kumar 2018; zhao2022, Table 3.
    """
    eps, b1, b2 = checked(eps, b1=b1, b2=b2)
    return descend(learning_rate, *decaying(weight_decay), scale_by_amsgrad(b1, b2, eps))


def adamax(
    learning_rate: Checked[Rate],
    b1: Checked[float] = 0.9,
    b2: Checked[float] = 0.999,
    eps: Checked[float] = 1e-8,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""Adamax: f <- f - rate m / (1 - b1^t) / u_t, u_t = max(b2 u_{t-1}, |g| + eps).

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of its largest size, in [0, 1).
      eps: added to that size, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = adamax(0.1), jnp.array([4.0, -1.0, 1e-8])
      >>> rule.update(g, rule.init(g))[0].round(6).tolist()
      [-0.1, 0.1, -0.05]

    References:
      Kingma and Ba 2015, Algorithm 2; zhao2022, Table 1.
    """
    eps, b1, b2 = checked(eps, b1=b1, b2=b2)
    return descend(learning_rate, *decaying(weight_decay), optax.scale_by_adamax(b1, b2, eps))


def adamw(
    learning_rate: Checked[Rate],
    b1: Checked[float] = 0.9,
    b2: Checked[float] = 0.999,
    eps: Checked[float] = 1e-8,
    weight_decay: Checked[float] = 1e-2,
    amsgrad: bool = False,
) -> optax.GradientTransformation:
    r"""Adam with decoupled weight decay: Adam's step, and f <- f - rate weight_decay f.

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1).
      eps: added to the root, above 0.
      weight_decay: at least 0; optax's own is 1e-4.
      amsgrad: whether steps are those of AMSGrad.

    Returns:
      The transformation; its update needs the parameters.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g, f = adamw(0.1), jnp.array([4.0, -1.0]), jnp.array([0.0, 20.0])
      >>> rule.update(g, rule.init(f), f)[0].round(6).tolist()
      [-0.1, 0.08]

    References:
      Loshchilov and Hutter 2019; zhao2022, Table 3.
    """
    eps, b1, b2 = checked(eps, b1=b1, b2=b2)
    (weight_decay,) = in_range(math.inf, weight_decay=weight_decay)
    decayed = optax.add_decayed_weights(weight_decay)
    rule = scale_by_amsgrad if amsgrad else optax.scale_by_adam
    return descend(learning_rate, rule(b1, b2, eps), decayed)


def nadam(
    learning_rate: Checked[Rate],
    b1: Checked[float] = 0.9,
    b2: Checked[float] = 0.999,
    eps: Checked[float] = 1e-8,
    momentum_decay: Checked[float] = 4e-3,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""NAdam: Adam with Nesterov's momentum, on a schedule of momenta mu_t.

        mu_t = b1 (1 - 0.96^(t momentum_decay) / 2),    p_t = mu_1 ... mu_t,
        n_t = (1 - mu_t) g / (1 - p_t) + mu_{t+1} m_t / (1 - p_{t+1}),
        f <- f - rate n_t / (sqrt(v_t / (1 - b2^t)) + eps)

    optax has mu_t = b1 throughout.

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1).
      eps: added to the root, above 0.
      momentum_decay: how fast the momenta rise from b1 / 2 to b1, at least 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = nadam(0.1, momentum_decay=0.0), jnp.array([4.0, -1.0])
      >>> rule.update(g, rule.init(g))[0].round(6).tolist()  # 1 + 0.045 / (1 - 0.45^2)
      [-0.105643, 0.105643]

    References:
      Dozat 2016; zhao2022, Table 3.
    """
    eps, b1, b2 = checked(eps, b1=b1, b2=b2)
    (momentum_decay,) = in_range(math.inf, momentum_decay=momentum_decay)
    return descend(
        learning_rate, *decaying(weight_decay), scale_by_nadam(b1, b2, eps, momentum_decay)
    )


def radam(
    learning_rate: Checked[Rate],
    b1: Checked[float] = 0.9,
    b2: Checked[float] = 0.999,
    eps: Checked[float] = 1e-8,
    weight_decay: Checked[float] = 0.0,
) -> optax.GradientTransformation:
    r"""RAdam: momentum alone as long as v rests on few gradients, then Adam, rectified.

        rho_t = rho - 2 t b2^t / (1 - b2^t),    rho = 2 / (1 - b2) - 1,
        r_t^2 = (rho_t - 4)(rho_t - 2) rho / ((rho - 4)(rho - 2) rho_t),
        f <- f - rate m / (1 - b1^t) * (r_t sqrt(1 - b2^t) / (sqrt(v) + eps) if rho_t > 5 else 1)

    Here eps is added before v is corrected for its start; in optax afterwards.

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1); up to 2/3, rho_t never exceeds 5.
      eps: added to the root, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = radam(0.1), jnp.array([4.0, -1.0])
      >>> rule.update(g, rule.init(g))[0].round(6).tolist()
      [-0.4, 0.1]

    References:
      Liu et al. 2020, Algorithm 2 (there rho_t > 4); zhao2022, Table 3.
    """
    eps, b1, b2 = checked(eps, b1=b1, b2=b2)
    return descend(learning_rate, *decaying(weight_decay), scale_by_radam(b1, b2, eps))
