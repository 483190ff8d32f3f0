r"""Paths of saddles of U U^T and of W_2 W_1, from a walk of their columns."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gradflow.columns import AbstractColumns
from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.saddles.assembly import Jump, assembled
from gradflow.saddles.columns import place
from gradflow.saddles.path import SaddleOutcome, SaddlePath
from gradflow.saddles.walk import Node, walk


def column_path(
    columns: AbstractColumns,
    factors: Factors,
    *,
    convex: bool,
    most: int,
    tie: float,
    config: Mapping[str, Any],
) -> SaddlePath:
    """The path of saddles of a flow of columns; see `gradflow.saddle_path`."""
    q = np.asarray(columns.stack(factors))
    apart = never_meet(columns)
    found = walk(columns, q, convex=convex, most=0 if apart else most, tie=tie)
    if apart:
        found = found._replace(outcome=SaddleOutcome.DECOUPLED, reason=apart)
    elif found.outcome is SaddleOutcome.VANISHING_MINOR and _keeps_determinant(columns, factors):
        found = found._replace(
            reason=f"{found.reason}; from a balanced start of a square product of full width the "
            "sign of the determinant never changes, so that the last mode may never come"
        )
    return assembled(
        found, found.exponents, [jump.direction for jump in found.jumps], factors,
        degree=2, width=len(q), flags=_flags(found.nodes, found.jumps), config=config,
    )  # fmt: skip


def _keeps_determinant(columns: AbstractColumns, factors: Factors) -> bool:
    model = columns.objective.factorization
    square = len(set(np.ravel(model.factor_shapes))) == 1
    return (
        isinstance(model, MatrixProduct)
        and square
        and float(model.relative_unbalancedness(factors)) < 1e-10
    )


def blocks(columns: AbstractColumns) -> list[list[int]]:
    """The rows of Q that F couples, block by block; rows that nothing is known of are left out.

    Read off the pattern of F at random places, where no entry is 0 but those that always are.
    """
    pattern = np.zeros((columns.rows, columns.rows), bool)
    for seed in range(3):
        q = jax.random.normal(jax.random.key(seed), (columns.rows, columns.rows))
        pattern |= place(columns, np.asarray(q), columns.rows).operator != 0
    left, found = set(np.flatnonzero(pattern.any(axis=1)).tolist()), []
    while left:
        block, new = set(), {min(left)}
        while new:
            block |= new
            new = {int(j) for i in new for j in np.flatnonzero(pattern[i])} - block
        found.append(sorted(block))
        left -= block
    return found


def never_meet(columns: AbstractColumns) -> str | None:
    """Why several blocks are no path of saddles; None if there is one."""
    if len(parts := blocks(columns)) < 2:
        return None
    listed = " and ".join("{" + ", ".join(map(str, part)) + "}" for part in parts)
    return (
        f"rows {listed} never meet in the gradient: each block is a flow of its own, with its "
        "own times, and what is between them hangs on the start; give each its own problem"
    )


def _flags(nodes: list[Node], jumps: list[Jump]) -> tuple[str, ...]:
    """What else is worth a word: a jump that did not raise the rank, or of an unknown time."""
    ranks = [node.rank for node in nodes]
    same = (
        f"the jump {k} leads from rank {before} to rank {after}"
        for k, (before, after) in enumerate(zip(ranks, ranks[1:], strict=False))
        if after <= before
    )
    lost = (
        f"the loss falls by no more than its rounding in the jump {k}: its constant is not known"
        for k, jump in enumerate(jumps)
        if np.isnan(jump.half)
    )
    return (*same, *lost)
