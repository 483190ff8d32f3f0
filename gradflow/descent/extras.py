"""What optimisers are given beside the gradient: no more than each of them takes."""

import inspect
from typing import Any

import optax
from jaxtyping import Array

from gradflow.factorizations.base import Factors
from gradflow.objective import Objective


def updated(
    rule: optax.GradientTransformation,
    objective: Objective,
    gradient: Factors,
    state: Any,
    factors: Factors,
    loss: Array,
) -> tuple[Any, Any]:
    """A rule's change of the factors and its next state.

    Rules that ask for it (L-BFGS, Polyak's, sharpness-aware ones) get the value, its gradient and
    both as functions; where none does, the compiler leaves the penalty's value out.

    Args:
      rule: the optimiser.
      objective: what it minimises.
      gradient: of the value, at the factors.
      state: the optimiser's.
      factors: W_1, ..., W_N.
      loss: there.
    """
    if not isinstance(rule, optax.GradientTransformationExtraArgs):
        return rule.update(gradient, state, factors)
    extras = {
        "value": loss + objective.penalty_at(factors),
        "grad": gradient,
        "value_fn": objective.value,
    }
    takes = inspect.signature(rule.update).parameters
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values()):
        extras["grad_fn"] = lambda at, _: objective.gradient(at)
        extras = {name: extra for name, extra in extras.items() if name in takes}
    return rule.update(gradient, state, factors, **extras)
