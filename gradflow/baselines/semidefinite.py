r"""The least nuclear norm among positive semidefinite matrices that fit: a small convex program.

Of such matrices the nuclear norm is the trace. The dual

    max <nu, y>  subject to  S = I - sum_i nu_i A_i  positive semidefinite

has nu = 0 in its interior whatever the data are. From there a primal-dual interior-point method
keeps W and S positive definite and S exactly feasible, while W comes to fit.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradflow._util.annotations import Checked
from gradflow.baselines._result import Baseline, BaselineOutcome, misfit, refusal, tolerance_of
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.sensing import MatrixSensing

_SHORT = 0.95
"""How much of the way to the cone's boundary a step may go."""
_MOST = 200
"""Iterations allowed; ten to forty are usual."""
_NONE = 1e9
"""Data that are fitted only by matrices this many times the data count as fitted by none."""
_FITTED = 1e-7
"""The misfit of what counts as a fit, however large a gap is allowed."""
_DEPENDENT = 1e-10
"""Below which singular value, relative to the largest, measurements depend on each other."""


def minimum_trace(
    problem: Checked[MatrixCompletion | MatrixSensing], *, rtol: Checked[float] = 1e-7
) -> Baseline:
    r"""Positive semidefinite interpolant of least trace: min tr W subject to A(W) = y, W >= 0.

    The trace of such a W is its nuclear norm. By an interior-point method, for sizes up to some
    tens. Whatever its iteration does, each S on the way is positive definite, so that <nu, y>
    bounds the trace of every semidefinite interpolant from below.

    Args:
      problem: completion or sensing of a square matrix; measurements count by their symmetric
        parts.
      rtol: ends where (tr W - <nu, y>) / tr W is at most this. A larger one gives a W further
        inside the cone.

    Returns:
      W, symmetric, with the duality gap as `optimality`; its least eigenvalue is above 0, or below
      by rounding where no interpolant is positive definite.

    Raises:
      ValueError: on another problem, one that is not square, a parameter out of range, or if no
        semidefinite W fits.

    Example:
      >>> import gradflow as gf
      >>> where = [[0, 0], [0, 1], [1, 0], [1, 2], [2, 1]]
      >>> least = minimum_trace(gf.MatrixCompletion((3, 3), where, [2.0, 1.0, 1.0, 1.0, 1.0]))
      >>> least.product.round(3).tolist()
      [[2.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]

    References:
      Fazel, Hindi and Boyd 2001 (trace and rank); Gunasekar et al. 2017 (as what a flow of U U^T
      might minimise).
    """
    if not isinstance(problem, MatrixCompletion | MatrixSensing):
        raise ValueError(refusal("minimum_trace", problem, "MatrixSensing"))
    if len(set(problem.shape)) != 1:
        raise ValueError(
            f"A semidefinite matrix is square, but W has shape {problem.shape}; use "
            "gradflow.baselines.minimum_nuclear_norm."
        )
    tolerance = float(tolerance_of(rtol, np.dtype(float)))
    a, y, unit = _measurements(problem)
    size = float(np.linalg.norm(y))
    if size == 0:
        return Baseline(jnp.zeros(problem.shape), 0.0, 0.0, 0, BaselineOutcome.CONVERGED)
    found = _solve(a, y / size, tolerance)
    w = jnp.asarray(found.product * size * unit)
    off = float(misfit(problem, w))  # of the measurements as they were given
    return Baseline(w, found.optimality, off, found.iterations, found.outcome)


def _solve(a: Float[np.ndarray, "m n n"], y: Float[np.ndarray, " m"], rtol: float) -> Baseline:
    """The interior-point method, for orthonormal measurements and data of size 1."""
    eye, nu = np.eye(a.shape[1]), np.zeros(len(y))
    x, s, best, count = 10 * eye, eye, None, 0
    while count < _MOST:
        count += 1
        bound, product = float(nu @ y), _fitted(a, y, x)
        if bound > _NONE:
            raise ValueError(
                "No positive semidefinite matrix fits the data (none whose trace is below "
                f"{bound:.1g} times the data's size); leave measurements out."
            )
        if np.linalg.eigvalsh(product)[0] < -1e-14 * np.trace(product):
            product = x  # no fit is known to be inside: what x misses is told
        trace, off = float(np.trace(product)), float(np.linalg.norm(_measure(a, product) - y))
        gap = max(abs(trace - bound), float(np.sum(product * s))) / trace
        if best is None or max(gap, off) < max(best[1:]):
            best = product, gap, off
            if gap <= rtol and off <= min(rtol, _FITTED):
                break
        step = _step(a, y, x, s)
        if step is None:
            break
        x, s, nu = x + step[0], s + step[1], nu + step[2]
    if best is None or best[2] > 10 * _FITTED:
        raise ValueError(
            "No positive semidefinite matrix was found that fits the data; leave measurements out."
        )
    if best[1] <= rtol and best[2] <= min(rtol, _FITTED):
        outcome = BaselineOutcome.CONVERGED
    else:
        outcome = BaselineOutcome.STALLED if count < _MOST else BaselineOutcome.OUT_OF_ITERATIONS
    return Baseline(jnp.asarray(best[0]), best[1], best[2], count, outcome)


def _step(
    a: Float[np.ndarray, "m n n"], y: Float[np.ndarray, " m"], x: np.ndarray, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """A predictor and a corrector; None where rounding leaves nothing to go by."""
    try:
        return _corrected(a, y, x, s)
    except np.linalg.LinAlgError:
        return None


def _corrected(
    a: Float[np.ndarray, "m n n"], y: Float[np.ndarray, " m"], x: np.ndarray, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    n, inverse = len(x), np.linalg.inv(s)
    mu, off = float(np.sum(x * s)) / n, y - _measure(a, x)
    matrix = np.einsum("iab,jba->ij", a @ x, a @ inverse)
    matrix = (matrix + matrix.T) / 2

    def direction(center: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dnu = np.linalg.solve(matrix, off - _measure(a, center))
        ds = -np.tensordot(dnu, a, 1)
        dx = center - x @ ds @ inverse
        return (dx + dx.T) / 2, ds, dnu

    dx, ds, _ = direction(-x)
    along, beside = _reach(x, dx), _reach(s, ds)
    left = float(np.sum((x + along * dx) * (s + beside * ds))) / n
    share = min(max(left / mu, 0.0), 1.0) ** 2
    second = dx @ ds @ inverse
    dx, ds, dnu = direction(share * mu * inverse - x - (second + second.T) / 2)
    along, beside = _reach(x, dx), _reach(s, ds)
    if not max(along, beside) > 1e-8:
        return None
    return along * dx, beside * ds, beside * dnu


def _reach(x: Float[np.ndarray, "n n"], dx: Float[np.ndarray, "n n"]) -> float:
    """How far one may go from a positive definite matrix, at most 1."""
    root = np.linalg.inv(np.linalg.cholesky(x))
    low = float(np.linalg.eigvalsh(root @ dx @ root.T)[0])
    return 1.0 if low > -_SHORT else -_SHORT / low


def _measurements(
    problem: MatrixCompletion | MatrixSensing,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Orthonormal symmetric A_i, the y_i that go with them, and the unit of these.

    Raises:
      ValueError: if no symmetric matrix has these y_i.
    """
    if isinstance(problem, MatrixCompletion):
        y = np.asarray(problem.values, float)
        a = np.zeros((len(y), *problem.shape))
        a[(np.arange(len(y)), *np.asarray(problem.indices).T)] = 1.0
    else:
        a, y = np.asarray(problem.measurements, float), np.asarray(problem.labels, float)
    # Squares of what is far from 1 are 0 or infinite.
    unit, reach = (float(np.max(np.abs(x))) or 1.0 for x in (y, a))
    a, y = a / reach, y / unit
    flat = ((a + a.transpose(0, 2, 1)) / 2).reshape(len(y), -1)
    u, values, rows = np.linalg.svd(flat, full_matrices=False)
    kept = values > _DEPENDENT * max(values[0], 1e-300)
    u, found = u[:, kept], (u[:, kept].T @ y) / values[kept]
    if np.linalg.norm(y - (u * values[kept]) @ found) > 1e-9 * np.linalg.norm(y):
        raise ValueError(
            "No symmetric matrix fits the data: measurements that depend on each other have other "
            "labels; leave some out."
        )
    return rows[kept].reshape(-1, *a.shape[1:]), found, unit / reach


def _measure(a: Float[np.ndarray, "m n n"], w: Float[np.ndarray, "n n"]) -> np.ndarray:
    return np.einsum("iab,ab->i", a, w)


def _fitted(
    a: Float[np.ndarray, "m n n"], y: Float[np.ndarray, " m"], w: Float[np.ndarray, "n n"]
) -> np.ndarray:
    """The nearest matrix that fits."""
    return w + np.tensordot(y - _measure(a, w), a, 1)
