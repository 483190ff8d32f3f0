"""Which coordinates go on where others end."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.ldu import LDUCoordinates
from gradflow.coordinates.logdet import LogDetCoordinates, choose_pivot


def handed_over(coordinates: AbstractCoordinates, y: Any) -> tuple[AbstractCoordinates, Any]:
    """The same point in coordinates that are not near a singularity there.

    A 2x2 completion is followed by "ldu" while its entries are small, whatever their size, and by
    "logdet", which hold the residuals, as soon as they are of the size of the observed values.

    Args:
      coordinates: those that are near a singularity.
      y: the point.
    """
    if isinstance(coordinates, LDUCoordinates) and bool(coordinates.outgrown(y)):
        return _with_residuals(coordinates, y)
    if isinstance(coordinates, LogDetCoordinates) and bool(coordinates.shrunk(y)):
        return _of_any_size(coordinates, y)
    return coordinates.switched(y)


def _with_residuals(coordinates: LDUCoordinates, y: Any) -> tuple[LogDetCoordinates, Any]:
    problem: Any = coordinates.problem
    w, (sign, log_abs_det) = coordinates.product(y), coordinates.slogdet(y)
    pivot = choose_pivot(problem, w)
    made = LogDetCoordinates(problem, sign, jnp.sign(w[pivot]), coordinates.depth, pivot)
    return made, made.at(w, log_abs_det)


def _of_any_size(coordinates: LogDetCoordinates, y: Any) -> tuple[LDUCoordinates, Any]:
    w, (sign, log_abs_det) = np.asarray(coordinates.product(y)), coordinates.slogdet(y)
    i, j = np.unravel_index(int(np.abs(w).argmax()), (2, 2))
    parity = 1.0 if i == j else -1.0
    pivot = w[i, j]
    first, log_pivot = np.sign(pivot), np.log(np.abs(pivot))
    made = LDUCoordinates(
        coordinates.problem,
        coordinates.depth,
        jnp.asarray([first, parity * float(sign) * first]),
        jnp.asarray([i, 1 - i]),
        jnp.asarray([j, 1 - j]),
    )
    lower, upper = (jnp.asarray([x / pivot]) for x in (w[1 - i, j], w[i, 1 - j]))
    return made, (lower, jnp.stack([jnp.asarray(log_pivot), log_abs_det - log_pivot]), upper)
