r"""Paths of saddles of U U^T and of W_2 W_1, from a walk of their columns."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gradflow.columns import AbstractColumns
from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.saddles.columns import place
from gradflow.saddles.errors import SAFETY, table
from gradflow.saddles.path import SaddleOutcome, SaddlePath, way_of, ways
from gradflow.saddles.walk import Jump, Node, Walk, walk


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
    parts = blocks(columns)
    if len(parts) > 1:
        most = 0
    found = walk(columns, q, convex=convex, most=most, tie=tie)
    if len(parts) > 1:
        found = found._replace(outcome=SaddleOutcome.DECOUPLED, reason=never_meet(parts))
    elif found.outcome is SaddleOutcome.VANISHING_MINOR and _keeps_determinant(columns, factors):
        found = found._replace(
            reason=f"{found.reason}; from a balanced start of a square product of full width the "
            "sign of the determinant never changes, so that the last mode may never come"
        )
    return _assembled(found, factors, q.shape, config)


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


def never_meet(parts: list[list[int]]) -> str:
    """Why blocks are no path of saddles."""
    listed = " and ".join("{" + ", ".join(map(str, part)) + "}" for part in parts)
    return (
        f"rows {listed} never meet in the gradient: each block is a flow of its own, with its "
        "own times, and what is between them hangs on the start; give each its own problem"
    )


def _assembled(
    found: Walk, factors: Factors, shape: tuple[int, ...], config: Mapping[str, Any]
) -> SaddlePath:
    nodes, jumps, rows = found.nodes, found.jumps, shape[0]
    return SaddlePath(
        products=np.stack([node.place.product for node in nodes]),
        ranks=np.array([node.q.shape[1] for node in nodes]),
        losses=np.array([float(node.place.loss) for node in nodes]),
        rates=padded([node.rates for node in nodes]),
        levels=padded(found.exponents),
        decays=np.array([node.decay for node in nodes]),
        growths=np.array([node.growth for node in nodes]),
        taus=np.array([jump.tau for jump in jumps]),
        offsets=np.array([jump.offset for jump in jumps]),
        margins=np.array([jump.margin for jump in jumps]),
        directions=np.array([jump.direction for jump in jumps]).reshape(len(jumps), rows),
        **ways(way_of(jump.orbit.times, jump.orbit.losses, jump.half) for jump in jumps),
        error_terms=table([jump.terms.times(SAFETY) for jump in jumps]),
        power=0.0,
        degree=2,
        start=tuple(np.asarray(factor) for factor in factors),
        outcome=found.outcome,
        reason=found.reason,
        flags=_flags(nodes, jumps),
        config=config,
    )


def padded(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of one length, with NaN beyond their ends."""
    most = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, most - len(row)), constant_values=np.nan) for row in rows])


def _flags(nodes: list[Node], jumps: list[Jump]) -> tuple[str, ...]:
    """What else is worth a word: a jump that did not raise the rank, or of an unknown time."""
    ranks = [node.q.shape[1] for node in nodes]
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
