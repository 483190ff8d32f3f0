"""The exact flows that several claims look at, each run once."""

from functools import cache
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from gradflow.claims.hypotheses import Measured
from gradflow.factorizations import relative_unbalancedness
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.flow.solve import solve_flow
from gradflow.objective import Objective
from gradflow.problems import MatrixCompletion
from gradflow.problems.movielens import movielens_100k
from gradflow.state import State
from gradflow.synthetic import norm_blowup
from gradflow.trajectory import Trajectory

STARTS = {
    "generic": ((1e-3, 0.3e-3), (-0.2e-3, 0.8e-3)),
    "identity": ((1e-2, 0.0), (0.0, 1e-2)),
}
"""Products to start the 2x2 problem from: one generic, one with equal singular values."""

FINE = diffrax.Dopri8()
"""For small flows at tight tolerances: of high order, and quick to compile."""


def product_velocity(state: State) -> jax.Array:
    """dW/dt by the chain rule, from the factors and their velocities; needs factor coordinates."""
    coordinates: Any = state.view
    return jax.jvp(coordinates.product, (state.y,), (coordinates.velocity(state.y),))[1]


def gradient(state: State) -> jax.Array:
    """The gradient of the loss in the product."""
    return state.problem.gradient(state.product)


@cache
def blowup(
    depth: int, start: Any, rtol: float, stop_loss: float, dense: bool = False
) -> Trajectory:
    """The 2x2 norm blow-up problem's exact flow, with a structurally exact determinant.

    Args:
      depth: at least 2.
      start: a key of `STARTS`, or a 2x2 tuple of tuples (the product; balanced factors are taken).
      rtol: relative tolerance.
      stop_loss: the flow ends here.
      dense: record often during the rise, for a picture.
    """
    rise = np.concatenate([np.linspace(0.05, 25.0, 140), np.geomspace(27.0, 1e9, 100)])
    product = np.array(STARTS[start] if isinstance(start, str) else start)
    objective = Objective(norm_blowup(), MatrixProduct.of((2, 2), depth))
    return solve_flow(
        objective,
        jnp.asarray(product),
        coordinates="logdet",
        stop_loss=stop_loss,
        rtol=rtol,
        record=rise if dense else None,
        observe=("loss", "product", "singular_values", "log_abs_det", "det_sign"),
    )


class Pair(NamedTuple):
    """The same flow at a usual and a tighter tolerance, at the times both recorded."""

    coarse: Trajectory
    tight: Trajectory
    common: int


def blowup_pair(depth: int, start: Any, stop_loss: float) -> Pair:
    """Two runs whose difference tells the numerical floor."""
    coarse = blowup(depth, start, 1e-7, stop_loss)
    tight = blowup(depth, start, 1e-9, stop_loss)
    return Pair(coarse, tight, min(len(coarse), len(tight)))


@cache
def movielens() -> MatrixCompletion:
    """All 100,000 ratings, half-sum loss."""
    problem = movielens_100k().completion()
    assert isinstance(problem, MatrixCompletion)  # with so few users and items it is stored whole
    return problem


def start_factors(flow: Trajectory) -> tuple[jax.Array, ...]:
    """The factors that a run of a matrix product started from."""
    return tuple(jnp.asarray(flow.initial[f"W_{j}"]) for j in range(1, len(flow.initial) + 1))


def balanced_start(flow: Trajectory) -> Measured:
    """Whether a run started from balanced factors, to round-off."""
    return balanced(start_factors(flow))


def balanced(factors: tuple[jax.Array, ...], below: float = 1e-12) -> Measured:
    """Whether factors are balanced, to round-off."""
    return Measured(float(relative_unbalancedness(factors)), below=below)
