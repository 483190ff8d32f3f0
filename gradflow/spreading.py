"""An objective whose arrays are spread over a grid of devices."""

import dataclasses
from typing import Any

from jax.sharding import Mesh

from gradflow._util.spread import blocks_on, see_grid, spread
from gradflow.factorizations.spread_product import over
from gradflow.objective import Objective
from gradflow.penalties.base import AbstractParameterPenalty

SPREAD_RECORDS = ("loss", "gradient_norm")
"""What is recorded by default where no device has W."""


def spread_objective(objective: Objective, mesh: Any) -> Objective:
    """The objective with what has the size of a matrix in blocks, one a device.

    Args:
      objective: the problem, a `MatrixProduct`, and at most a penalty on its factors.
      mesh: the grid of devices.

    Raises:
      ValueError: if the mesh does not fit, or the objective needs a matrix whole.
    """
    model = objective.factorization
    shapes = (*model.factor_shapes, objective.problem.shape)
    see_grid(mesh, shapes)
    mesh = blocks_on(mesh)
    product = over(mesh, model)
    penalty = objective.penalty
    if penalty is not None and not isinstance(penalty, AbstractParameterPenalty):
        raise ValueError(
            f"{type(penalty).__name__} needs the whole of W on one device; give a penalty on the "
            "factors, such as WeightDecay, or leave mesh away."
        )
    if objective.by_observations:
        raise ValueError(
            "Rows of thin factors are gathered from all of them, which a mesh would spread; leave "
            "mesh away, or give Objective(..., path='dense') of a MatrixCompletion."
        )
    return spread_tree(dataclasses.replace(objective, factorization=product), mesh, objective)


def spread_tree(tree: Any, mesh: Mesh, objective: Objective) -> Any:
    """A tree with arrays that have a factor's shape, or that of W, in blocks; see `spread`."""
    shapes = (*objective.factorization.factor_shapes, objective.problem.shape)
    return spread(tree, blocks_on(mesh), shapes)
