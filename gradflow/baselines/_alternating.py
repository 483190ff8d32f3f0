"""The compiled iteration of alternating least squares for CP tensors."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow.baselines._result import nonzero
from gradflow.factorizations.base import Factors
from gradflow.factorizations.cp_tensor import balanced_columns
from gradflow.linalg.khatri_rao import khatri_rao

_HOLD = 3e-3
"""Weight of the pull to the last factors, for each unit of relative residual: it leads out of
plateaus on which two terms grow against each other, and moves no point where sweeps end."""
_FIRST_SWEEPS = 20
"""Sweeps before one may be given up as too slow."""


class _Fit(eqx.Module):
    factors: Factors
    error: Float[Array, ""]
    change: Float[Array, ""]
    reach: Float[Array, ""]
    sweeps: Int[Array, ""]


@eqx.filter_jit
def alternate(
    tensor: Float[Array, "..."],
    start: Factors,
    sweeps: Int[Array, ""],
    tolerance: Float[Array, ""],
    enough: Float[Array, ""],
    patient: Bool[Array, ""],
) -> tuple[Factors, Float[Array, ""], Float[Array, ""], Int[Array, ""]]:
    """Sweeps of alternating least squares, each with a step of extrapolation if that is better.

    The residual never grows beyond that of a plain sweep. Columns of zeros stay zero.

    Args:
      tensor: the tensor W, its largest entry near 1.
      start: the first factors.
      sweeps: at most so many.
      tolerance: ends when the relative residual changes by no more in a sweep.
      enough: ends when the relative residual is at most this.
      patient: unless true, ends when all sweeps at the present pace would not be enough.

    Returns:
      The factors, the relative residual, its last change, and the sweeps made.
    """
    unfoldings = unfolded(tensor)
    size = nonzero(jnp.linalg.norm(tensor.ravel()))

    def error_of(factors: Factors) -> Float[Array, ""]:
        return residual_of(unfoldings, factors) / size

    def unfinished(fit: _Fit) -> Bool[Array, ""]:
        hopeless = (fit.sweeps > _FIRST_SWEEPS) & (fit.error - sweeps * fit.change > enough)
        going = (fit.sweeps < sweeps) & (fit.error > enough) & (fit.change > tolerance)
        return going & (patient | ~hopeless)

    def body(fit: _Fit) -> _Fit:
        plain = balanced_columns(_sweep(unfoldings, fit.factors, _HOLD * jnp.minimum(fit.error, 1)))
        moves = zip(plain, fit.factors, strict=True)
        far = balanced_columns(tuple(new + fit.reach * (new - old) for new, old in moves))
        errors = error_of(plain), error_of(far)
        better = errors[1] < errors[0]
        factors, error = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), (far, errors[1]), (plain, errors[0])
        )
        reach = jnp.where(better, 1.5 * fit.reach, jnp.maximum(0.3 * fit.reach, 0.5))
        return _Fit(factors, error, jnp.abs(fit.error - error), reach, fit.sweeps + 1)

    infinite, one = (jnp.asarray(x, tensor.dtype) for x in (jnp.inf, 1.0))
    first = _Fit(start, error_of(start), infinite, one, jnp.zeros((), jnp.int32))
    final = jax.lax.while_loop(unfinished, body, first)
    return final.factors, final.error, final.change, final.sweeps


def _sweep(unfoldings: tuple[Array, ...], factors: Factors, hold: Float[Array, ""]) -> Factors:
    """Each factor in turn by its normal equations, held near the last one.

    What terms that depend on each other leave open stays as it was.
    """
    found = list(factors)
    for n, flat in enumerate(unfoldings):
        others = (*found[:n], *found[n + 1 :])
        gram = jnp.prod(jnp.stack([f.T @ f for f in others]), axis=0)
        rounding = 10 * len(gram) * jnp.finfo(gram.dtype).eps
        damping = nonzero((rounding + hold) * jnp.max(jnp.diag(gram)))
        right = flat @ khatri_rao(others) + damping * found[n]
        factor = jax.scipy.linalg.cho_factor(gram + damping * jnp.eye(len(gram)), lower=True)
        found[n] = jax.scipy.linalg.cho_solve(factor, right.T).T
    return tuple(found)


def unfolded(tensor: Float[Array, "..."]) -> tuple[Float[Array, "_ _"], ...]:
    """The tensor as matrices, each axis in turn that of the rows."""
    return tuple(
        jnp.moveaxis(tensor, n, 0).reshape(length, -1) for n, length in enumerate(tensor.shape)
    )


def residual_of(unfoldings: tuple[Array, ...], factors: Factors) -> Float[Array, ""]:
    """||T - W||_F."""
    return jnp.linalg.norm((unfoldings[-1] - factors[-1] @ khatri_rao(factors[:-1]).T).ravel())
