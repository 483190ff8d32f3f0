"""From a prepared flow to its end, alone or in a batch."""

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.progress import FlowProgress
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.handover import handed_over
from gradflow.flow.clock import Clock
from gradflow.flow.loop import Status, integrate
from gradflow.flow.recording import Records
from gradflow.flow.setup import PreparedFlow, time_scale
from gradflow.flow.stopping import Stop

_PARTS = 200
"""Coordinate systems and clocks that a flow may go through."""
_GO_ON = (Status.NEAR_SINGULARITY, Status.CLOCK)


def run(flow: PreparedFlow, begun: dict[str, Any] | None = None) -> dict[str, Any]:
    """Integrate, in one coordinate system after the other where the first does not reach the end.

    Where a logarithmic clock becomes too coarse, another one goes on from zero.

    Args:
      flow: what to integrate.
      begun: what the loop gave in the first coordinates, if it was run already.
    """
    coordinates, y, began = flow.coordinates, flow.y, time.perf_counter()
    parts: list[Any] = []
    t, accepted, rejected, status, work, charts = 0.0, 0, 0, Status.RUNNING, None, 1
    margins: list[float] = []
    base, scale, done = 0.0, flow.scale, np.zeros(flow.grid.size, bool)
    with FlowProgress(flow.options.progress, flow.options.stop_loss) as bar:
        while not parts or (status in _GO_ON and len(parts) < _PARTS):
            if status is Status.NEAR_SINGULARITY:
                coordinates, y = handed_over(coordinates, y)
                charts += 1
            elif status is Status.CLOCK:
                base, scale = t, time_scale(coordinates, y)
            if begun is None:
                spent = accepted + rejected
                clock = _clock(coordinates, scale, base)
                arguments = _arguments(flow, t, spent, bar.handle, coordinates, y, clock, done)
                part = integrate(*arguments, bar.handle >= 0)
            else:
                part, begun = begun, None
            recorded, done = (
                (part["times"], part["observables"]),
                done | np.asarray(part["reached"]),
            )
            kept = np.asarray(part["valid"])
            parts.append(jax.tree.map(lambda x, kept=kept: np.asarray(x)[kept], recorded))
            y, t, status = part["y"], float(part["t"]), Status(int(part["status"]))
            accepted += int(part["accepted"])
            rejected += int(part["rejected"])
            work = part["work"]
            margins += [] if part["margin"] is None else [float(part["margin"])]
    times, observables = jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)
    return {
        "times": times,
        "observables": observables,
        "coordinates": coordinates,
        "y": y,
        "t": t,
        "status": status,
        "accepted": accepted,
        "rejected": rejected,
        "charts": charts,
        "work": work,
        "margin": min(margins, default=None),
        "seconds": time.perf_counter() - began,
    }


def run_together(flows: list[PreparedFlow]) -> list[dict[str, Any]]:
    """Integrate all in one compiled call; those that need other coordinates go on one by one."""
    began = time.perf_counter()
    all_arguments = [
        _arguments(p, 0.0, 0, 0, p.coordinates, p.y, _clock(p.coordinates, p.scale, 0.0))
        for p in flows
    ]
    arrays, rest = zip(*(eqx.partition(a, eqx.is_array) for a in all_arguments), strict=True)
    shapes = [jax.tree.map(jnp.shape, a) for a in arrays]
    for k, (shape, other) in enumerate(zip(shapes, rest, strict=True)):
        if shape != shapes[0] or not eqx.tree_equal(other, rest[0]):
            raise ValueError(
                f"Flow {k} of the batch is not like the first: problems, factorisations, shapes, "
                "numbers of observations, coordinates and solvers must agree; "
                "run it by gradflow.solve_flow."
            )
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)
    results = _integrate_all(stacked, rest[0], jax.default_backend() == "cpu")
    ends = [
        run(flow, begun=jax.tree.map(lambda leaf, k=k: leaf[k], results))
        for k, flow in enumerate(flows)
    ]
    seconds = time.perf_counter() - began
    return [end | {"seconds": seconds} for end in ends]


def _clock(coordinates: AbstractCoordinates, scale: float, base: float) -> Clock:
    return Clock(coordinates.logarithmic_clock, *(jnp.asarray(x, float) for x in (scale, base)))


def _arguments(
    flow: PreparedFlow,
    t: float,
    spent: int,
    handle: int,
    coordinates: Any,
    y: Any,
    clock: Clock,
    done: Any = False,
) -> tuple:
    """The arrays and trees that `integrate` takes, from a point on."""
    options, number = flow.options, jnp.float64
    stop = Stop(
        None if options.stop_loss is None else jnp.asarray(options.stop_loss, number),
        None if options.stop_gradient is None else jnp.asarray(options.stop_gradient, number),
        jnp.asarray(options.max_steps - spent, jnp.int64),
    )
    return (
        coordinates,
        y,
        jnp.asarray(t, number),
        clock,
        Records(
            jnp.asarray(flow.grid, number),
            flow.pairs,
            jnp.asarray(flow.interpolate),
            jnp.full(flow.grid.shape, done),
        ),
        flow.solver,
        jnp.asarray(options.rtol, number),
        jnp.asarray(flow.atol, number),
        stop,
        jnp.asarray(handle),
    )


@eqx.filter_jit
def _integrate_all(stacked: Any, rest: Any, in_turn: bool) -> Any:
    def one(arrays: Any) -> Any:
        return integrate(*eqx.combine(arrays, rest), progress=False)

    return jax.lax.map(one, stacked) if in_turn else jax.vmap(one)(stacked)
