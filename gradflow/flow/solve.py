r"""Continuous time: the exact gradient flow, integrated with error control.

The loop is in `gradflow.integrate`; here is what a user asks for, and what comes back.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import diffrax
import jax.numpy as jnp
from jaxtyping import Array

from gradflow._util.provenance import describe, provenance
from gradflow.coordinates.base import AbstractChart, ChartName
from gradflow.coordinates.factors import FactorChart
from gradflow.factorizations.base import Factors
from gradflow.flow.drive import run, run_together
from gradflow.flow.loop import Status
from gradflow.flow.setup import Asked, Plan, plan_flow
from gradflow.objective import Objective
from gradflow.observables import Observe
from gradflow.penalties.base import AbstractParameterPenalty
from gradflow.trajectory import Outcome, Trajectory, named_arrays, named_observables

_OUTCOMES = {
    Status.LOSS: Outcome.REACHED_LOSS,
    Status.GRADIENT: Outcome.REACHED_GRADIENT_NORM,
    Status.HORIZON: Outcome.REACHED_HORIZON,
    Status.STEPS: Outcome.OUT_OF_STEPS,
    Status.TOO_SMALL: Outcome.STEP_TOO_SMALL,
    Status.STRAINED: Outcome.STEP_TOO_SMALL,
    Status.DIVERGED: Outcome.DIVERGED,
    Status.KINK: Outcome.LOST_GRADIENT,
}


def solve_flow(
    objective: Objective,
    start: Factors | Array,
    *,
    coordinates: ChartName | AbstractChart = "auto",
    horizon: float | None = None,
    stop_loss: float | None = None,
    stop_gradient: float | None = None,
    times: Any = None,
    interpolate: bool | None = None,
    observe: Observe | None = None,
    solver: diffrax.AbstractSolver | Literal["auto"] = "auto",
    rtol: float = 1e-8,
    atol: float | None = None,
    max_steps: int = 10_000_000,
    progress: bool = False,
) -> Trajectory:
    r"""Integrate the gradient flow dW_j/dt = -d value/dW_j from a start until a stop.

    The value is the loss, plus the objective's penalty if it has one.

    Args:
      objective: the problem, its factorisation and, if any, its penalty.
      start: the factors W_1, ..., W_N (float64), or a matrix W, which stands for balanced factors
        of it.
      coordinates: "factors" (any start), "product" (balanced; the matrix alone), "singular"
        (balanced; log singular values and vectors, distinct and not zero), "logdet" (balanced 2x2
        completion; the determinant's sign is kept and its logarithm followed), or "auto": "logdet"
        where it is possible and the observables need no factors, else "factors". Or a chart whose
        coordinates are the factors, such as `gradflow.adam_chart` gives.
      horizon: the last time; without it, 1e10 times the start's time scale (1e22 in "logdet"
        coordinates).
      stop_loss: stop where the loss (without penalty) has fallen to this value.
      stop_gradient: stop where the norm of the gradient in the factors has fallen to this value.
      times: when to record, rising; by default 24 times a decade (10 in "logdet" coordinates),
        from 1/100 of the time scale of the start on. The start and the end are always recorded.
      interpolate: let stabilised steps pass recording times, and record from their cubic
        interpolants, whose error is of the order of the steps' own. By default the default times
        are interpolated and given ones are landed on. Explicit steps always land.
      observe: names from `gradflow.observables`, or a dictionary of functions of a `State`.
      solver: any diffrax solver with an error estimate, or "auto": by the number and kind of the
        coordinates. The stats name the choice and its reason.
      rtol: relative tolerance of a step: of the root mean square of all coordinates ("factors",
        "product"), or entry by entry. While the product rises from a small start at depth 3 or
        more, steps are more accurate than that, because the rise amplifies their errors. So the
        product's relative error is of the order of rtol: 0.08 to 7 times rtol on 20 random
        completion problems of depths 1 to 5. It is also how small a singular value may be, next to
        the largest, to count as zero where the penalty has a kink at zero: there the flow ends, as
        having lost its gradient. Balanced factors have no kink there, and go on; singular values
        below rtol are then only known to be so, as the penalty fades out for them.
      atol: absolute tolerance; by default 1e-3 rtol times the root mean square of the start
        ("factors", "product"), rtol times that ("singular"), or 1e-2 rtol ("logdet").
      max_steps: accepted and rejected steps allowed.
      progress: show time and loss while it runs.

    Returns:
      A `Trajectory`; its outcome says how the flow ended. Its stats: steps, rejected, charts taken
      (a small pivot in "logdet" coordinates gives way to another), end_time, solver, coordinates
      and the reasons for them; and, where the solver counts them, gradients, hessian_products and
      spectral_radius (the largest seen); and invariant_drift, the largest change of W_{j+1}^T
      W_{j+1} - W_j W_j^T (of the squared norms' differences, for CP tensors) against the largest
      squared norm of a factor, where the flow conserves it.

    Raises:
      ValueError: on float32 input, no stop, wrong shapes, a start that the coordinates cannot hold
        or where the penalty has no gradient, tolerances or times that are not positive and finite.

    Example:
      >>> import gradflow as gf
      >>> problem = gf.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=2))
      >>> start = gf.identity_factors((2, 2, 2), 1e-2)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-6)
      >>> flow.outcome.name, round(float(flow["unobserved_entries"][-1, 0]))
      ('REACHED_LOSS', 707)
      >>> flow.stats["coordinates"]
      'logdet'

    References:
      razin2020, Equation (4); arora2019, Equation (4).
    """
    asked = Asked(coordinates, horizon, stop_loss, stop_gradient, times, interpolate, observe,
                   solver, rtol, atol, max_steps)  # fmt: skip
    plan = plan_flow(objective, start, asked)
    return _trajectory(plan, run(plan, progress))


def solve_flows(
    objectives: Objective | Sequence[Objective],
    starts: Sequence[Factors | Array],
    *,
    coordinates: ChartName = "auto",
    horizon: float | None = None,
    stop_loss: float | None = None,
    stop_gradient: float | None = None,
    times: Any = None,
    interpolate: bool | None = None,
    observe: Observe | None = None,
    solver: diffrax.AbstractSolver | Literal["auto"] = "auto",
    rtol: float = 1e-8,
    atol: float | None = None,
    max_steps: int = 10_000_000,
) -> list[Trajectory]:
    """Integrate a batch of flows of one shape in one compiled call: seeds, scales, data.

    Each flow takes its own steps and stops by itself. On a CPU they run one after the other, on an
    accelerator side by side, until the last one is done.

    Args:
      objectives: one for all, or one a start; problems of one kind, shape and number of
        observations.
      starts: one a flow, as for `solve_flow`.
      coordinates: as for `solve_flow`; "auto" must come out the same for all.
      horizon: as for `solve_flow`, and so are all others.
      stop_loss: see there.
      stop_gradient: see there.
      times: see there.
      interpolate: see there.
      observe: see there.
      solver: see there.
      rtol: see there.
      atol: see there.
      max_steps: see there, for each flow.

    Returns:
      One `Trajectory` a flow, each what `solve_flow` gives.

    Raises:
      ValueError: as `solve_flow`; and if there is no start, numbers differ or flows are not alike.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> starts = [gf.identity_factors((2, 2, 2), scale) for scale in (0.1, 0.01)]
      >>> flows = solve_flows(objective, starts, stop_loss=1e-3)
      >>> [round(float(flow["loss"][-1]), 6) for flow in flows]
      [0.001, 0.001]
    """
    starts = list(starts)
    if not starts:
        raise ValueError("There is no start at all; give at least one.")
    many = [objectives] * len(starts) if isinstance(objectives, Objective) else list(objectives)
    if len(many) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(many)} objectives.")
    asked = Asked(coordinates, horizon, stop_loss, stop_gradient, times, interpolate, observe,
                   solver, rtol, atol, max_steps)  # fmt: skip
    plans = [plan_flow(one, start, asked) for one, start in zip(many, starts, strict=True)]
    return [
        _trajectory(plan, result) for plan, result in zip(plans, run_together(plans), strict=True)
    ]


def _trajectory(plan: Plan, result: dict[str, Any]) -> Trajectory:
    asked, solver, chart = plan.asked, plan.solver, plan.chart
    config = {
        "kind": "flow",
        "objective": describe(plan.objective),
        "coordinates": chart.name,
        "solver": type(solver).__name__,
        "solver_fields": {k: v for k, v in vars(solver).items() if isinstance(v, int | float)},
        "rtol": asked.rtol,
        "atol": plan.atol,
        "horizon": asked.horizon,
        "stop_loss": asked.stop_loss,
        "stop_gradient": asked.stop_gradient,
        "max_steps": asked.max_steps,
        "dtype": str(plan.factors[0].dtype),
        "observe": [name for name, _ in plan.pairs],
        **provenance(),
    }
    names = [name for name, _ in plan.pairs]
    return Trajectory(
        times=result["times"],
        observables=named_observables(names, result["observables"]),
        final=named_arrays(result["y"]),
        initial=named_arrays(plan.factors),
        outcome=_OUTCOMES[result["status"]],
        stats={
            "steps": result["accepted"],
            "rejected": result["rejected"],
            "charts": result["charts"],
            "end_time": result["t"],
            "coordinates": chart.name,
            "coordinates_reason": plan.reasons[0],
            "solver": type(solver).__name__,
            "solver_reason": plan.reasons[1],
            **_spent(plan, result),
            **_drift(plan, result["y"]),
        },
        config=json.loads(json.dumps(config, default=str)),
    )


def _spent(plan: Plan, result: dict[str, Any]) -> dict[str, float]:
    """Gradients and Hessian-vector products, as far as the solver counts them."""
    work = result["work"]
    if work is not None:
        return {
            "gradients": int(work.fields),
            "hessian_products": int(work.products),
            "spectral_radius": float(work.radius),
        }
    if isinstance(plan.solver, diffrax.AbstractERK):
        tableau: Any = plan.solver.tableau
        attempts = result["accepted"] + result["rejected"]
        return {"gradients": 1 + attempts * (tableau.num_stages - bool(tableau.fsal))}
    return {}


def _drift(plan: Plan, y: Any) -> dict[str, float]:
    """How far the invariants have moved, against the largest squared norm of a factor."""
    of_factors = isinstance(plan.objective.penalty, AbstractParameterPenalty)
    if not isinstance(plan.chart, FactorChart) or of_factors:  # the second moves them
        return {}
    model = plan.objective.factorization
    changes = [
        jnp.linalg.norm(after - before)
        for before, after in zip(model.invariants(plan.factors), model.invariants(y), strict=True)
    ]
    if not changes:
        return {}
    size = max(float(jnp.sum(f**2)) for f in y)
    return {"invariant_drift": float(max(changes)) / (size or 1.0)}
