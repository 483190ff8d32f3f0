r"""Optimisers as PyTorch defines them, each a function of the learning rate for `run_descent`.

Rules and defaults are those of PyTorch 2.13, which the papers used and which differ from optax's:
in Adagrad, AMSGrad, NAdam and RAdam the rule itself. Written here: f for a parameter, g for its
gradient, t = 1, 2, ... for the iteration, and for averages that start from 0

    m_t = b1 m_{t-1} + (1 - b1) g,    v_t = b2 v_{t-1} + (1 - b2) g^2,

elementwise. A rate may be traced, so that another one compiles nothing again, or be an optax
schedule. States keep their precisions, and float32 parameters get float32 updates. Other options
are set by `functools.partial`: once, since `run_descent` compiles again for another function.

References:
  zhao2022, Table 1 and Appendix A.1: PyTorch's defaults, for all but the rate.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Float

from gradflow._validate import positive
from gradflow.optimizer_rules import (
    scale_by_adagrad,
    scale_by_amsgrad,
    scale_by_group_rms,
    scale_by_nadam,
    scale_by_radam,
)

Rate = float | Float[Array, ""] | optax.Schedule


def gd(learning_rate: Rate) -> optax.GradientTransformation:
    r"""Plain gradient descent: f <- f - rate g.

    Args:
      learning_rate: the rate, above 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if the rate is known and no finite number above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = gd(0.1), jnp.array([4.0, -1.0])
      >>> rule.update(g, rule.init(g))[0].tolist()
      [-0.4, 0.1]
    """
    return _descend(learning_rate)


def momentum(learning_rate: Rate, momentum: float = 0.9) -> optax.GradientTransformation:
    r"""Gradient descent with momentum: u_t = momentum u_{t-1} + g, f <- f - rate u_t.

    PyTorch's own default is no momentum at all, so that zhao2022's "GD (w. momentum)", run with
    "default momentum values", is ambiguous; 0.9 is the customary value.

    Args:
      learning_rate: the rate, above 0.
      momentum: what is kept of the last update, in [0, 1).

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = momentum(0.1), jnp.array([4.0, -1.0])
      >>> _, state = rule.update(g, rule.init(g))
      >>> rule.update(g, state)[0].round(6).tolist()  # 1.9 times the first
      [-0.76, 0.19]

    References:
      Polyak 1964; zhao2022, Table 3 and Appendix A.3.
    """
    (momentum,) = _in_range(1, momentum=momentum)
    return _descend(learning_rate, optax.trace(momentum))


def adam(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    r"""Adam: f <- f - rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps).

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1).
      eps: added to the root, above 0.

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
    eps, b1, b2 = _checked(eps, b1=b1, b2=b2)
    return _descend(learning_rate, optax.scale_by_adam(b1, b2, eps))


def amsgrad(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    r"""AMSGrad: Adam with max(v_1, ..., v_t) for v_t.

        f <- f - rate m / (1 - b1^t) / (sqrt(max_s v_s / (1 - b2^t)) + eps)

    The maximum is that of v before its correction; optax takes it afterwards.

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1).
      eps: added to the root, above 0.

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
    eps, b1, b2 = _checked(eps, b1=b1, b2=b2)
    return _descend(learning_rate, scale_by_amsgrad(b1, b2, eps))


def adagrad(
    learning_rate: Rate, eps: float = 1e-10, initial_accumulator_value: float = 0.0
) -> optax.GradientTransformation:
    r"""Adagrad: f <- f - rate g / (sqrt(s_t) + eps), s_t = s_{t-1} + g^2.

    optax begins with s_0 = 0.1 and has eps inside the root.

    Args:
      learning_rate: the rate, above 0.
      eps: added to the root, above 0.
      initial_accumulator_value: s_0, at least 0.

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
    (eps,) = _checked(eps)
    (initial,) = _in_range(math.inf, initial_accumulator_value=initial_accumulator_value)
    return _descend(learning_rate, scale_by_adagrad(eps, initial))


def adamax(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    r"""Adamax: f <- f - rate m / (1 - b1^t) / u_t, u_t = max(b2 u_{t-1}, |g| + eps).

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of its largest size, in [0, 1).
      eps: added to that size, above 0.

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
    eps, b1, b2 = _checked(eps, b1=b1, b2=b2)
    return _descend(learning_rate, optax.scale_by_adamax(b1, b2, eps))


def rmsprop(
    learning_rate: Rate, decay: float = 0.99, eps: float = 1e-8
) -> optax.GradientTransformation:
    r"""RMSprop: f <- f - rate g / (sqrt(v_t) + eps), v_t = decay v_{t-1} + (1 - decay) g^2.

    The mean is not corrected for its start: the first step is rate / sqrt(1 - decay). optax has
    another decay and eps inside the root.

    Args:
      learning_rate: the rate, above 0.
      decay: what is kept of the mean square, PyTorch's alpha, in [0, 1).
      eps: added to the root, above 0.

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
    eps, decay = _checked(eps, decay=decay)
    return _descend(learning_rate, optax.scale_by_rms(decay, eps, eps_in_sqrt=False))


def adadelta(
    learning_rate: Rate, rho: float = 0.9, eps: float = 1e-6
) -> optax.GradientTransformation:
    r"""Adadelta: f <- f - rate d_t, d_t = g sqrt((x_{t-1} + eps) / (v_t + eps)).

    The means v and x of g^2 and d^2 keep rho of themselves. PyTorch's rate is 1.

    Args:
      learning_rate: the rate, above 0.
      rho: what is kept of the means, in [0, 1).
      eps: added inside the roots, above 0.

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
    eps, rho = _checked(eps, rho=rho)
    return _descend(learning_rate, optax.scale_by_adadelta(rho, eps))


def adamw(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> optax.GradientTransformation:
    r"""Adam with decoupled weight decay: Adam's step, and f <- f - rate weight_decay f.

    Args:
      learning_rate: the rate, above 0.
      b1: what is kept of the mean of the gradient, in [0, 1).
      b2: what is kept of the mean of its square, in [0, 1).
      eps: added to the root, above 0.
      weight_decay: at least 0; optax's own is 1e-4.

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
    eps, b1, b2 = _checked(eps, b1=b1, b2=b2)
    (weight_decay,) = _in_range(math.inf, weight_decay=weight_decay)
    decayed = optax.add_decayed_weights(weight_decay)
    return _descend(learning_rate, optax.scale_by_adam(b1, b2, eps), decayed)


def nadam(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
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
    eps, b1, b2 = _checked(eps, b1=b1, b2=b2)
    (momentum_decay,) = _in_range(math.inf, momentum_decay=momentum_decay)
    return _descend(learning_rate, scale_by_nadam(b1, b2, eps, momentum_decay))


def radam(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
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
    eps, b1, b2 = _checked(eps, b1=b1, b2=b2)
    return _descend(learning_rate, scale_by_radam(b1, b2, eps))


def group_rmsprop(
    learning_rate: Rate, decay: float = 0.99, eps: float = 1e-4
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
    (decay,) = _in_range(1, decay=decay)
    (eps,) = _in_range(math.inf, eps=eps)
    return _descend(learning_rate, scale_by_group_rms(decay, eps))


BY_NAME: dict[str, Callable[..., optax.GradientTransformation]] = {
    "gd": gd,
    "momentum": momentum,
    "adam": adam,
    "amsgrad": amsgrad,
    "adagrad": adagrad,
    "adamax": adamax,
    "rmsprop": rmsprop,
    "adadelta": adadelta,
    "adamw": adamw,
    "nadam": nadam,
    "radam": radam,
    "group_rmsprop": group_rmsprop,
}
"""All of them, for tables and command lines."""


def named(name: str) -> Callable[..., optax.GradientTransformation]:
    """The optimiser of this name.

    Args:
      name: a key of `BY_NAME`.

    Returns:
      The function that makes it from a rate.

    Raises:
      ValueError: if there is none.

    Example:
      >>> named("adam") is adam
      True
    """
    if name not in BY_NAME:
        raise ValueError(f"There is no optimizer {name!r}; known are {', '.join(BY_NAME)}.")
    return BY_NAME[name]


def _descend(
    learning_rate: Rate, *directions: optax.GradientTransformation
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


def _checked(eps: float, **shares: float) -> list[float]:
    """Refuse what makes NaN: where there is no gradient, eps = 0 gives 0 / 0."""
    return [positive("eps", eps), *_in_range(1, **shares)]


def _in_range(below: float, **options: Any) -> list[float]:
    """The options as Python's floats, which promote no array, if all are in [0, below)."""
    found = []
    for name, value in options.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < below:
            words = "at least 0 and below 1" if below == 1 else "a finite number of at least 0"
            raise ValueError(
                f"{name} must be {words}, but it is {value!r}; leave it away for the default."
            )
        found.append(number)
    return found
