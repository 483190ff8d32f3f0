r"""The pure core of flows: what `jax.jit`, `vmap`, `jvp` and `grad` go through.

`gradflow.solve_flow` looks at numbers before and after a flow: it chooses coordinates by the start,
checks, records, warns. Nothing of that can be traced. Here is a flow as a function of arrays.
"""

from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

from gradflow._util.annotations import Checked
from gradflow.coordinates.base import root_mean_square
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.ldu import DENSE
from gradflow.dynamics.base import AbstractDynamics, DynamicState
from gradflow.dynamics.gradient import GradientFlow
from gradflow.dynamics.steepest import SpectralFlow
from gradflow.factorizations.base import Factors
from gradflow.flow.error_control import (
    ErrorControl,
    alertness,
    proportionality,
    with_tolerances,
)
from gradflow.flow.placing import require_float64
from gradflow.flow.stopping import Status
from gradflow.objective import Objective
from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation
from gradflow.ode.stabilized import AbstractStabilized
from gradflow.ode.switching import StiffnessSwitch
from gradflow.penalties.spectral import AbstractSpectralPenalty

GRADIENT_FLOW = GradientFlow()
REVERSE = diffrax.RecursiveCheckpointAdjoint()
Solver = diffrax.AbstractSolver | Literal["auto"]


class Followed(eqx.Module):
    """A flow at some times, as a tree of arrays.

    Attributes:
      times: when; for `follow_to_loss`, when the loss was reached.
      factors: W_1, ..., W_N, with the times along the first axis where there are several; inf at
        times that the flow did not come to.
      status: a `Status`, as an integer: HORIZON if the flow came to the last time, LOSS if it came
        to the stopping loss, STEPS if it ran out of steps, TOO_SMALL if they got too small,
        rounding hides the stopping loss, or a time is NaN.
      steps: taken and rejected.
    """

    times: Float[Array, "*k"]
    factors: Factors
    status: Int[Array, ""]
    steps: Int[Array, ""]


class FollowedFlow(eqx.Module):
    """What stays the same in a flow that is followed.

    Attributes:
      coordinates: the factors, with the objective and the dynamics.
      state: the start.
      solver: a diffrax solver.
      control: of the steps' errors; it has no part in derivatives.
      max_steps: taken and rejected.
      adjoint: how derivatives go through the steps.
    """

    coordinates: FactorCoordinates
    state: DynamicState
    solver: diffrax.AbstractSolver
    control: ErrorControl
    max_steps: int = eqx.field(static=True)
    adjoint: diffrax.AbstractAdjoint

    @property
    def terms(self) -> diffrax.ODETerm:
        """The velocity, as solvers take it: of the coordinates that are its argument."""
        return diffrax.ODETerm(_velocity)

    def through(self, times: Float[Array, " k"]) -> diffrax.Solution:
        """The flow from time 0 through rising times, all of which steps land on."""
        control = diffrax.ClipStepSizeController(self.control, step_ts=stop_gradient(times))
        return self.solve(
            times[-1],
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=control,
            adjoint=self.adjoint,
        )

    def solve(self, end: Float[Array, ""], **options: Any) -> diffrax.Solution:
        """The flow from time 0 on.

        Args:
          end: the last time.
          **options: of `diffrax.diffeqsolve`.
        """
        return diffrax.diffeqsolve(
            self.terms,
            self.solver,
            0.0,
            end,
            None,
            self.state,
            self.coordinates,
            max_steps=self.max_steps,
            throw=False,
            **options,
        )


def follow(
    objective: Objective,
    start: Factors,
    times: Float[Array, "*k"] | float,
    *,
    dynamics: Checked[AbstractDynamics] = GRADIENT_FLOW,
    rtol: Any = 1e-8,
    atol: Any = None,
    solver: Checked[Solver] = "auto",
    max_steps: int = 10_000,
    adjoint: Checked[diffrax.AbstractAdjoint] = REVERSE,
) -> Followed:
    r"""The factors of a flow at some times: a pure function, for `jit`, `vmap`, `jvp` and `grad`.

    It is the flow of `gradflow.solve_flow(..., coordinates="factors")`, to its tolerance, but
    checks shapes and precisions only, warns of nothing and records nothing.

    Derivatives are those of the numerical solution with its steps held fixed, exact to rounding,
    and those of the flow to a small multiple of rtol. They exist with respect to every array of the
    objective, the start, the dynamics and the times.

    `adjoint` says how they are taken:

    - `diffrax.RecursiveCheckpointAdjoint()`: reverse mode (`jax.grad`, `jax.vjp`), in time that
      does not depend on the number of inputs. sqrt(2 max_steps) states on the way are kept, the
      others computed again; another number is `checkpoints`. Measured at 30 x 30, depth 2, 96 and
      197 steps: 6 to 10 times the flow's own time, and the memory of 85 states (factors) at
      max_steps 400, of 350 at 10,000.
    - `diffrax.ForwardMode()`: forward mode (`jax.jvp`, `jax.jacfwd`), for few inputs: with any
      solver, without memory, and compiled in a quarter of the time.
    - `diffrax.DirectAdjoint()`: both, but slower.
    - `diffrax.BacksolveAdjoint(...)` integrates the flow backwards, where it is unstable: only for
      short times, and not with respect to these.

    Args:
      objective: the problem, its factorisation and, if any, its penalty, in float64.
      start: the factors W_1, ..., W_N.
      times: rising, from 0 on, or one.
      dynamics: what the parameters obey; `AdamFlow` as `prepared` gives it.
      rtol: relative tolerance, as in `FlowOptions`.
      atol: absolute tolerance; by default 1e-3 rtol times the root mean square of the start.
      solver: any diffrax solver with an error estimate. By default the linearly implicit
        steps of `solve_flow` where it takes these, for up to 48 unknowns, and else
        `diffrax.Tsit5()`: reverse mode cannot go through the stages of a `StiffnessSwitch`, whose
        number varies, nor, where singular values meet, through the Jacobians of `SpectralFlow` and
        of spectral penalties.
      max_steps: taken and rejected; what does not come to its end in these says so in `status`.
      adjoint: see above.

    Raises:
      ValueError: on wrong shapes, float32, or a stabilised solver with an adjoint in reverse mode.

    Example:
      >>> import gradflow as gf, jax
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
      >>> def rank(std):
      ...     start = objective.factorization.gaussian(jax.random.key(0), std=std)
      ...     flow = follow(objective, start, 3.0)
      ...     return gf.linalg.effective_rank(objective.product(flow.factors))
      >>> value, slope = jax.jit(jax.value_and_grad(rank))(0.1)
      >>> round(float(value), 4), round(float(slope), 4)
      (1.9858, 0.0801)
    """
    flow = followed_flow(objective, start, dynamics, rtol, atol, solver, max_steps, adjoint)
    at = jnp.asarray(times, float)
    solution = flow.through(jnp.atleast_1d(at))
    assert solution.ys is not None
    factors = flow.coordinates.factors(solution.ys)
    return Followed(
        times=at,
        factors=tuple(f[0] for f in factors) if at.ndim == 0 else factors,
        status=status_of(solution),
        steps=solution.stats["num_steps"],
    )


def followed_flow(
    objective: Objective,
    start: Factors,
    dynamics: AbstractDynamics,
    rtol: Any,
    atol: Any,
    solver: Any,
    max_steps: int,
    adjoint: diffrax.AbstractAdjoint,
) -> FollowedFlow:
    """What `follow` follows; the arguments are its own.

    Raises:
      ValueError: as `follow` says.
    """
    factors = objective.factorization.check(start)
    require_float64(objective, factors)
    rtol = jnp.asarray(rtol, float)
    coordinates = FactorCoordinates(objective, dynamics).with_tolerance(rtol)
    state = dynamics.initial(factors)
    if solver == "auto":
        solver = _solver_for(coordinates, state)
    varying = isinstance(solver, StiffnessSwitch | AbstractStabilized)
    if varying and not isinstance(adjoint, diffrax.ForwardMode | diffrax.BacksolveAdjoint):
        raise ValueError(
            f"The stages of {type(solver).__name__} vary in number, so that reverse mode cannot go "
            "through them; give adjoint=diffrax.ForwardMode(), for jax.jvp and jax.jacfwd, or "
            "solver=diffrax.Tsit5()."
        )
    if atol is None:
        atol = 1e-3 * rtol * root_mean_square(state)
    atol = jnp.asarray(atol, float)
    fixed = without_derivatives((coordinates, rtol, atol))
    weight = alertness(fixed[0], rtol) * proportionality(solver, rtol)
    return FollowedFlow(
        coordinates=coordinates,
        state=state,
        solver=_through_stages(with_tolerances(solver, *fixed[1:]), adjoint),
        control=ErrorControl(*fixed, weight=weight),
        max_steps=max_steps,
        adjoint=adjoint,
    )


def status_of(solution: diffrax.Solution) -> Int[Array, ""]:
    """HORIZON, STEPS or TOO_SMALL, from how diffrax ended; to a NaN it goes by no step at all."""
    assert solution.ts is not None
    result = solution.result
    failed = jnp.where(
        result == diffrax.RESULTS.max_steps_reached, int(Status.STEPS), int(Status.TOO_SMALL)
    )
    came = diffrax.is_okay(result) & jnp.isfinite(solution.ts[-1])
    return jnp.where(came, int(Status.HORIZON), failed)


def _solver_for(coordinates: FactorCoordinates, state: DynamicState) -> diffrax.AbstractSolver:
    """That of `solve_flow` where derivatives in reverse mode go through it, else Tsit5."""
    unknowns = sum(leaf.size for leaf in jax.tree.leaves(state))
    smooth = (
        coordinates.dynamics.real_rates
        and coordinates.problem.twice_differentiable
        # Their Jacobians have derivatives only where singular values are distinct.
        and not isinstance(coordinates.objective.penalty, AbstractSpectralPenalty)
        and not isinstance(coordinates.dynamics, SpectralFlow)
    )
    return LinearlyImplicitExtrapolation() if unknowns <= DENSE and smooth else diffrax.Tsit5()


def _through_stages(
    solver: diffrax.AbstractSolver, adjoint: diffrax.AbstractAdjoint
) -> diffrax.AbstractSolver:
    """With loops over stages of the kind that derivatives of the adjoint's mode go through."""
    if isinstance(solver, StiffnessSwitch):
        explicit = _through_stages(solver.explicit, adjoint)
        return eqx.tree_at(lambda s: s.explicit, solver, explicit)
    kinds = {diffrax.ForwardMode: "lax", diffrax.DirectAdjoint: "bounded"}
    if type(adjoint) not in kinds or getattr(solver, "scan_kind", "") is not None:
        return solver
    return eqx.tree_at(
        lambda s: s.scan_kind, solver, kinds[type(adjoint)], is_leaf=lambda leaf: leaf is None
    )


def _velocity(t: Any, state: DynamicState, coordinates: FactorCoordinates) -> DynamicState:
    del t
    return coordinates.velocity(state)


def without_derivatives(tree: Any) -> Any:
    """The same numbers, as constants.

    Args:
      tree: of arrays and anything else.
    """
    numbers, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(stop_gradient(numbers), rest)
