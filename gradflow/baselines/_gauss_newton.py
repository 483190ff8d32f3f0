"""Damped Gauss-Newton steps for CP tensors: they end what alternating least squares leave slow."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow.baselines._alternating import residual_of, unfolded
from gradflow.baselines._result import nonzero
from gradflow.factorizations.base import Factors
from gradflow.factorizations.cp_tensor import balanced_columns
from gradflow.linalg.khatri_rao import khatri_rao

_FIRST_STEPS = 20
"""Steps before one may be given up as too slow."""


class _Fit(eqx.Module):
    factors: Factors
    error: Float[Array, ""]
    change: Float[Array, ""]
    damping: Float[Array, ""]
    steps: Int[Array, ""]


@eqx.filter_jit
def refine(
    tensor: Float[Array, "..."], start: Factors, steps: Int[Array, ""], enough: Float[Array, ""]
) -> Factors:
    """Levenberg-Marquardt on all factors at once, until the relative residual is enough.

    It ends too where all steps at the present pace would not be enough. Columns of zeros stay zero.
    """
    unfoldings = unfolded(tensor)
    size = nonzero(jnp.linalg.norm(tensor.ravel()))

    def error_of(factors: Factors) -> Float[Array, ""]:
        return residual_of(unfoldings, factors) / size

    def unfinished(fit: _Fit) -> Bool[Array, ""]:
        hopeless = (fit.steps > _FIRST_STEPS) & (fit.error - steps * fit.change > enough)
        return (fit.steps < steps) & (fit.error > enough) & ~hopeless & (fit.damping < 1e8)

    def body(fit: _Fit) -> _Fit:
        moved = balanced_columns(_step(unfoldings, fit.factors, fit.damping))
        error = error_of(moved)
        better = error < fit.error
        return _Fit(
            jax.tree.map(lambda a, b: jnp.where(better, a, b), moved, fit.factors),
            jnp.where(better, error, fit.error),
            jnp.where(better, fit.error - error, fit.change),
            jnp.where(better, jnp.maximum(fit.damping / 3, 1e-14), 4 * fit.damping),
            fit.steps + 1,
        )

    infinite, damping = (jnp.asarray(x, tensor.dtype) for x in (jnp.inf, 1e-3))
    first = _Fit(start, error_of(start), infinite, damping, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unfinished, body, first).factors


def _step(unfoldings: tuple[Array, ...], factors: Factors, damping: Float[Array, ""]) -> Factors:
    """(J^T J + damping * largest) step = -J^T (T - W), J^T J from the factors' Gram matrices."""
    grams = [f.T @ f for f in factors]
    rank, order = len(grams[0]), len(factors)

    def others(*left_out: int) -> Array:
        kept = [grams[k] for k in range(order) if k not in left_out]
        return jnp.prod(jnp.stack(kept), axis=0) if kept else jnp.ones_like(grams[0])

    def block(n: int, m: int) -> Array:
        a, b = factors[n], factors[m]
        if n == m:
            return jnp.kron(jnp.eye(len(a)), others(n))
        return jnp.einsum("rs,is,jr->irjs", others(n, m), a, b).reshape(a.size, b.size)

    hessian = jnp.block([[block(n, m) for m in range(order)] for n in range(order)])
    slopes = [
        (factors[n] @ others(n) - flat @ khatri_rao((*factors[:n], *factors[n + 1 :]))).ravel()
        for n, flat in enumerate(unfoldings)
    ]
    weight = nonzero(damping * jnp.max(jnp.diag(hessian)))
    factor = jax.scipy.linalg.cho_factor(hessian + weight * jnp.eye(len(hessian)), lower=True)
    step = jax.scipy.linalg.cho_solve(factor, jnp.concatenate(slopes))
    cuts = [sum(f.size for f in factors[: k + 1]) for k in range(order - 1)]
    parts = jnp.split(step, cuts)
    return tuple(f - part.reshape(-1, rank) for f, part in zip(factors, parts, strict=True))
