"""Learning rates: numbers, or functions of the iteration, such as optax's schedules."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from gradflow._util.annotations import Checked
from gradflow._util.provenance import describe_function
from gradflow._util.random import without_key
from gradflow._util.validate import positive
from gradflow.descent.mixture import Optimizer

Rate = float | Callable[[Any], Any]
_SOME_RATE = 0.1
"""One to see what is made of it."""
_LOOKS = 64
"""Iterations at which a schedule is looked at before the run."""
_ROUNDING = 16
"""How many eps of its largest value a schedule that comes down to 0 may be below it."""


class Rates(eqx.Module):
    """The rates of runs, along the first axis; or of a single one.

    Attributes:
      numbers: in the precision of the parameters.
      places: 0 for the number itself, k for the k-th of the schedules; None if none has one.
    """

    numbers: Array
    places: Array | None = None

    def at(self, count: Array, schedules: Sequence[Callable[[Any], Any]]) -> Array:
        """A single run's rate at an iteration.

        Args:
          count: iterations done before.
          schedules: of all runs.
        """
        if self.places is None:
            return self.numbers
        branches = [lambda at, of=of: jnp.asarray(of(at), self.numbers.dtype) for of in schedules]
        return jax.lax.switch(self.places, [lambda _: self.numbers, *branches], count)


def check_optimizers(
    optimizers: Sequence[Checked[Optimizer]], rates: Sequence[Checked[Rate | None]]
) -> None:
    """See that there are rates if and only if the optimisers are made from one.

    Args:
      optimizers: each once, as for `gradflow.run_descents`.
      rates: one a run.

    Raises:
      ValueError: if not, if an optimiser is none, or a rate is no number above 0.
    """
    made = [isinstance(one, optax.GradientTransformation) for one in optimizers]
    for one, ready in zip(optimizers, made, strict=True):
        if not ready and not callable(one):
            raise ValueError(
                f"optimizer must be an optax transformation or a function of a rate, "
                f"but it is {one!r}."
            )
    if any((rate is None) != (rates[0] is None) for rate in rates):
        raise ValueError("Give a learning rate for every run, or for none.")
    if any(made) and not all(made):
        raise ValueError(
            "Some optimizers have their learning rates and others are functions of one; give "
            "functions of a rate, such as optax.sgd, for all runs, or transformations."
        )
    if made[0] and rates[0] is not None:
        raise ValueError(
            "The optimizer already has its learning rate; pass the function that makes it, such as "
            "optax.sgd, together with learning_rate, or leave learning_rate away."
        )
    if not made[0] and rates[0] is None:
        raise ValueError("Give learning_rate, since optimizer is a function of one.")
    for rate in rates:
        if rate is not None and not callable(rate):
            positive("learning_rate", rate)
    for one in optimizers:
        rule = one if isinstance(one, optax.GradientTransformation) else one(_SOME_RATE)
        if not isinstance(rule, optax.GradientTransformation):
            raise ValueError(
                f"optimizer must make an optax transformation of a rate, as optax.sgd does, but "
                f"{describe_function(one)} makes {rule!r} of {_SOME_RATE}."
            )


def gather_rates(
    rates: Sequence[Rate | None], dtype: Any, begin: int, steps: int
) -> tuple[Rates | None, tuple[Callable[[Any], Any], ...]]:
    """What every run has of its own, and the schedules of all.

    Args:
      rates: one a run, checked by `check_optimizers`.
      dtype: of the parameters.
      begin: the iteration to begin with.
      steps: the last one.

    Returns:
      The rates, and each function among them once; None if there are no rates.

    Raises:
      ValueError: if a schedule is none.
    """
    if rates[0] is None:
        return None, ()
    found: list[Any] = [0.0 if callable(rate) else rate for rate in rates]
    numbers = jnp.asarray(np.asarray(found, float), dtype)
    schedules = {id(rate): rate for rate in rates if callable(rate)}
    if not schedules:
        return Rates(numbers), ()
    for schedule in schedules.values():
        _check_schedule(schedule, begin, steps)
    order = {key: k for k, key in enumerate(schedules, start=1)}
    places = jnp.asarray([order.get(id(rate), 0) for rate in rates], jnp.int32)
    return Rates(numbers, places), tuple(schedules.values())


def check_memory(
    optimizers: Sequence[Any], rates: Sequence[Rate | None], parameters: Sequence[Any]
) -> None:
    """See that no optimiser keeps its first rate in its state, deaf to a schedule.

    Args:
      optimizers: one a run, functions of a rate where there are rates.
      rates: one a run; nothing is to be seen where they are numbers.
      parameters: of all runs, along the first axis.

    Raises:
      ValueError: if one does.
    """
    both = zip(optimizers, rates, strict=True)
    for optimizer in {id(one): one for one, rate in both if callable(rate)}.values():
        start = tuple(jnp.asarray(array[0]) for array in parameters)
        one, other = (
            map(without_key, jax.tree.leaves(optimizer(rate).init(start))) for rate in (0.25, 0.5)
        )
        if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True)):
            raise ValueError(
                f"{describe_function(optimizer)} keeps its learning rate in its state, so that a "
                "schedule has no effect on it; give the optimizer made with the schedule, and "
                "leave learning_rate away."
            )


def told(rate: Checked[Rate | None]) -> Any:
    """A rate as a stored run says it: a number, or a schedule's description."""
    return describe_function(rate) if callable(rate) else rate


def _looks(begin: int, last: int) -> list[int]:
    """Iterations from one to another, closer to each other at first."""
    apart = np.geomspace(1, last - begin + 1, _LOOKS).round().astype(np.int64) - 1
    return (begin + apart).tolist()


def _check_schedule(schedule: Any, begin: int, steps: int) -> None:
    """See that a schedule can be traced, and gives numbers of at least 0.

    Raises:
      ValueError: if not; it names the iteration.
    """
    name = describe_function(schedule)
    last = max(steps - 1, begin)
    counts = np.unique([*_looks(0, last), *_looks(begin, last)])
    try:
        found = np.asarray(jax.jit(lambda at: jax.lax.map(schedule, at))(counts))
        good = found.shape == counts.shape and found.dtype.kind in "fiu"
    except Exception as error:  # what a function raises that cannot be traced
        raise ValueError(
            f"learning_rate is a function, {name}, but JAX cannot trace it at an iteration "
            f"({type(error).__name__}: {str(error).splitlines()[0]}); give an optax schedule, or a "
            "function of jax.numpy, with jnp.where for its cases."
        ) from None
    if not good:
        raise ValueError(
            f"learning_rate must be a number or a function from iterations to numbers, but {name} "
            f"gives an array of shape {found.shape[1:]} and dtype {found.dtype}; give an optax "
            "schedule."
        )
    # Near an end at 0 a rate is rounding, on either side of it; how much, its largest value tells.
    sizes = np.abs(found[np.isfinite(found)])
    eps = np.finfo(found.dtype if found.dtype.kind == "f" else float).eps
    rounding = _ROUNDING * eps * np.max(sizes, initial=0)
    found, counts = found[counts >= begin], counts[counts >= begin]
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= -rounding)))
    if bad.size:
        raise ValueError(
            f"learning_rate must stay finite and at least 0, but {name} gives {found[bad[0]]} at "
            f"iteration {counts[bad[0]]}; mend it there, or lower max_steps."
        )
