r"""A flow up to the time at which its loss has fallen to a value, and the derivatives of that.

The stopping time T hangs on all that the flow hangs on: loss(y(T)) = stop_loss gives

    dT = (dstop_loss - d loss(y) at fixed time) / (d loss/dt),    dy(T) = dy at fixed time + v dT.
"""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow._util.annotations import Checked
from gradflow.dynamics.base import AbstractDynamics, DynamicState
from gradflow.factorizations.base import Factors
from gradflow.flow.following import (
    GRADIENT_FLOW,
    REVERSE,
    Followed,
    FollowedFlow,
    Solver,
    followed_flow,
    status_of,
    without_derivatives,
)
from gradflow.flow.stopping import Status
from gradflow.objective import Objective

_CLOSE = 1e-13
"""How near to the stopping loss, in its logarithm, the last step is made to end."""
_NEAR = 1e-9
"""And how near, where rounding keeps it from that, it must end."""
_HALVINGS = 60
"""Lengths to try for it: so many halvings leave less than rounding."""


def follow_to_loss(
    objective: Objective,
    start: Factors,
    stop_loss: Float[Array, ""] | float,
    *,
    horizon: Float[Array, ""] | float,
    dynamics: Checked[AbstractDynamics] = GRADIENT_FLOW,
    rtol: Any = 1e-8,
    atol: Any = None,
    solver: Checked[Solver] = "auto",
    max_steps: int = 10_000,
    adjoint: Checked[diffrax.AbstractAdjoint] = REVERSE,
) -> Followed:
    r"""The factors of a flow when its loss has fallen to a value: `follow` to a stopping loss.

    Derivatives are those of the flow stopped where its loss is `stop_loss`: the stopping time moves
    too, by the implicit function theorem, and `times` has derivatives likewise.

    The flow is integrated twice: once, without derivatives, to find the step in which the loss gets
    there, and once to the start of that step. The first keeps the time of each step, max_steps
    numbers.

    Args:
      objective: as for `follow`.
      start: as for `follow`.
      stop_loss: above 0; without the penalty.
      horizon: the time at which to end if the loss has not come there; the status is then HORIZON.
      dynamics: as for `follow`.
      rtol: as for `follow`.
      atol: as for `follow`.
      solver: as for `follow`.
      max_steps: taken and rejected, of each of the two integrations.
      adjoint: as for `follow`.

    Raises:
      ValueError: as `follow` does.

    Example:
      >>> import diffrax, gradflow as gf, jax
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
      >>> start = objective.factorization.gaussian(jax.random.key(0), std=0.1)
      >>> def run(loss):
      ...     adjoint = diffrax.ForwardMode()
      ...     return follow_to_loss(objective, start, loss, horizon=1e3, adjoint=adjoint)
      >>> at, change = jax.jvp(run, (0.1,), (1.0,))
      >>> gf.flow.Status(int(at.status)).name, round(float(objective.loss(at.factors)), 9)
      ('LOSS', 0.1)
      >>> round(float(at.times), 4), round(float(change.times), 4)
      (2.2523, -4.005)
    """
    flow = followed_flow(objective, start, dynamics, rtol, atol, solver, max_steps, adjoint)
    stop_loss, horizon = jnp.asarray(stop_loss, float), jnp.asarray(horizon, float)
    found, begin, end, steps = _search(*without_derivatives((flow, stop_loss, horizon)))
    solution = flow.through(jnp.where(found, begin, horizon)[None])
    assert solution.ys is not None
    before = jax.tree.map(lambda leaf: leaf[0], solution.ys)
    length = _length(*without_derivatives((flow, begin, end, before, stop_loss)))
    y = _step(flow, begin, length, before)
    # What is left is rounding, and the derivatives of the stopping time.
    loss, rate, velocity = _falling(flow, y)
    moved = found & (begin + length > 0) & (rate < 0)
    shift = (stop_loss - loss) / without_derivatives(jnp.where(moved, rate, 1.0))
    shift = jnp.where(moved, shift, 0.0)
    y = jax.tree.map(lambda a, v: a + shift * without_derivatives(v), y, velocity)
    over = status_of(solution)
    there = jnp.abs(jnp.log(flow.coordinates.loss(y) / stop_loss)) <= _NEAR
    at_stop = jnp.where(there | ~moved, int(Status.LOSS), int(Status.TOO_SMALL))
    return Followed(
        times=jnp.where(found, begin + length + shift, horizon),
        factors=flow.coordinates.factors(y),
        status=jnp.where(found & (over == Status.HORIZON), at_stop, over),
        steps=steps + solution.stats["num_steps"],
    )


def _search(
    flow: FollowedFlow, stop_loss: Float[Array, ""], horizon: Float[Array, ""]
) -> tuple[Bool[Array, ""], Float[Array, ""], Float[Array, ""], Int[Array, ""]]:
    """Whether the loss gets there, the start and the end of the step in which it does, the steps.

    Times are 0 where it does not, and where it is already there.
    """

    def reached(t: Any, y: DynamicState, coordinates: Any, **_: Any) -> Array:
        del t
        return coordinates.loss(y) <= stop_loss

    solution = flow.solve(
        horizon,
        saveat=diffrax.SaveAt(steps=True, fn=lambda t, y, args: jnp.zeros(())),
        stepsize_controller=flow.control,
        adjoint=diffrax.ForwardMode(),
        event=diffrax.Event(reached),
    )
    assert solution.ts is not None
    count, already = solution.stats["num_accepted_steps"], reached(0, flow.state, flow.coordinates)
    inside = (solution.result == diffrax.RESULTS.event_occurred) & ~already
    ends = jnp.where(inside, solution.ts[jnp.stack([count - 2, count - 1])], 0.0)
    begin = jnp.where(count > 1, ends[0], 0.0)
    return inside | already, begin, ends[1], solution.stats["num_steps"]


def _length(
    flow: FollowedFlow,
    begin: Float[Array, ""],
    end: Float[Array, ""],
    y: DynamicState,
    stop_loss: Float[Array, ""],
) -> Float[Array, ""]:
    """How long the last step is: Newton's method in log loss, or halving where that leads away."""

    def look(carry: Any) -> Any:
        low, high, _, tried, _, count = carry
        loss, rate, _ = _falling(flow, _step(flow, begin, tried, y))
        miss = jnp.log(loss / stop_loss)
        low, high = jnp.where(miss > 0, tried, low), jnp.where(miss > 0, high, tried)
        after = tried - miss * loss / rate
        after = jnp.where((after > low) & (after < high), after, (low + high) / 2)
        return low, high, tried, after, miss, count + 1

    def missed(carry: Any) -> Array:
        low, high, *_, miss, count = carry
        return (high > low) & (jnp.abs(miss) > _CLOSE) & (count < _HALVINGS)

    zero, far = jnp.zeros_like(begin), jnp.full_like(begin, jnp.inf)
    start = (zero, end - begin, zero, (end - begin) / 2, far, 0)
    return jax.lax.while_loop(missed, look, start)[2]


def _step(
    flow: FollowedFlow, begin: Float[Array, ""], length: Float[Array, ""], y: DynamicState
) -> DynamicState:
    """Where a step of this length, not longer than one that was taken, ends."""
    terms, coordinates, end = flow.terms, flow.coordinates, begin + length
    kept = flow.solver.init(terms, begin, end, y, coordinates)
    return flow.solver.step(terms, begin, end, y, coordinates, kept, jnp.asarray(False))[0]


def _falling(flow: FollowedFlow, y: DynamicState) -> tuple[Array, Array, DynamicState]:
    """The loss, its change per time, and the velocity."""
    velocity = flow.coordinates.velocity(y)
    return *jax.jvp(flow.coordinates.loss, (y,), (velocity,)), velocity
