r"""OptSpace: matrix completion of given rank, by descent over pairs of subspaces."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow._util.annotations import Checked
from gradflow._util.validate import whole
from gradflow.baselines._result import Baseline, as_baseline, misfit, nonzero, refusal, tolerance_of
from gradflow.linalg.thin_svd import finite_svd
from gradflow.problems.completion import MatrixCompletion

_DECREASE = 1e-4
"""The share of the decrease that the slope promises, of which a step must give at least this."""
_FORGETTING = 0.85
"""Weight of earlier losses in the average that a step must go below."""
_HALVINGS = 60
"""Halvings of a step before no progress is possible."""


def optspace(
    problem: Checked[MatrixCompletion],
    rank: Checked[int],
    *,
    trim: bool = True,
    rtol: Checked[float | None] = None,
    max_iterations: Checked[int] = 10_000,
) -> Baseline:
    r"""OptSpace: min over subspaces X, Y of F(X, Y) = min_S 1/2 ||P(X S Y^T - b)||_F^2.

    P keeps the observed entries; X and Y have `rank` orthonormal columns each. The start is the SVD
    of P(b) cut at the rank, rows and columns with more than twice the average number of
    observations left out. Then steepest descent on the product of Grassmann manifolds with a
    backtracking line search that starts at the Barzilai-Borwein step; S is solved for at each point
    by linear least squares. F is not convex: the result is a stationary point, the best there
    is only where the start is good enough; `misfit` tells.

    The rank is not estimated but given by the caller, unlike in methods that find a low rank by
    themselves: comparisons should say whether it is the rank of the truth.

    Args:
      problem: the completion problem; its loss convention does not matter.
      rank: of the fitted matrix, from 1 to min(d, d').
      trim: whether overrepresented rows and columns are left out of the start.
      rtol: the iteration ends where ||(E Y, E^T X)||_F <= rtol ||P(b)||_F, E = P(X S Y^T - b); 1e-9
        by default in float64, 1e-5 in float32.
      max_iterations: steps of the descent (each evaluates F once or a few times).

    Returns:
      W = X S Y^T, with ||(E Y, E^T X)||_F / ||P(b)||_F as `optimality`.

    Raises:
      ValueError: on another problem, or a parameter out of range.

    Example:
      >>> import gradflow as gf
      >>> problem = gf.MatrixCompletion((2, 2), [[0, 0], [0, 1], [1, 0]], [1.0, 2.0, 3.0])
      >>> result = optspace(problem, rank=1)
      >>> round(float(result.product[1, 1]), 6)
      6.0

    References:
      Keshavan, Montanari and Oh 2010, Sections I.B and I.C; Zhang and Hager 2004 (the line search).
    """
    if not isinstance(problem, MatrixCompletion):
        raise ValueError(refusal("optspace", problem))
    rank, most = whole("rank", rank), min(problem.shape)
    if rank > most:
        raise ValueError(
            f"rank must be from 1 to {most} for shape {problem.shape}, but it is {rank}."
        )
    tolerance = tolerance_of(rtol, problem.target.dtype)
    limit = jnp.asarray(whole("max_iterations", max_iterations))
    found, stalled = _fit(problem, rank, jnp.asarray(trim), tolerance, limit)
    return as_baseline(*found, tolerance, bool(stalled))


@eqx.filter_jit
def _fit(
    problem: MatrixCompletion,
    rank: int,
    trim: Bool[Array, ""],
    rtol: Float[Array, ""],
    max_iterations: Int[Array, ""],
) -> tuple[tuple[Array, Array, Array, Array], Bool[Array, ""]]:
    scale = nonzero(jnp.max(jnp.abs(problem.target)))
    target = problem.target / scale
    x, y = _start(problem.mask, target, rank, trim)
    point, iterations, stalled = _descend(problem.mask, target, x, y, rtol, max_iterations)
    product = scale * (point.x @ point.s @ point.y.T)
    return (product, point.optimality, misfit(problem, product), iterations), stalled


class _Point(eqx.Module):
    x: Float[Array, "d r"]
    y: Float[Array, "d_prime r"]
    s: Float[Array, "r r"]
    loss: Float[Array, ""]
    slope_x: Float[Array, "d r"]
    slope_y: Float[Array, "d_prime r"]
    optimality: Float[Array, ""]


class _Descent(eqx.Module):
    point: _Point
    step: Float[Array, ""]
    reference: Float[Array, ""]
    weight: Float[Array, ""]
    iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


def _start(
    mask: Float[Array, "d d_prime"],
    target: Float[Array, "d d_prime"],
    rank: int,
    trim: Bool[Array, ""],
) -> tuple[Float[Array, "d rank"], Float[Array, "d_prime rank"]]:
    in_row, in_column = jnp.sum(mask, axis=1), jnp.sum(mask, axis=0)
    kept = (in_row <= 2 * jnp.mean(in_row))[:, None] & (in_column <= 2 * jnp.mean(in_column))
    u, _, vt = finite_svd(jnp.where(kept | ~trim, target, 0))
    return u[:, :rank], vt[:rank].T


def _descend(
    mask: Array, target: Array, x: Array, y: Array, rtol: Array, max_iterations: Array
) -> tuple[_Point, Int[Array, ""], Bool[Array, ""]]:
    size = nonzero(jnp.linalg.norm(target))
    rounding = 10 * jnp.finfo(target.dtype).eps

    def at(x: Array, y: Array) -> _Point:
        s = _middle(mask, target, x, y)
        error = mask * (x @ s @ y.T - target)
        left, right = error @ y, error.T @ x
        # S is optimal, so X^T E Y = 0 and both slopes are horizontal; what rounding adds goes.
        left, right = left - x @ (x.T @ left), right - y @ (y.T @ right)
        optimality = jnp.sqrt(jnp.sum(left**2) + jnp.sum(right**2)) / size
        return _Point(x, y, s, 0.5 * jnp.sum(error**2), left @ s.T, right @ s, optimality)

    def unfinished(state: _Descent) -> Bool[Array, ""]:
        going = (state.iterations < max_iterations) & ~state.stalled
        return going & ~(state.point.optimality <= rtol)

    def body(state: _Descent) -> _Descent:
        here = state.point
        square = jnp.sum(here.slope_x**2) + jnp.sum(here.slope_y**2)

        def moved(step: Array) -> _Point:
            return at(_orthonormal(here.x - step * here.slope_x),
                      _orthonormal(here.y - step * here.slope_y))  # fmt: skip

        def too_long(trial: tuple[Array, Array, _Point]) -> Bool[Array, ""]:
            step, halvings, there = trial
            enough = state.reference * (1 + rounding) - _DECREASE * step * square
            return ~(there.loss <= enough) & (halvings < _HALVINGS)

        def halve(trial: tuple[Array, Array, _Point]) -> tuple[Array, Array, _Point]:
            step, halvings, _ = trial
            return step / 2, halvings + 1, moved(step / 2)

        trial = (state.step, jnp.zeros((), jnp.int32), moved(state.step))
        step, halvings, there = jax.lax.while_loop(too_long, halve, trial)
        failed = halvings == _HALVINGS
        turn_x, turn_y = there.slope_x - here.slope_x, there.slope_y - here.slope_y
        along = -jnp.sum(here.slope_x * turn_x) - jnp.sum(here.slope_y * turn_y)
        bend = jnp.sum(turn_x**2) + jnp.sum(turn_y**2)
        # The two Barzilai-Borwein steps in turn; twice the last where the curvature is not positive
        odd = state.iterations % 2 == 1
        ratio = jnp.where(odd, step * along / bend, step * square / along)
        following = jnp.where((along > 0) & jnp.isfinite(ratio), ratio, 2 * step)
        weight = _FORGETTING * state.weight + 1
        reference = (_FORGETTING * state.weight * state.reference + there.loss) / weight
        return _Descent(
            point=jax.tree.map(lambda a, b: jnp.where(failed, a, b), here, there),
            step=following,
            reference=reference,
            weight=weight,
            iterations=state.iterations + 1,
            stalled=failed,
        )

    first = at(x, y)
    start = _Descent(
        point=first,
        step=1 / nonzero(jnp.linalg.norm(first.s)) ** 2,
        reference=first.loss,
        weight=jnp.ones((), target.dtype),
        iterations=jnp.zeros((), jnp.int32),
        stalled=jnp.asarray(False),
    )
    final = jax.lax.while_loop(unfinished, body, start)
    return final.point, final.iterations, final.stalled


def _orthonormal(x: Float[Array, "d r"]) -> Float[Array, "d r"]:
    """Orthonormal columns of the same span, near x where those of x are nearly orthonormal."""
    q, r = jnp.linalg.qr(x)
    return q * jnp.where(jnp.diag(r) < 0, -1.0, 1.0).astype(q.dtype)


def _middle(mask: Array, target: Array, x: Array, y: Array) -> Float[Array, "r r"]:
    """S of least norm among those that minimise ||P(X S Y^T - b)||_F, by its normal equations."""
    r = x.shape[1]
    pairs_x = (x[:, :, None] * x[:, None, :]).reshape(len(x), r * r)
    pairs_y = (y[:, :, None] * y[:, None, :]).reshape(len(y), r * r)
    gram = (pairs_x.T @ mask @ pairs_y).reshape(r, r, r, r)
    gram = gram.transpose(0, 2, 1, 3).reshape(r * r, r * r)
    values, vectors = jnp.linalg.eigh(gram)
    floor = r * r * jnp.finfo(gram.dtype).eps * values[-1]
    inverse = jnp.where(values > floor, 1 / jnp.where(values > floor, values, 1.0), 0)
    return (vectors @ (inverse * (vectors.T @ (x.T @ target @ y).ravel()))).reshape(r, r)
