r"""Flattenings of a tensor: matrices whose singular values bound its CP rank from below.

A flattening is linear in the tensor and gives each outer product a matrix of at most a known rank.
By Eckart and Young a tensor of R terms is then no nearer than the singular values beyond.
"""

import itertools
from collections.abc import Iterator
from math import comb, prod

import equinox as eqx
import numpy as np
from jaxtyping import Float

_MOST_ROWS = 600
"""The longer side of the largest Koszul flattening: singular values of more take a second."""
_EPS = float(np.finfo(np.float64).eps)


class Flattening(eqx.Module):
    r"""A matrix made of a tensor W, linear in it, and its singular values.

    If T is a sum of R outer products, then the matrices M of T and W fulfil
    multiplicity ||T - W||_F^2 >= ||M(T) - M(W)||_F^2 >= sum of s_k^2 over k > R term_rank.

    Attributes:
      axes: those of the rows; for a Koszul flattening the one that the exterior power is of.
      power: the p of a Koszul flattening, 0 for an unfolding.
      term_rank: the rank of the matrix of an outer product, at most.
      multiplicity: how often an entry of W is in the matrix, at most.
      singular_values: of the matrix, falling.
    """

    axes: tuple[int, ...]
    power: int
    term_rank: int
    multiplicity: int
    singular_values: Float[np.ndarray, " k"]

    def distance(self, rank: int) -> float:
        """A bound from below on ||T - W||_F^2 for all T of `rank` terms, rounding left out."""
        values = self.singular_values
        rounding = 10 * len(values) * _EPS * values[0]
        tail = np.maximum(values[self.term_rank * rank :] - rounding, 0)
        return float(np.sum(tail**2)) / self.multiplicity

    def least_rank(self, allowance: float) -> int:
        """The least R for which the bound leaves a squared distance below `allowance`."""
        rank = 0
        while (bound := self.distance(rank)) > 0 and bound >= allowance * (1 + 16 * _EPS):
            rank += 1
        return rank


def unfoldings(tensor: Float[np.ndarray, "..."]) -> Iterator[Flattening]:
    """The flattenings of all ways to part the axes in two."""
    rest = range(1, tensor.ndim)
    for count in range(tensor.ndim - 1):
        for others in itertools.combinations(rest, count):
            axes = (0, *others)
            columns = [k for k in rest if k not in axes]
            rows = prod(tensor.shape[k] for k in axes)
            matrix = tensor.transpose(*axes, *columns).reshape(rows, -1)
            yield Flattening(axes, 0, 1, 1, np.linalg.svd(matrix, compute_uv=False))


def koszul_flattenings(tensor: Float[np.ndarray, "a b c"]) -> Iterator[Flattening]:
    r"""The maps of Lambda^p A (x) B* to Lambda^(p+1) A (x) C that W in A (x) B (x) C gives.

    A is an axis, cut to the 2p + 1 leading left singular vectors of its unfolding, which takes no
    tensor of R terms further from W. An outer product has a matrix of rank C(2p, p), so that ranks
    up to about twice the lengths of the axes can be bounded. The largest come last.

    References:
      Landsberg and Ottaviani 2015, Section 2 (Young flattenings).
    """
    for axis in range(3):
        moved = np.moveaxis(tensor, axis, 0)
        left = np.linalg.svd(moved.reshape(len(moved), -1), full_matrices=True)[0]
        for power in range(1, (len(moved) - 1) // 2 + 1):
            kept = 2 * power + 1
            if comb(kept, power) * max(moved.shape[1:]) > _MOST_ROWS:
                break
            cut = np.tensordot(left[:, :kept].T, moved, 1)
            values = np.linalg.svd(_koszul(cut, power), compute_uv=False)
            terms = comb(2 * power, power)
            yield Flattening((axis,), power, terms, terms, values)


def _koszul(tensor: Float[np.ndarray, "a b c"], power: int) -> Float[np.ndarray, "rows columns"]:
    """Block (I, K) is +-W[i] where K is I and i, with the sign of i's place in K."""
    a, b, c = tensor.shape
    before = list(itertools.combinations(range(a), power))
    after = {chosen: k for k, chosen in enumerate(itertools.combinations(range(a), power + 1))}
    matrix = np.zeros((len(before), b, len(after), c))
    for row, chosen in enumerate(before):
        for i in set(range(a)) - set(chosen):
            together = tuple(sorted((*chosen, i)))
            matrix[row, :, after[together]] = (-1) ** together.index(i) * tensor[i]
    return matrix.reshape(len(before) * b, len(after) * c)
