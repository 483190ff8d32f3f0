r"""What a step's error is measured against."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from gradflow.coordinates.base import AbstractChart
from gradflow.ode.chebyshev import AbstractStabilized
from gradflow.ode.switching import HandOver

_EVEN = 1e-5
"""The tolerance at which errors of stabilised steps are taken as they are."""
_ROUNDING = 1e-12
"""The least tolerance to ask of a stabilised step: below, its error estimate is round-off."""


def relative_error(
    chart: AbstractChart, error: Any, y0: Any, y1: Any, rtol: Array, atol: Array
) -> Any:
    """The error in units of the tolerance: of each entry, or of all entries together."""
    if chart.normwise:
        size = jnp.maximum(_rms(y0), _rms(y1))
        return jax.tree.map(lambda e: e / (atol + rtol * size), error)

    def scaled(e: Array, a: Array, b: Array) -> Array:
        return e / (atol + rtol * jnp.maximum(jnp.abs(a), jnp.abs(b)))

    return jax.tree.map(scaled, error, y0, y1)


def proportionality(solver: diffrax.AbstractSolver, rtol: Array) -> Array:
    """A factor on the errors of stabilised steps that makes their sum proportional to rtol.

    Explicit pairs go on with the better of two solutions, whose error of order h^p adds up to the
    estimate's order. Stabilised methods have only one: local errors h^(p+1) held at rtol add up to
    h^p, which falls like rtol^(p/(p+1)) only.
    """
    method = solver.stabilized if isinstance(solver, HandOver) else solver
    if not isinstance(method, AbstractStabilized):
        return jnp.asarray(1.0)
    factor = (_EVEN / rtol) ** (1 / method.order(None))
    return jnp.minimum(factor, jnp.maximum(rtol / _ROUNDING, 1.0))


def with_tolerances(
    solver: diffrax.AbstractSolver, rtol: Array, atol: Array
) -> diffrax.AbstractSolver:
    """Give an implicit solver's root finder the step's tolerances, as `diffeqsolve` does."""
    finder = getattr(solver, "root_finder", None)
    if finder is None:
        return solver
    unset = diffrax.with_stepsize_controller_tols(diffrax.VeryChord)().rtol
    norm = diffrax.PIDController(rtol=1.0, atol=1.0).norm
    for name, value in (("rtol", rtol), ("atol", atol), ("norm", norm)):
        if getattr(finder, name, None) is unset:
            finder = eqx.tree_at(
                lambda f, name=name: getattr(f, name), finder, value, is_leaf=lambda x: x is unset
            )
    return eqx.tree_at(lambda s: s.root_finder, solver, finder)


def _rms(y: Any) -> Array:
    leaves = jax.tree.leaves(y)
    total = jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in leaves]))
    return jnp.sqrt(total / sum(leaf.size for leaf in leaves))
