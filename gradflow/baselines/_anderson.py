r"""Fixed points z = T(z) of averaged operators, by Anderson acceleration with a safeguard."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_MEMORY = 20
"""Differences that the acceleration looks back on; with 5, iterations are up to 3 times as many."""
_PERIOD = 10
"""Iterations between two looks at the optimality, which cost as much as one or two iterations."""
_GROWTH = 2.0
"""How much larger than before a residual may be after an accelerated step."""
_SLACK = 1e3
"""Accelerated steps keep ||T(z) - z|| <= _SLACK * first * n^-1.1: a summable bound."""


class AbstractOperator(eqx.Module):
    """An averaged operator whose fixed points solve a convex problem."""

    @abc.abstractmethod
    def advance(self, z: Array) -> tuple[Array, Float[Array, ""]]:
        """T(z), and a number that T never raises, the same for all z where none is known.

        The numbers of z and of T(z) are those before and after a plain step.
        """

    @abc.abstractmethod
    def optimality(self, z: Array) -> Float[Array, ""]:
        """How far the solution that z stands for is from the optimum, relative; 0 at it."""


class _State(eqx.Module):
    z: Array
    before: Array  # T and residual of the point before
    residual: Array
    moves: Array  # (memory, ...) differences of T
    changes: Array  # (memory, ...) differences of residuals
    gram: Array  # inner products of the changes
    filled: Int[Array, ""]  # points since the last restart, less one
    limit: Float[Array, ""]  # what the residual at z may be
    height: Float[Array, ""]  # what the number that T never raises may be at z
    first: Float[Array, ""]
    accelerated: Int[Array, ""]
    iterations: Int[Array, ""]
    optimality: Float[Array, ""]


def find_fixed_point(
    operator: AbstractOperator,
    start: Float[Array, "*shape"],
    rtol: Float[Array, ""],
    max_iterations: Int[Array, ""],
) -> tuple[Float[Array, "*shape"], Int[Array, ""], Float[Array, ""]]:
    r"""Iterate z <- T(z), extrapolated from the last differences, until it is optimal to rtol.

    To be called in a compiled function.

    Each step minimises || g - sum_j theta_j (g_{j+1} - g_j) || over theta, g = T(z) - z, and takes
    the same combination of the T(z). An extrapolated point is dropped for the plain step if its
    residual is too large (twice the one before, or above a summable bound), if it lies further from
    the plain step than a summable bound, or if a number grew that T never raises. The iteration
    then converges wherever the plain one does: it is the plain one with errors whose sum is finite,
    which keeps them near the fixed points. The number keeps them near in practice: where residuals
    are small far away, the sum alone lets points go a long way that takes as long to come back.

    Args:
      operator: T and the measure of optimality.
      start: the first z.
      rtol: the optimality to reach.
      max_iterations: evaluations of T.

    Returns:
      The last z, the evaluations of T, and the optimality at z.

    References:
      Anderson 1965; Walker and Ni 2011; Zhang, O'Donoghue and Boyd 2020 (the safeguard).
    """
    kind = start.dtype
    memory = jnp.zeros((_MEMORY, *start.shape), kind)
    infinite = jnp.asarray(jnp.inf, kind)
    zero = jnp.zeros((), jnp.int32)
    state = _State(
        z=start,
        before=start,
        residual=start,
        moves=memory,
        changes=memory,
        gram=jnp.zeros((_MEMORY, _MEMORY), kind),
        filled=zero - 1,
        limit=infinite,
        height=infinite,
        first=infinite,
        accelerated=zero,
        iterations=zero,
        optimality=infinite,
    )

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.optimality > rtol) & (state.iterations < max_iterations)  # NaN ends it

    def body(state: _State) -> _State:
        state = _step(operator, state)
        look = (state.iterations % _PERIOD == 0) | (state.iterations == max_iterations)
        optimality = jax.lax.cond(
            look, lambda z: operator.optimality(z), lambda _: infinite, state.z
        )
        return eqx.tree_at(lambda s: s.optimality, state, optimality)

    state = jax.lax.while_loop(unfinished, body, state)
    return state.z, state.iterations, state.optimality


def _step(operator: AbstractOperator, state: _State) -> _State:
    after, height = operator.advance(state.z)
    residual = after - state.z
    size = jnp.linalg.norm(residual.ravel())
    dropped = ~((size <= state.limit) & (height <= state.height))  # NaN too
    filled = jnp.where(dropped, -1, state.filled + 1)
    # What is written where nothing counts yet is overwritten before it does.
    slot = jnp.maximum(filled - 1, 0) % _MEMORY
    moves = state.moves.at[slot].set(after - state.before)
    changes = state.changes.at[slot].set(residual - state.residual)
    counts = jnp.arange(_MEMORY) < filled
    flat = changes.reshape(_MEMORY, -1)
    row = jnp.where(counts, flat @ flat[slot], 0)
    gram = state.gram.at[slot].set(row).at[:, slot].set(row)
    theta = _coefficients(gram, flat @ residual.ravel(), counts)
    first = jnp.where(state.iterations == 0, size, state.first)
    accelerated = state.accelerated + (filled >= 1)
    bound = _SLACK * first * (1.0 + accelerated) ** -1.1
    leap = jnp.tensordot(theta, moves, 1)
    leap = jnp.where(jnp.linalg.norm(leap.ravel()) <= bound, leap, 0)  # NaN too
    rounding = 16 * jnp.finfo(size.dtype).eps * jnp.abs(height)
    return _State(
        z=jnp.where(dropped, state.before, after - leap),
        before=after,
        residual=residual,
        moves=moves,
        changes=changes,
        gram=gram,
        filled=filled,
        limit=jnp.where(filled >= 1, jnp.minimum(_GROWTH * size, bound), jnp.inf).astype(
            size.dtype
        ),
        height=jnp.where(filled >= 1, height + rounding, jnp.inf).astype(size.dtype),
        first=first,
        accelerated=accelerated,
        iterations=state.iterations + 1,
        optimality=state.optimality,
    )


def _coefficients(
    gram: Float[Array, "k k"], projections: Float[Array, " k"], counts: Bool[Array, " k"]
) -> Float[Array, " k"]:
    """Regularised least squares among the differences that count; 0 for the others."""
    both = counts[:, None] & counts[None, :]
    gram = jnp.where(both, gram, 0)
    trace = jnp.trace(gram)
    unit = jnp.where(trace > 0, trace, 1.0)
    small = 0.01 * jnp.finfo(gram.dtype).eps ** 0.5
    matrix = gram / unit + jnp.diag(jnp.where(counts, small, 1.0).astype(gram.dtype))
    factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
    return jax.scipy.linalg.cho_solve(factor, jnp.where(counts, projections, 0) / unit)
