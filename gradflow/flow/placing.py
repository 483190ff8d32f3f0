"""Which coordinates a flow starts in, and its start in them: the host's work, flow by flow."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gradflow._util import validate
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.ldu import LDUCoordinates
from gradflow.coordinates.logcolumns import LogColumnCoordinates
from gradflow.coordinates.logdet import LogDetCoordinates
from gradflow.coordinates.logparameters import LogParameterCoordinates
from gradflow.coordinates.logpolar import LogPolarCoordinates
from gradflow.coordinates.registry import COORDINATES, coordinates_of
from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.factorizations.cp_tensor import CPTensor
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.flow.options import FlowOptions
from gradflow.flow.sizes import check_log_scale
from gradflow.flow.solvers import Choice
from gradflow.objective import Objective
from gradflow.spreading import spread_objective, spread_tree
from gradflow.start import LogScaled, as_factors

STRUCTURAL = (LogDetCoordinates, LDUCoordinates)
"""What "auto" takes of matrices where it can, the first before the next; else the factors."""


def place(
    objective: Objective, start: Any, options: FlowOptions
) -> tuple[AbstractCoordinates, Any, AbstractDynamics, dict[str, Any], str]:
    """Coordinates, the start in them, the dynamics, the start by name, and why these."""
    asked = options.coordinates
    if options.mesh is not None and asked == "auto":
        asked = FactorCoordinates.name
    if isinstance(start, Mapping):
        kind = coordinates_of(start)
        if asked not in ("auto", kind.name, kind):
            raise ValueError(
                f"The start is a state in coordinates {kind.name!r}, but coordinates are "
                f"{asked!r}; leave these away, or start from factors."
            )
        require_float64(objective, tuple(start.values()))
        coordinates, y = kind.decode(objective, options.dynamics, start)
        dynamics = getattr(coordinates, "dynamics", options.dynamics)
        initial = {k: start.get(k, v) for k, v in coordinates.named(y).items()}
        return coordinates, y, dynamics, initial, "those of the start"
    if isinstance(start, LogScaled):
        coordinates, y = _of_any_scale(objective, start, options)
        return coordinates, y, options.dynamics, coordinates.named(y), "a start of any scale"
    factors = as_factors(objective, start)
    require_float64(objective, factors)
    dynamics = options.dynamics.prepared(objective, factors)
    matrix = None if isinstance(start, tuple | list) else np.asarray(start)
    if isinstance(asked, str) and asked == "auto":
        kind, why = choose_coordinates(objective, dynamics, factors, matrix)
    else:
        kind, why = _kind(asked), "as asked"
        if (reason := _refusal(kind, objective, dynamics, factors, matrix)) is not None:
            raise ValueError(f"coordinates={kind.name!r} cannot hold this start: {reason}")
    initial = {f"W_{k}": factor for k, factor in enumerate(factors, start=1)}
    if matrix is None or _by_default(kind.encode_matrix):
        coordinates, y = kind.encode(objective, dynamics, factors)
    else:
        coordinates, y = kind.encode_matrix(objective, dynamics, matrix)
    return coordinates, y, dynamics, initial, why


def _of_any_scale(
    objective: Objective, start: LogScaled, options: FlowOptions
) -> tuple[AbstractCoordinates, Any]:
    """Coordinates that need no number of the start's own size, and the start in them."""
    kind: Any = LogPolarCoordinates if _of_components(objective) else LDUCoordinates
    if isinstance(objective.factorization, SymmetricProduct):
        kind = LogColumnCoordinates
    if options.coordinates not in ("auto", kind.name, kind):
        raise ValueError(
            f"A LogScaled start needs coordinates={kind.name!r}, but they are "
            f"{options.coordinates!r}; leave them away, or start from factors."
        )
    require_float64(objective, start.w)
    check_log_scale(start.log_scale)
    return kind.encode_scaled(objective, options.dynamics, start.w, start.log_scale)


def _of_components(objective: Objective) -> bool:
    """Whether it is components, not singular values, that structural coordinates hold."""
    return isinstance(objective.factorization, CPTensor)


def _refusal(
    kind: type[AbstractCoordinates],
    objective: Objective,
    dynamics: AbstractDynamics,
    factors: Factors,
    matrix: np.ndarray | None,
) -> str | None:
    if matrix is None or _by_default(kind.refusal_of_matrix):
        return kind.refusal(objective, dynamics, factors)
    return kind.refusal_of_matrix(objective, dynamics, matrix)


def _by_default(method: Any) -> bool:
    """Whether a class of coordinates takes a matrix by its balanced factors, which are known."""
    given = getattr(AbstractCoordinates, method.__name__).__func__
    return getattr(method, "__func__", None) is given


def _kind(asked: Any) -> type[AbstractCoordinates]:
    if isinstance(asked, type) and issubclass(asked, AbstractCoordinates):
        return asked
    if isinstance(asked, str) and asked in COORDINATES:
        return COORDINATES[asked]
    raise ValueError(
        f"coordinates must be 'auto', {', '.join(map(repr, COORDINATES))} or a class of "
        f"coordinates, but it is {asked!r}."
    )


def require_float64(objective: Objective, start: Any) -> None:
    """Raise a ValueError, with the remedy, if an array of the two is not in float64."""
    validate.require_float64(
        "A flow", objective=objective, start=start,
        otherwise=", or use gradflow.run_descent for float32 runs",
    )  # fmt: skip


def choose_coordinates(
    objective: Objective,
    dynamics: AbstractDynamics,
    factors: Factors,
    matrix: np.ndarray | None = None,
) -> Choice:
    """Structural coordinates where they can hold the start, else the factors.

    What is recorded has no say: looking at more must not change a run.

    Args:
      objective: the problem, its factorisation and its penalty.
      dynamics: what the parameters obey.
      factors: the start.
      matrix: the product, where the start was given by it.
    """
    reason = None
    for kind in _structural(objective):
        reason = kind.drawback(objective, dynamics, factors)  # in no time; a refusal may take some
        if reason is None:
            reason = _refusal(kind, objective, dynamics, factors, matrix)
        if reason is None:
            return Choice(kind, kind.virtue)
    return Choice(FactorCoordinates, f"no structural coordinates: {reason}")


def _structural(objective: Objective) -> tuple[type[AbstractCoordinates], ...]:
    if _of_components(objective):
        return (LogPolarCoordinates,)
    if isinstance(objective.factorization, DiagonalNetwork):
        return (LogParameterCoordinates,)
    return (*STRUCTURAL, LogColumnCoordinates)


def spread_over(
    mesh: Any, coordinates: AbstractCoordinates, y: Any
) -> tuple[AbstractCoordinates, Any]:
    """Coordinates and start spread over the devices of a mesh.

    Raises:
      ValueError: if these are no factors, or those of other processes.
    """
    if not isinstance(coordinates, FactorCoordinates):
        raise ValueError(
            f"A mesh spreads factors, but the coordinates are {coordinates.name!r}; give "
            "coordinates='factors'."
        )
    objective = coordinates.objective
    placed = dataclasses.replace(coordinates, objective=spread_objective(objective, mesh))
    if mesh.is_multi_process:
        raise ValueError(
            f"A flow's mesh must be of one process, but it is of {jax.process_count()}; "
            "gradflow.run_descent goes over several."
        )
    return spread_tree((placed, y), mesh, objective)
