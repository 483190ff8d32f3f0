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
from gradflow.saddles.assembly import assembled
from gradflow.saddles.diagonal import diagonal_walk
from gradflow.saddles.diagonal_orbit import Regression
from gradflow.saddles.path import SaddlePath


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
    unit = np.eye(problem.size)
    return assembled(
        found, [node.dual for node in found.nodes],
        [jump.sign * unit[jump.entry] for jump in found.jumps], factors,
        degree=problem.depth, width=problem.size, flags=found.flags, config=config,
    )  # fmt: skip
