"""CP decomposition by alternating least squares."""

from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.random import one_key
from gradflow._util.validate import finite_array, positive, whole
from gradflow.baselines._alternating import alternate
from gradflow.baselines._result import BaselineOutcome
from gradflow.factorizations.base import Factors, FactorsLike
from gradflow.factorizations.cp_tensor import CPTensor

_PADDING = 8
"""Ranks are filled up to multiples of this by terms that are 0: fewer programs to compile."""
_ROUNDING = 10 * float(np.finfo(np.float64).eps)
"""A relative residual that is nothing but rounding."""
_MOST_ENTRIES = 2**27
"""1 GiB in float64, as the largest tensor and the largest product of factors."""

Arrays = tuple[Float[np.ndarray, "_ rank"], ...]
"""Factors in NumPy."""


class CPDecomposition(eqx.Module):
    r"""A tensor near a given one, as a sum of outer products.

    Attributes:
      factors: a factor (n, rank) an axis, as `CPTensor` takes them; the vectors of a term are
        equally long to a factor of 2.
      residual: ||T - W||_F, from the dense difference in float64.
      relative_residual: ||T - W||_F / ||W||_F (0 where W = 0 and T fits it).
      sweeps: how many were made.
      outcome: how they ended. What converged is stationary; it need not be the best of its rank.
    """

    factors: Factors
    residual: float
    relative_residual: float
    sweeps: int
    outcome: BaselineOutcome

    @property
    def converged(self) -> bool:
        """Whether the residual had come to rest."""
        return self.outcome is BaselineOutcome.CONVERGED

    @property
    def product(self) -> Float[Array, "..."]:
        """The tensor T that the factors stand for."""
        return CPTensor([len(f) for f in self.factors], self.factors[0].shape[1]).product(
            self.factors
        )


def cp_als(
    tensor: Checked[ArrayLike],
    rank: Checked[int],
    *,
    key: Checked[PRNGKeyArray | None] = None,
    start: Checked[FactorsLike | None] = None,
    sweeps: Checked[int] = 1000,
    tolerance: Checked[float] = 1e-12,
) -> CPDecomposition:
    r"""CP decomposition by alternating least squares: min ||T - W||_F over sums T of `rank` terms.

    A sweep solves for each factor in turn, by normal equations with the Hadamard product of the
    other factors' Gram matrices. Least squares are held near the last factor by a weight in
    proportion to the residual, which moves no fixed point, lets terms depend on each other, and
    leads out of plateaus; a sweep is followed by an extrapolation where that lowers the residual.

    The problem is not convex: another start may end lower. It may have no minimum either (the best
    approximation of a tensor of higher rank than border rank): then terms grow against each other,
    and the residual falls slowly as long as there are sweeps.

    Args:
      tensor: W, of two axes or more. It is converted to float64.
      rank: the number of terms, at least 1.
      key: a JAX random key for a start of N(0, 1) entries;
      start: or the first factors, one (n, rank) an axis.
      sweeps: at most so many.
      tolerance: the iteration ends where ||T - W||_F / ||W||_F changes by at most this in a sweep.

    Returns:
      The factors, their residual and how the iteration ended.

    Raises:
      ValueError: on a tensor that is none, wrong shapes, a parameter out of range, unless exactly
        one of key and start is given, or before 64 bits are switched on.

    Example:
      >>> import gradflow as gf, jax
      >>> w = gf.synthetic.low_rank_tensor(jax.random.key(0), (5, 4, 3), rank=2)
      >>> found = cp_als(w, 2, key=jax.random.key(1))
      >>> found.converged, [f.shape for f in found.factors], found.relative_residual < 1e-10
      (True, [(5, 2), (4, 2), (3, 2)], True)

    References:
      Carroll and Chang 1970; Harshman 1970; Navasca, De Lathauwer and Kindermann 2008 (the
      proximal term); razin2020, Appendix F.2.2 (the estimate of a rank).
    """
    target = as_tensor(tensor)
    model = model_of(target.shape, rank)
    limit, rest = whole("sweeps", sweeps, most=2**31 - 1), positive("tolerance", tolerance)
    if start is None and key is not None:
        first = random_factors(one_key(key), model)
    elif start is not None and key is None:
        first = model.check([finite_array(f"start[{k}]", f) for k, f in enumerate(start)])
    else:
        raise ValueError(
            "Give exactly one of key and start: a random key, or the factors to begin with, but "
            f"{'both' if key is not None else 'none'} is given."
        )
    unit, exponent = scaled(target)
    if start is not None:
        first = rescaled(first, -exponent)
    factors, change, made = fit(unit, first, limit, rest)
    size = float(np.linalg.norm(unit)) or 1.0
    residual = dense_residual(unit, factors)
    ended = change <= rest or residual <= _ROUNDING * size
    return CPDecomposition(
        rescaled(factors, exponent),
        float(np.ldexp(residual, exponent)),
        residual / size,
        made,
        BaselineOutcome.CONVERGED if ended else BaselineOutcome.OUT_OF_ITERATIONS,
    )


def as_tensor(tensor: Checked[ArrayLike]) -> np.ndarray:
    """The tensor in float64.

    Raises:
      ValueError: if it is no tensor of real numbers, or 64 bits are off.
    """
    array = finite_array("tensor", tensor).astype(np.float64)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            f"tensor needs at least 2 axes, and an entry, but its shape is {array.shape}; a vector "
            "is a matrix of one column."
        )
    if array.size > _MOST_ENTRIES:
        raise ValueError(
            f"tensor has {array.size} entries, shape {array.shape}, but all are held at once, at "
            f"most {_MOST_ENTRIES}; give a part of it."
        )
    if not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "CP decompositions need float64; call "
            'jax.config.update("jax_enable_x64", True) before anything else.'
        )
    return array


def model_of(shape: tuple[int, ...], rank: Checked[int]) -> CPTensor:
    """The factorisation, if its factors and their products can be held."""
    rank = whole("rank", rank)
    most = _MOST_ENTRIES // max(prod(shape) // min(shape), rank)
    if rank > most:
        raise ValueError(
            f"rank must be at most {_MOST_ENTRIES // (prod(shape) // min(shape))} for shape "
            f"{shape}, but it is {rank}."
        )
    return CPTensor(shape, rank)


def scaled(tensor: Float[np.ndarray, "..."]) -> tuple[Float[np.ndarray, "..."], int]:
    """The tensor over a power of two, exactly, so that its largest entry is near 1; the power."""
    exponent = int(np.frexp(np.max(np.abs(tensor)))[1])
    return np.ldexp(tensor, -exponent), exponent


def rescaled(factors: FactorsLike, exponent: int) -> Factors:
    """The factors of 2^exponent times the tensor: each by a power of two, exactly."""
    share, rest = divmod(exponent, len(factors))
    return tuple(
        jnp.asarray(np.ldexp(np.asarray(f, np.float64), share + (k < rest)))
        for k, f in enumerate(factors)
    )


def random_factors(key: PRNGKeyArray, model: CPTensor) -> Arrays:
    """N(0, 1) entries. All ranks up to the same multiple share a program."""
    wide = CPTensor(model.shape, model.rank + -model.rank % _PADDING)
    return tuple(np.asarray(f)[:, : model.rank] for f in wide.gaussian(key, std=1.0))


def fit(
    unit: Float[np.ndarray, "..."],
    start: FactorsLike,
    sweeps: int,
    tolerance: float,
    enough: float | None = None,
) -> tuple[Arrays, float, int]:
    """`alternate` on a scaled tensor: the factors, the last change, and the sweeps made.

    Without `enough` it ends at rounding; with it, where that cannot be reached any more, too.

    Raises:
      ValueError: if a number is not finite.
    """
    rank = start[0].shape[1]
    factors, error, change, made = alternate(
        jnp.asarray(unit),
        padded(start),
        jnp.asarray(sweeps),
        jnp.asarray(tolerance),
        jnp.asarray(_ROUNDING if enough is None else enough),
        jnp.asarray(enough is None),
    )
    if not np.isfinite(error):
        raise ValueError(
            f"The iteration met a number that is not finite (residual {error}); the start is too "
            "large beside the tensor: scale it."
        )
    return tuple(np.asarray(f)[:, :rank] for f in factors), float(change), int(made)


def padded(factors: FactorsLike) -> Factors:
    """Terms that are 0 added, up to a rank that shares its program with others."""
    rest = -factors[0].shape[1] % _PADDING
    return tuple(jnp.pad(jnp.asarray(f), ((0, 0), (0, rest))) for f in factors)


def dense_product(factors: FactorsLike) -> Float[np.ndarray, "..."]:
    """The sum of outer products, in NumPy."""
    order = len(factors)
    operands = [part for k, f in enumerate(factors) for part in (np.asarray(f), [k, order])]
    return np.einsum(*operands, list(range(order)), optimize=True)


def dense_residual(tensor: Float[np.ndarray, "..."], factors: FactorsLike) -> float:
    """||T - W||_F."""
    return float(np.linalg.norm(dense_product(factors) - tensor))
