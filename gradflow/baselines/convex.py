r"""Convex baselines for completion and sensing: minimum nuclear norm, SoftImpute.

Their solvers stop on a duality gap: what they call converged is proven optimal to the stated
tolerance by a dual certificate, whatever the iteration did on the way there.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import positive, whole
from gradflow.baselines._anderson import AbstractOperator, find_fixed_point
from gradflow.baselines._optspace import optspace
from gradflow.baselines._result import (
    Baseline,
    BaselineOutcome,
    as_baseline,
    misfit,
    nonzero,
    refusal,
    tolerance_of,
)
from gradflow.linalg.thin_svd import finite_svd
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.sensing import MatrixSensing

__all__ = [
    "Baseline",
    "BaselineOutcome",
    "minimum_nuclear_norm",
    "optspace",
    "soft_impute",
    "soft_impute_path",
]

_STEP = 0.1
"""Shrinkage of a Douglas-Rachford step, in units of the least-norm interpolant's spectral norm."""


# The minimum nuclear norm


def minimum_nuclear_norm(
    problem: Checked[MatrixCompletion | MatrixSensing],
    *,
    rtol: Checked[float | None] = None,
    max_iterations: Checked[int] = 20_000,
    step: Checked[float | None] = None,
) -> Baseline:
    r"""Interpolant of least nuclear norm: min ||W||_* subject to A(W) = y.

    Douglas-Rachford iteration with Anderson acceleration. With the projection P on {A(W) = y} and
    the shrinkage of singular values S, z <- z + S(2 P(z) - z) - P(z); the solution is P(z). A dual
    certificate comes with each z: D = (P(z) - z) / step, scaled to ||D||_2 <= 1, lies in the range
    of A^T, so <D, W> is the same for all interpolants W and bounds their nuclear norms from below.

    The solution is feasible; its singular values beyond the rank are not exactly 0 but small.

    Args:
      problem: completion or sensing; the loss convention does not matter.
      rtol: the iteration ends where (||W||_* - <D, W>) / ||W||_* is at most this; 1e-9 by default
        in float64, 1e-5 in float32. The error of W itself may be larger by orders of magnitude
        where W is barely the minimiser.
      max_iterations: evaluations of the shrinkage (one SVD each).
      step: the shrinkage of an iteration, relative to the spectral norm of the interpolant of least
        Frobenius norm; 0.1 by default. It changes the speed, not the solution. Where W is barely
        the minimiser, iterations may be thousands; 0.03 needs fewer there.

    Returns:
      W, with the duality gap as `optimality`.

    Raises:
      ValueError: on another problem, a parameter out of range, or linearly dependent measurements.

    Example:
      >>> import jax.numpy as jnp, gradflow as gf
      >>> result = minimum_nuclear_norm(gf.synthetic.norm_blowup())
      >>> result.outcome
      <BaselineOutcome.CONVERGED: 'converged'>
      >>> jnp.abs(jnp.round(result.product, 4)).tolist()
      [[0.0, 1.0], [1.0, 0.0]]

    References:
      Recht, Fazel and Parrilo 2010 (the problem and its dual); Lions and Mercier 1979 (the
      iteration); arora2019, Section 3 (minimum nuclear norm as a baseline).
    """
    if not isinstance(problem, MatrixCompletion | MatrixSensing):
        raise ValueError(refusal("minimum_nuclear_norm", problem, "MatrixSensing"))
    kind = (problem.values if isinstance(problem, MatrixCompletion) else problem.labels).dtype
    tolerance = tolerance_of(rtol, kind)
    shrinkage = jnp.asarray(_STEP if step is None else positive("step", step), kind)
    limit = jnp.asarray(whole("max_iterations", max_iterations))
    if isinstance(problem, MatrixCompletion):
        constraint = _Entries(problem.mask, problem.target)
    else:
        constraint = _independent_measurements(problem)
    return as_baseline(*_interpolate(problem, constraint, shrinkage, tolerance, limit), tolerance)


@eqx.filter_jit
def _interpolate(
    problem: MatrixCompletion | MatrixSensing,
    constraint: "_Entries | _Rows",
    shrinkage: Float[Array, ""],
    rtol: Float[Array, ""],
    max_iterations: Int[Array, ""],
) -> tuple[Array, Array, Array, Array]:
    least = constraint.interpolant()
    scale = _spectral_scale(least)
    scaled = eqx.tree_at(lambda c: c.target, constraint, constraint.target / scale)
    operator = _DouglasRachford(scaled, shrinkage)
    z, iterations, gap = find_fixed_point(operator, least / scale, rtol, max_iterations)
    product = _polish(problem, constraint, operator.solution(z) * scale)
    return product, gap, misfit(problem, product), iterations


class _Entries(eqx.Module):
    """W with given entries."""

    mask: Float[Array, "d d_prime"]
    target: Float[Array, "d d_prime"]

    def interpolant(self) -> Array:
        return self.target

    def project(self, z: Array) -> Array:
        return jnp.where(self.mask != 0, self.target, z)


class _Rows(eqx.Module):
    """W with given inner products with orthonormal matrices: unit L rows = flat measurements."""

    rows: Float[Array, "m entries"]
    target: Float[Array, " m"]
    factor: Float[Array, "m m"]
    unit: Float[Array, ""]
    shape: tuple[int, int] = eqx.field(static=True)

    def interpolant(self) -> Array:
        return (self.target @ self.rows).reshape(self.shape)

    def project(self, z: Array) -> Array:
        correction = (self.target - self.rows @ z.ravel()) @ self.rows
        return z + correction.reshape(z.shape)


class _DouglasRachford(AbstractOperator):
    constraint: _Entries | _Rows
    shrinkage: Float[Array, ""]

    def solution(self, z: Array) -> Array:
        return self.constraint.project(z)

    def advance(self, z: Array) -> tuple[Array, Array]:
        feasible = self.solution(z)
        moved = z + _shrink(2 * feasible - z, self.shrinkage)[0] - feasible
        return moved, jnp.zeros((), z.dtype)

    def optimality(self, z: Array) -> Array:
        feasible = self.solution(z)
        dual = (feasible - z) / self.shrinkage
        bound = jnp.sum(dual * feasible) / jnp.maximum(_spectral_norm(dual), 1)
        return _relative(_nuclear_norm(feasible), bound)


def _independent_measurements(problem: MatrixSensing) -> _Rows:
    count, entries = problem.observations, int(np.prod(problem.shape))
    if count > entries:
        raise ValueError(
            f"{count} measurements of a matrix of {entries} entries depend on each other linearly; "
            f"leave out those that are combinations of others, to at most {entries}."
        )
    unit = nonzero(jnp.max(jnp.abs(problem.measurements)))  # whose square has a size
    rows, target, factor, distances = _orthonormal_rows(
        problem.measurements / unit, problem.labels / unit
    )
    kind = np.finfo(problem.labels.dtype)
    near = ~(np.asarray(distances) > kind.eps**0.5)
    if near.any():
        # A factorisation that breaks down does not tell where.
        which = "One of the measurements" if near.all() else f"measurements[{np.argmax(near)}]"
        raise ValueError(
            f"{which} is a combination of others, to the resolution of {kind.dtype}; leave it out"
            + (", or convert the problem to float64." if kind.bits < 64 else ".")
        )
    height, width = problem.shape
    return _Rows(rows, target, factor, unit, (height, width))


@jax.jit
def _orthonormal_rows(
    measurements: Float[Array, "m d d_prime"], labels: Float[Array, " m"]
) -> tuple[Array, Array, Array, Array]:
    """By a Cholesky factor L of A A^T; also, relative squares of the distances from those before.

    The rows of L^-1 A are orthonormal to about eps / (least distance squared).
    """
    flat = measurements.reshape(len(measurements), -1)
    gram = flat @ flat.T
    factor = jnp.linalg.cholesky(gram, symmetrize_input=False)
    rows = jax.scipy.linalg.solve_triangular(factor, flat, lower=True)
    target = jax.scipy.linalg.solve_triangular(factor, labels, lower=True)
    return rows, target, factor, jnp.diag(factor) ** 2 / jnp.diag(gram)


def _polish(
    problem: MatrixCompletion | MatrixSensing, constraint: _Entries | _Rows, w: Array
) -> Array:
    """Remove what scaling and the factor have added to the misfit."""
    if isinstance(constraint, _Entries):
        return constraint.project(w)
    residual = problem.residual(w) / constraint.unit
    error = jax.scipy.linalg.solve_triangular(constraint.factor, residual, lower=True)
    return w - (error @ constraint.rows).reshape(w.shape)


# Nuclear norm regularisation


def soft_impute(
    problem: Checked[MatrixCompletion],
    *,
    weight: float,
    start: Float[AnyArray, "d d_prime"] | None = None,
    rtol: float | None = None,
    max_iterations: int = 20_000,
) -> Baseline:
    r"""SoftImpute: min 1/2 sum_observed (W_ij - b_ij)^2 + weight ||W||_*.

    Each iteration fills the unobserved entries from W and shrinks all singular values by the
    weight, with Anderson acceleration on top, where that does not raise the objective. The residual
    D = b - W on the observed entries, scaled to ||D||_2 <= weight, bounds the minimum from below by
    <D, b> - ||D||_F^2 / 2. The number of iterations grows as the weight falls; the limit of weight
    0 is `minimum_nuclear_norm`.

    Args:
      problem: the completion problem; its loss convention does not matter, the factor is 1/2.
      weight: above 0, in the unit of the data. At ||P_observed(b)||_2 and above, W is 0.
      start: the first W; 0 by default.
      rtol: the iteration ends where the duality gap is at most this share of the objective; 1e-9 by
        default in float64, 1e-5 in float32.
      max_iterations: evaluations of the shrinkage (one SVD each).

    Returns:
      W, of exactly low rank up to rounding, with the duality gap as `optimality`.

    Raises:
      ValueError: on another problem, or a parameter out of range.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> where = [[0, 0], [0, 1], [1, 0], [1, 1]]
      >>> problem = gf.MatrixCompletion((2, 2), where, [3.0, 0.0, 0.0, 1.0])
      >>> jnp.abs(jnp.round(soft_impute(problem, weight=0.5).product, 6)).tolist()
      [[2.5, 0.0], [0.0, 0.5]]

    References:
      Mazumder, Hastie and Tibshirani 2010, Algorithm 1.
    """
    return soft_impute_path(
        problem, [weight], start=start, rtol=rtol, max_iterations=max_iterations
    )[0]


def soft_impute_path(
    problem: Checked[MatrixCompletion],
    weights: Checked[Sequence[float]],
    *,
    start: Float[AnyArray, "d d_prime"] | None = None,
    rtol: Checked[float | None] = None,
    max_iterations: Checked[int] = 20_000,
) -> tuple[Baseline, ...]:
    r"""`soft_impute` for one weight after the other, each begun where the last one ended.

    Falling weights are fastest: the smaller a weight is, the more a good start is worth.

    Args:
      problem: the completion problem.
      weights: each above 0, strictly falling.
      start: the first W, for the first weight; 0 by default.
      rtol: as for `soft_impute`.
      max_iterations: for each weight.

    Returns:
      A result for each weight, in the given order.

    Raises:
      ValueError: as for `soft_impute`, or if the weights do not fall.

    Example:
      >>> import gradflow as gf
      >>> results = soft_impute_path(gf.synthetic.norm_blowup(), [0.5, 0.25])
      >>> [round(float(result.product[0, 1]), 4) for result in results]
      [0.5, 0.75]

    References:
      Mazumder, Hastie and Tibshirani 2010, Algorithm 1.
    """
    if not isinstance(problem, MatrixCompletion):
        raise ValueError(refusal("soft_impute", problem))
    falling = [positive("weight", weight) for weight in weights]
    for k in range(1, len(falling)):
        if falling[k] >= falling[k - 1]:
            raise ValueError(
                f"weights must fall strictly, but weights[{k}] = {falling[k]} comes after "
                f"{falling[k - 1]}; sort them from large to small, each once."
            )
    target = problem.target
    tolerance = tolerance_of(rtol, target.dtype)
    limit = jnp.asarray(whole("max_iterations", max_iterations))
    w = jnp.zeros_like(target) if start is None else jnp.asarray(start, target.dtype)
    if w.shape != problem.shape:
        raise ValueError(
            f"start has shape {w.shape} but the problem has shape {problem.shape}; they must agree."
        )
    results = []
    for weight in falling:
        number = jnp.asarray(weight, target.dtype)
        results.append(as_baseline(*_impute(problem, number, w, tolerance, limit), tolerance))
        w = results[-1].product
    return tuple(results)


@eqx.filter_jit
def _impute(
    problem: MatrixCompletion,
    weight: Float[Array, ""],
    start: Float[Array, "d d_prime"],
    rtol: Float[Array, ""],
    max_iterations: Int[Array, ""],
) -> tuple[Array, Array, Array, Array]:
    scale = _spectral_scale(problem.target)
    operator = _SoftImpute(problem.mask, problem.target / scale, weight / scale)
    z, iterations, gap = find_fixed_point(operator, start / scale, rtol, max_iterations)
    product = operator.solution(z) * scale
    return product, gap, misfit(problem, product), iterations


class _SoftImpute(AbstractOperator):
    mask: Float[Array, "d d_prime"]
    target: Float[Array, "d d_prime"]
    weight: Float[Array, ""]

    def advance(self, z: Array) -> tuple[Array, Array]:
        """The next W, and the objective there."""
        w, values = _shrink(jnp.where(self.mask != 0, self.target, z), self.weight)
        misfit = jnp.sum((self.mask * (self.target - w)) ** 2)
        return w, 0.5 * misfit + self.weight * jnp.sum(values)

    def solution(self, z: Array) -> Array:
        return self.advance(z)[0]

    def optimality(self, z: Array) -> Array:
        w, values = _shrink(jnp.where(self.mask != 0, self.target, z), self.weight)
        dual = self.mask * (self.target - w)
        objective = 0.5 * jnp.sum(dual**2) + self.weight * jnp.sum(values)
        dual = dual * jnp.minimum(self.weight / nonzero(_spectral_norm(dual)), 1)
        return _relative(objective, jnp.sum(dual * self.target) - 0.5 * jnp.sum(dual**2))


# What both share


def _shrink(w: Array, by: Array) -> tuple[Array, Array]:
    """Singular value thresholding: the matrix and its singular values."""
    u, s, vt = finite_svd(w)
    values = jnp.maximum(s - by, 0)
    return (u * values) @ vt, values


def _spectral_norm(w: Array) -> Array:
    return jnp.linalg.svd(w, compute_uv=False)[0]


def _nuclear_norm(w: Array) -> Array:
    return jnp.sum(jnp.linalg.svd(w, compute_uv=False))


def _relative(primal: Array, dual: Array) -> Array:
    """The gap, rounding below 0 taken as 0; NaN stays."""
    return jnp.maximum(primal - dual, 0) / nonzero(primal)


def _spectral_scale(w: Array) -> Array:
    """||W||_2, or 1 for a zero matrix."""
    largest = nonzero(jnp.max(jnp.abs(w)))
    return largest * nonzero(_spectral_norm(w / largest))
