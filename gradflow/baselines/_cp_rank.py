"""The CP rank of a tensor, to a tolerance, between two numbers that are certain."""

from collections.abc import Iterable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.random import one_key
from gradflow._util.validate import positive, whole
from gradflow.baselines._cp_als import (
    Arrays,
    as_tensor,
    dense_product,
    dense_residual,
    fit,
    padded,
    random_factors,
    rescaled,
    scaled,
)
from gradflow.baselines._flattenings import Flattening, koszul_flattenings, unfoldings
from gradflow.baselines._gauss_newton import refine
from gradflow.factorizations.base import Factors, FactorsLike
from gradflow.factorizations.collinear import merge_collinear
from gradflow.factorizations.cp_tensor import CPTensor

_EPS = float(np.finfo(np.float64).eps)
_REST = 1e-12
"""Change of the relative residual in a sweep at which a fit is at rest."""
_MOST_UNKNOWNS, _STEPS = 800, 1000
"""Entries of factors that are refined together, and steps."""


class CPRank(eqx.Module):
    r"""The least R for which a tensor T of R terms has mean((T - W)^2) < tolerance: a bracket.

    Attributes:
      lower: no tensor of fewer terms is that near.
      upper: this many terms are enough: those of `factors`.
      factors: of T, `upper` columns an axis, as `CPTensor` takes them.
      residual: ||T - W||_F, from the dense difference in float64.
      flattening: the matrix that `lower` follows from; None where it is 0.
      tolerance: what was asked.
    """

    lower: int
    upper: int
    factors: Factors
    residual: float
    flattening: Flattening | None
    tolerance: float

    @property
    def certain(self) -> bool:
        """Whether both bounds agree."""
        return self.lower == self.upper


def cp_rank(
    tensor: Checked[ArrayLike],
    tolerance: Checked[float],
    *,
    key: Checked[PRNGKeyArray],
    starts: Checked[int] = 10,
    sweeps: Checked[int] = 1000,
    components: Checked[FactorsLike | None] = None,
) -> CPRank:
    r"""CP rank to a tolerance: the least R with ||T - W||_F^2 < tolerance * size, T of R terms.

    From below: if the squared singular values of a flattening of W beyond the R-th sum to at least
    tolerance * size, R terms are not enough. All ways to part the axes in two are tried; at order
    3, Koszul flattenings too, where the others leave the rank open. From above: any T that is found
    and whose dense difference from W is small enough, rounding counted against it. The search goes
    up from the lower bound, by alternating least squares; that it finds nothing proves nothing, so
    that the upper bound may lie above the rank. Matrices are cut by their SVD.

    The inequality is strict: a tensor of border rank R has tensors of R terms as near as one likes,
    and its rank to a tolerance is at most R.

    Args:
      tensor: W, of two axes or more. It is converted to float64.
      tolerance: on the mean squared error, above 0.
      key: a JAX random key for the starts.
      starts: random starts of `cp_als` at each rank.
      sweeps: of each start, at most. One that cannot reach the tolerance at its pace ends early.
      components: factors to begin with besides, those of a run whose product W is: for R terms, the
        R largest after `merge_collinear`.

    Returns:
      The bracket, with what proves it.

    Raises:
      ValueError: on a tensor that is none, wrong shapes, a parameter out of range, or before 64
        bits are switched on.

    Example:
      >>> import gradflow as gf, jax
      >>> w = gf.synthetic.low_rank_tensor(jax.random.key(0), (5, 4, 3), rank=2)
      >>> found = cp_rank(w, 1e-6, key=jax.random.key(1))
      >>> found.lower, found.upper, found.certain, found.flattening.axes
      (2, 2, True, (0,))

    References:
      razin2020, Appendix F.2.2 (the estimate); Eckart and Young 1936; Landsberg and Ottaviani 2015.
    """
    target = as_tensor(tensor)
    most = positive("tolerance", tolerance)
    starts, sweeps = whole("starts", starts, 0), whole("sweeps", sweeps, most=2**31 - 1)
    own = None if components is None else _components(components, target.shape)
    unit, exponent = scaled(target)
    with np.errstate(over="ignore", under="ignore"):
        allowance = float(np.ldexp(np.ldexp(most * target.size, -exponent), -exponent))
    if own is not None:
        own = tuple(np.asarray(f) for f in rescaled(own, -exponent))
    search = _Search(unit, allowance, one_key(key), starts, sweeps, own)
    lower, flattening = _best(unfoldings(unit), allowance, 0, None)
    factors = search.at(lower)
    if factors is None and target.ndim == 3:
        tried = lower
        lower, flattening = _best(koszul_flattenings(unit), allowance, lower, flattening)
        factors = search.at(lower) if lower > tried else None
    rank = lower
    while factors is None:
        rank += 1
        factors = search.at(rank)
    if flattening is not None:
        values = np.ldexp(flattening.singular_values, exponent)
        flattening = eqx.tree_at(lambda flat: flat.singular_values, flattening, values)
    residual = float(np.ldexp(dense_residual(unit, factors), exponent))
    return CPRank(lower, rank, rescaled(factors, exponent), residual, flattening, most)


def _components(components: FactorsLike, shape: tuple[int, ...]) -> Factors:
    """The terms of a run, merged, the largest first."""
    merged = merge_collinear(components)
    lengths = tuple(len(f) for f in merged)
    if lengths != shape:
        raise ValueError(
            f"components are those of a tensor of shape {lengths}, but the tensor has shape "
            f"{shape}; give factors (n, rank) of its axes, in order."
        )
    return merged


def _best(
    flattenings: Iterable[Flattening],
    allowance: float,
    lower: int,
    flattening: Flattening | None,
) -> tuple[int, Flattening | None]:
    """The highest of `lower` and the bounds of the flattenings, and which one gave it."""
    for tried in flattenings:
        rank = tried.least_rank(allowance)
        if rank > lower:
            lower, flattening = rank, tried
    return lower, flattening


class _Search(eqx.Module):
    """Looks for tensors of few terms near a tensor whose largest entry is near 1."""

    tensor: Float[np.ndarray, "..."]
    allowance: float
    key: PRNGKeyArray
    starts: int
    sweeps: int
    components: Arrays | None

    def at(self, rank: int) -> Arrays | None:
        """Factors of `rank` terms near enough, if found."""
        exact = _by_fibres(self.tensor)
        if rank >= exact[0].shape[1]:
            return exact
        return next((found for found in self._tried(rank) if self._near(found)), None)

    def _tried(self, rank: int) -> Iterator[Arrays]:
        if rank == 0:
            yield tuple(np.zeros((n, 0)) for n in self.tensor.shape)
        elif self.tensor.ndim == 2:
            u, s, vt = np.linalg.svd(self.tensor, full_matrices=False)
            yield u[:, :rank] * s[:rank], vt[:rank].T
        else:
            # A little less than allowed: what is found is still to stand when rounding is counted.
            enough = (1 - 1e-6) * self.allowance**0.5 / float(np.linalg.norm(self.tensor))
            fits = []
            for start in self._starts(rank):
                fits.append(fit(self.tensor, start, self.sweeps, _REST, enough)[0])
                yield fits[-1]
            if fits and rank * sum(self.tensor.shape) <= _MOST_UNKNOWNS:
                best = min(fits, key=lambda factors: dense_residual(self.tensor, factors))
                found = refine(
                    jnp.asarray(self.tensor), padded(best), jnp.asarray(_STEPS), jnp.asarray(enough)
                )
                yield tuple(np.asarray(f)[:, :rank] for f in found)

    def _starts(self, rank: int) -> Iterator[FactorsLike]:
        if self.components is not None and self.components[0].shape[1] >= rank:
            yield tuple(f[:, :rank] for f in self.components)
        model = CPTensor(self.tensor.shape, rank)
        for key in jax.random.split(jax.random.fold_in(self.key, rank), self.starts):
            yield random_factors(key, model)

    def _near(self, factors: Arrays) -> bool:
        """Whether the squared distance is below what is allowed, whatever rounding did."""
        terms = float(np.linalg.norm(dense_product(tuple(np.abs(f) for f in factors))))
        rounding = (factors[0].shape[1] + self.tensor.ndim) * _EPS * terms
        return (dense_residual(self.tensor, factors) + rounding) ** 2 < self.allowance


def _by_fibres(tensor: Float[np.ndarray, "..."]) -> Arrays:
    """An exact decomposition: a term for each fibre that is not 0, along the axis of fewest."""
    counts = [np.count_nonzero(np.any(tensor, axis=k)) for k in range(tensor.ndim)]
    axis = int(np.argmin(counts))
    fibres = np.moveaxis(tensor, axis, -1)
    where = np.nonzero(np.any(fibres, axis=-1))
    factors = [np.eye(n)[:, at] for n, at in zip(fibres.shape[:-1], where, strict=True)]
    factors.insert(axis, fibres[where].T)
    return tuple(factors)
