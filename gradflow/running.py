r"""From a plan to the end of a flow, alone or in a batch."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow.integrate import Status, integrate
from gradflow.landing import Stop
from gradflow.plan import Plan
from gradflow.progress import FlowProgress
from gradflow.recording import Records

_CHARTS = 50
"""Charts a flow may go through."""


def run(plan: Plan, progress: bool, begun: dict[str, Any] | None = None) -> dict[str, Any]:
    """Integrate, in one chart after the other where the first does not reach the end."""
    chart, y = plan.chart, plan.y
    parts: list[Any] = []
    t, accepted, rejected, status, work = 0.0, 0, 0, Status.STRAINED, None
    with FlowProgress(progress, plan.asked.stop_loss) as bar:
        while status is Status.STRAINED and len(parts) < _CHARTS:
            if parts:
                chart, y = chart.moved_to(y)
            if begun is None:
                spent = accepted + rejected
                part = integrate(*_arguments(plan, t, spent, bar.handle, chart, y), progress)
            else:
                part, begun = begun, None
            recorded = (part["times"], part["observables"])
            kept = np.asarray(part["valid"])
            parts.append(jax.tree.map(lambda x, kept=kept: np.asarray(x)[kept], recorded))
            y, t, status = part["y"], float(part["t"]), Status(int(part["status"]))
            accepted += int(part["accepted"])
            rejected += int(part["rejected"])
            work = part["work"]
    times, observables = jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)
    return {
        "times": times,
        "observables": observables,
        "y": y,
        "t": t,
        "status": status,
        "accepted": accepted,
        "rejected": rejected,
        "charts": len(parts),
        "work": work,
    }


def run_together(plans: list[Plan]) -> list[dict[str, Any]]:
    """Integrate all in one compiled call; those that need another chart go on one by one."""
    all_arguments = [_arguments(p, 0.0, 0, 0, p.chart, p.y) for p in plans]
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
    return [
        run(plan, False, begun=jax.tree.map(lambda leaf, k=k: leaf[k], results))
        for k, plan in enumerate(plans)
    ]


def _arguments(plan: Plan, t: float, spent: int, handle: int, chart: Any, y: Any) -> tuple:
    """The arrays and trees that `integrate` takes, from a point on."""
    asked, number = plan.asked, jnp.float64
    stop = Stop(
        None if asked.stop_loss is None else jnp.asarray(asked.stop_loss, number),
        None if asked.stop_gradient is None else jnp.asarray(asked.stop_gradient, number),
        jnp.asarray(asked.max_steps - spent, jnp.int64),
    )
    return (
        chart,
        y,
        jnp.asarray(t, number),
        jnp.asarray(plan.scale, number),
        Records(jnp.asarray(plan.grid, number), plan.pairs, jnp.asarray(plan.interpolate)),
        plan.solver,
        jnp.asarray(asked.rtol, number),
        jnp.asarray(plan.atol, number),
        stop,
        jnp.asarray(handle),
    )


@eqx.filter_jit
def _integrate_all(stacked: Any, rest: Any, in_turn: bool) -> Any:
    def one(arrays: Any) -> Any:
        return integrate(*eqx.combine(arrays, rest), progress=False)

    return jax.lax.map(one, stacked) if in_turn else jax.vmap(one)(stacked)
