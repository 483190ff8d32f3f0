r"""ODE solvers that diffrax lacks, as diffrax solvers: they work with `diffeqsolve` too."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree


class StiffPart(NamedTuple):
    """The unknowns of a large system that are stiff, and how they move each other.

    Attributes:
      where: their positions in the flattened y.
      jacobian: of their velocities in these unknowns alone.
    """

    where: Int[Array, " m"]
    jacobian: Float[Array, "m m"]


class LinearlyImplicitExtrapolation(diffrax.AbstractAdaptiveSolver):
    r"""Extrapolated linearly implicit Euler steps (the method behind SEULEX), of fixed order.

    Column i takes m_i = i + 1, i = 1..columns, steps of size k = h / m_i,

        (I - k J) (y_{l+1} - y_l) = k f(t_l, y_l) + k^2 f_t,

    with the Jacobian J and f_t = df/dt of the step's start, and the Aitken-Neville scheme removes
    the error terms of order k, k^2, .... There is no Newton iteration that could fail. The
    error estimate is the difference of the last two entries of the last row. Each increment is a
    solution with I - k J, which damps round-off of f in stiff components, so that it does not
    shrink the steps. Dense Jacobians: for up to some dozens of unknowns.

    Of more unknowns only some may be stiff. A vector field with a method `stiff_part(t, y)` that
    gives a `StiffPart` has these taken implicitly, and all others explicitly: the expansion in
    powers of k that is extrapolated exists whatever stands for J.

    Args:
      columns: the number of columns, which is the order; at least 2.

    Example:
      >>> import diffrax, jax.numpy as jnp
      >>> term = diffrax.ODETerm(lambda t, y, args: -1e6 * (y - jnp.cos(t)))
      >>> solution = diffrax.diffeqsolve(
      ...     term,
      ...     LinearlyImplicitExtrapolation(),
      ...     0.0,
      ...     1.0,
      ...     1e-3,
      ...     jnp.ones(1),
      ...     stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-8),
      ... )
      >>> bool(abs(solution.ys[0, 0] - jnp.cos(1.0)) < 1e-5)
      True

    References:
      Deuflhard 1985; Hairer and Wanner, Solving Ordinary Differential Equations II, Section IV.9.
    """

    columns: int = eqx.field(static=True, default=6)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.AbstractLocalInterpolation]] = (
        diffrax.ThirdOrderHermitePolynomialInterpolation
    )

    def __check_init__(self) -> None:
        if self.columns < 2:
            raise ValueError(f"columns must be at least 2, but it is {self.columns}.")

    def order(self, terms: PyTree[diffrax.AbstractTerm]) -> int:
        """The order of convergence."""
        del terms
        return self.columns

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        """There is no state between steps."""

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        """The vector field."""
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], None, diffrax.RESULTS]:
        """One step from t0 to t1; see `diffrax.AbstractSolver.step`."""
        del solver_state, made_jump
        start, unravel = ravel_pytree(y0)

        def field(t: Float[Array, ""], y: Float[Array, " n"]) -> Float[Array, " n"]:
            return ravel_pytree(terms.vf(t, unravel(y), args))[0]

        h = jnp.asarray(terms.contr(t0, t1), start.dtype)
        t0 = jnp.asarray(t0, start.dtype)
        asked = getattr(getattr(terms, "vector_field", None), "stiff_part", None)
        part = None if asked is None else asked(t0, y0)
        counts = jnp.arange(2, self.columns + 2)
        k = h / counts
        if part is None:
            first, derivative = jax.linearize(field, t0, start)
            field_t = derivative(jnp.ones_like(t0), jnp.zeros_like(start))
            eye = jnp.eye(start.size, dtype=start.dtype)
            jacobian = jax.vmap(lambda y: derivative(jnp.zeros_like(t0), y), out_axes=1)(eye)
        else:
            first, field_t = jax.jvp(lambda t: field(t, start), (t0,), (jnp.ones_like(t0),))
            jacobian, eye = part.jacobian, jnp.eye(part.where.size, dtype=start.dtype)
        inverse = jnp.linalg.inv(eye - k[:, None, None] * jacobian)

        def resolved(right: Float[Array, "c n"]) -> Float[Array, "c n"]:
            if part is None:
                return jnp.einsum("cij,cj->ci", inverse, right)
            stiff = jnp.einsum("cij,cj->ci", inverse, right[:, part.where])
            return right.at[:, part.where].set(stiff)

        # Increments are extrapolated, not states: the table's weights (up to 300 at 6 columns)
        # would amplify the states' round-off.
        def advance(substep: Array, moved: Float[Array, "c n"]) -> Float[Array, "c n"]:
            slope = jax.vmap(lambda dt, d: field(t0 + substep * dt, start + d))(k, moved)
            right = k[:, None] * slope + (k**2)[:, None] * field_t
            return jnp.where((substep < counts)[:, None], moved + resolved(right), moved)

        moved = jnp.zeros((self.columns, start.size), start.dtype)
        moved = jax.lax.fori_loop(0, self.columns + 1, advance, moved)
        last, before = _aitken_neville(moved)
        end = start + last
        y1 = unravel(end)
        dense = {
            "y0": y0,
            "y1": y1,
            "k0": unravel(h * first),
            "k1": unravel(h * field(t0 + h, end)),
        }
        return y1, unravel(last - before), dense, None, diffrax.RESULTS.successful


def _aitken_neville(moved: Float[Array, "c n"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The last two entries of the last row of the extrapolation table with steps h/2, h/3, ...."""
    columns = moved.shape[0]
    row: list[Array] = []
    for i in range(columns):
        new = [moved[i]]
        for j in range(1, i + 1):
            ratio = (i + 2) / (i + 2 - j)
            new.append(new[j - 1] + (new[j - 1] - row[j - 1]) / (ratio - 1))
        row = new
    return row[-1], row[-2]
