r"""Paths of saddles of diagonal networks, from a walk of their entries."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gradflow.factorizations.base import Factors
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.objective import Objective
from gradflow.problems.base import AbstractQuadraticProblem
from gradflow.saddles.diagonal import DiagonalJump, diagonal_walk
from gradflow.saddles.diagonal_orbit import Regression
from gradflow.saddles.errors import SAFETY, table
from gradflow.saddles.path import SaddlePath, no_way, way_of, ways


def regression_of(objective: Objective, factors: Factors) -> Regression:
    """The least squares problem that a quadratic problem of a vector is.

    Raises:
      ValueError: if the loss is not quadratic, or a parameter of the start is below 0.
    """
    problem, model = objective.problem, objective.factorization
    assert isinstance(model, DiagonalNetwork)
    if not isinstance(problem, AbstractQuadraticProblem):
        raise ValueError(
            f"The path of a diagonal network needs a quadratic loss, not a "
            f"{type(problem).__name__}; use gradflow.solve_flow from small starts."
        )
    low = min((float(np.min(factor)), k) for k, factor in enumerate(factors))
    if low[0] < 0:
        raise ValueError(
            f"start[{low[1]}] has the entry {low[0]:.6g}, but parameters of a diagonal network "
            "keep their signs; give numbers of at least 0."
        )
    size = float(np.sqrt(2 * problem.weight))
    inputs, targets = map(np.asarray, _affine(problem))
    plus, minus = (np.asarray(factor) for factor in factors)
    return Regression(size * inputs, size * targets, plus, minus, model.depth)


@eqx.filter_jit
def _affine(problem: AbstractQuadraticProblem) -> tuple[Array, Array]:
    """The matrix X and the y of the residual X beta - y."""
    zero = jnp.zeros(problem.shape)
    inputs = jax.jacfwd(lambda beta: problem.residual(beta).ravel())(zero)
    return inputs, -problem.residual(zero).ravel()


def diagonal_path(
    objective: Objective,
    factors: Factors,
    *,
    most: int,
    tie: float,
    constants: bool,
    config: Mapping[str, Any],
) -> SaddlePath:
    """The path of saddles of a diagonal network; see `gradflow.saddle_path`."""
    problem = regression_of(objective, factors)
    found = diagonal_walk(problem, most=most, tie=tie, constants=constants)
    nodes, jumps, size = found.nodes, found.jumps, problem.size
    shape = (len(jumps), size)
    return SaddlePath(
        products=np.stack([node.beta for node in nodes]),
        ranks=np.array([np.count_nonzero(node.beta) for node in nodes]),
        losses=np.array([node.loss for node in nodes]),
        rates=np.stack([-node.gradient for node in nodes]),
        levels=np.stack([node.dual for node in nodes]),
        decays=np.array([node.decay for node in nodes]),
        growths=np.zeros(len(nodes)),
        taus=np.array([jump.tau for jump in jumps]),
        offsets=np.array([jump.offset for jump in jumps]),
        margins=np.array([jump.margin for jump in jumps]),
        directions=np.array([jump.sign * np.eye(size)[jump.entry] for jump in jumps]).reshape(
            shape
        ),
        **ways(map(_way, jumps)),
        error_terms=table([jump.terms.times(SAFETY) for jump in jumps]),
        power=0.0 if problem.depth == 2 else 1 - 2 / problem.depth,
        degree=problem.depth,
        start=tuple(np.asarray(factor) for factor in factors),
        outcome=found.outcome,
        reason=found.reason,
        flags=tuple(found.flags),
        config=config,
    )


def _way(jump: DiagonalJump) -> tuple[np.ndarray, np.ndarray]:
    if jump.orbit is None:
        return no_way()
    return way_of(jump.orbit.times, jump.orbit.losses, jump.orbit.half)
