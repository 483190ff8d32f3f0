r"""Optimisers as PyTorch defines them, each a function of the learning rate for `run_descent`.

Rules and defaults are those of PyTorch 2.13, which the papers used and which differ from optax's:
in Adagrad, AMSGrad, NAdam and RAdam the rule itself. Written here: f for a parameter, g for its
gradient, t = 1, 2, ... for the iteration, and for averages that start from 0

    m_t = b1 m_{t-1} + (1 - b1) g,    v_t = b2 v_{t-1} + (1 - b2) g^2,

elementwise. `muon`, `shampoo` and `group_rmsprop` know a factor as a whole. A rate may be traced,
so that another one compiles nothing again, or be an optax schedule. States keep their precisions,
and float32 parameters get float32 updates. Other options are set by `functools.partial`: once,
since `run_descent` compiles again for another function.

References:
  zhao2022, Table 1 and Appendix A.1: PyTorch's defaults, for all but the rate.
"""

from collections.abc import Callable

import optax

from gradflow.optimizers._rate import Rate
from gradflow.optimizers.adam_family import adam, adamax, adamw, amsgrad, nadam, radam
from gradflow.optimizers.matrices import muon, shampoo
from gradflow.optimizers.scaled import adadelta, adagrad, rmsprop
from gradflow.optimizers.steepest import gd, group_rmsprop, momentum, sign_descent

__all__ = [
    "BY_NAME",
    "Rate",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsgrad",
    "gd",
    "group_rmsprop",
    "momentum",
    "muon",
    "nadam",
    "named",
    "radam",
    "rmsprop",
    "shampoo",
    "sign_descent",
]

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
    "muon": muon,
    "shampoo": shampoo,
    "sign_descent": sign_descent,
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
