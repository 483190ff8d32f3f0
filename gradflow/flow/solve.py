r"""Continuous time: the exact flow, integrated with error control.

The loop is in `gradflow.flow.loop`; here is what a user asks for, and what comes back.
"""

import json
import warnings
from collections.abc import Sequence
from typing import Any

import diffrax

from gradflow._util.logs import LOGGER
from gradflow._util.options import takes_options
from gradflow._util.provenance import describe, provenance
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.product import ProductCoordinates
from gradflow.flow.doubts import doubts, times_are_lost
from gradflow.flow.drive import run, run_together
from gradflow.flow.options import FlowOptions
from gradflow.flow.readings import AtEnd
from gradflow.flow.resuming import described
from gradflow.flow.setup import PreparedFlow, prepare_flow, prepare_flows
from gradflow.flow.stacking import unlike
from gradflow.flow.stopping import Status
from gradflow.objective import Objective
from gradflow.start import Start
from gradflow.trajectory import Outcome, Trajectory, named_observables

_OUTCOMES = {
    Status.LOSS: Outcome.REACHED_LOSS,
    Status.GRADIENT: Outcome.REACHED_GRADIENT_NORM,
    Status.HORIZON: Outcome.REACHED_HORIZON,
    Status.STEPS: Outcome.OUT_OF_STEPS,
    Status.TOO_SMALL: Outcome.STEP_TOO_SMALL,
    Status.NEAR_SINGULARITY: Outcome.STEP_TOO_SMALL,
    Status.DIVERGED: Outcome.DIVERGED,
    Status.STALLED: Outcome.STALLED,
    Status.CLOCK: Outcome.STEP_TOO_SMALL,
    Status.KINK: Outcome.LOST_GRADIENT,
}
_OLD = {"times": "record"}


@takes_options(FlowOptions, renamed=_OLD)
def solve_flow(objective: Objective, start: Start, options: FlowOptions) -> Trajectory:
    r"""Integrate a flow, such as dW_j/dt = -d value/dW_j, from a start until a stop.

    The value is the loss, plus the objective's penalty if it has one. A flow ends at the first of
    `stop_loss`, `stop_gradient` and `horizon`; at least one of these, or `record`, must be given.

    Args:
      objective: the problem, its factorisation and, if any, its penalty.
      start: the factors W_1, ..., W_N (float64); or a matrix W, which stands for balanced factors
        of it; or a flow's trajectory, which goes on in its own coordinates from where it ended: its
        time too, so that `horizon` and `record` are counted from the first start, while `max_steps`
        are those of this call; `gradflow.join` makes one of both. Or a trajectory's `final`, which
        is taken up likewise, but from time 0 on.
      options: the fields of `FlowOptions`, as keywords.

    Returns:
      A `Trajectory`; its outcome says how the flow ended. Its stats: steps, rejected, end (the last
      time), seconds (of all that went together), coordinates and solver with their reasons, charts
      (how many coordinates were gone through: a small pivot in "logdet" coordinates gives way to
      another); rise (how many times errors of the start may grow, beyond what steps are more
      accurate for); sign (of the start's determinant, where it is watched); rank (of the start's
      product, where it is not full and the flow keeps it); where the solver counts them, gradients,
      hessian_products and spectral_radius (the largest seen); and invariant_drift, the largest
      change of W_{j+1}^T W_{j+1} - W_j W_j^T (of the factorisation's invariants)
      against the largest squared norm of a factor, where the flow conserves it. What
      speaks against its numbers is in `warnings`, and is given as a Python warning too.

    Raises:
      ValueError: on float32 input, no stop, wrong shapes, a start that the coordinates cannot hold
        or where the penalty has no gradient, an observable that they do not know, tolerances or
        times that are not positive and finite.

    Example:
      >>> import gradflow as gf
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=2))
      >>> start = objective.factorization.identity(1e-2)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-6)
      >>> flow.outcome.name, round(float(flow["unobserved_entries"][-1, 0]))
      ('REACHED_LOSS', 707)
      >>> flow.stats["coordinates"]
      'logdet'

    References:
      razin2020, Equation (4); arora2019, Equation (4).
    """
    flow = prepare_flow(objective, start, options)
    return _trajectory(flow, run(flow), _Descriptions())


@takes_options(FlowOptions, renamed=_OLD)
def solve_flows(
    objectives: Objective | Sequence[Objective], starts: Sequence[Start], options: FlowOptions
) -> list[Trajectory]:
    """Integrate a batch of flows of one shape in one compiled call: seeds, scales, data.

    Each flow takes its own steps and stops by itself. On a CPU they run one after the other, on an
    accelerator side by side, until the last one is done. Where "auto" takes other coordinates for
    some starts than for others, there is one such call for each kind.

    Args:
      objectives: one for all, or one a start; problems of one kind, shape and number of
        observations.
      starts: one a flow, as for `solve_flow`.
      options: as for `solve_flow`, for all; only `horizon`, `rtol` and `atol` may be lists with one
        a flow.

    Returns:
      One `Trajectory` a flow, each what `solve_flow` gives.

    Raises:
      ValueError: as `solve_flow`; and if there is no start, numbers differ or flows are not alike.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> starts = [objective.factorization.identity(scale) for scale in (0.1, 0.01)]
      >>> flows = solve_flows(objective, starts, stop_loss=1e-3)
      >>> [round(float(flow["loss"][-1]), 6) for flow in flows]
      [0.001, 0.001]
    """
    starts = list(starts)
    if not starts:
        raise ValueError("There is no start at all; give at least one.")
    if options.mesh is not None:
        raise ValueError(
            f"A mesh is for one flow, but this is a batch of {len(starts)}; leave mesh away, or "
            "use gradflow.solve_flow."
        )
    many = [objectives] * len(starts) if isinstance(objectives, Objective) else list(objectives)
    if len(many) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(many)} objectives.")
    _check_kinds(many)
    asked = options.one_each(len(starts))
    batches = prepare_flows(many, starts, asked)
    known, made = _Descriptions(), {}
    for batch in batches:
        for k, flow, result in zip(batch.places, batch.flows, run_together(batch), strict=True):
            made[k] = _trajectory(flow, result, known)
    return [made[k] for k in range(len(starts))]


def _check_kinds(objectives: list[Objective]) -> None:
    """See that the batch is one, as far as can be seen before flows are prepared."""
    kinds = [
        (type(one.problem), type(one.factorization), one.factorization.factor_shapes)
        for one in objectives
    ]
    for k, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise unlike(k)


class _Descriptions:
    """What stored runs say of objectives, dynamics and solvers, once for each of them."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, ...], dict[str, Any]] = {}

    def of(self, flow: PreparedFlow) -> dict[str, Any]:
        """Of a flow that lives longer than this."""
        key = (id(flow.objective), id(flow.dynamics), id(flow.solver))
        if key not in self.known:
            fields = {k: v for k, v in vars(flow.solver).items() if isinstance(v, int | float)}
            self.known[key] = _plain(
                {
                    "objective": describe(flow.objective),
                    "dynamics": described(flow.dynamics),
                    "solver": type(flow.solver).__name__,
                    "solver_fields": fields,
                    **provenance(),
                }
            )
        return self.known[key]


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config, default=str))


def _trajectory(flow: PreparedFlow, result: dict[str, Any], known: _Descriptions) -> Trajectory:
    options, solver, coordinates = flow.options, flow.solver, result["coordinates"]
    names = [name for name, _ in flow.pairs]
    drift = _drift(flow, result["read"])
    warned = doubts(flow, result, drift.get("invariant_drift"))
    for sentence in warned:
        warnings.warn(f"In this flow {sentence}.", RuntimeWarning, stacklevel=4)
    warned = [*flow.before.warnings, *warned]
    asked = {
        "coordinates": coordinates.name,
        "rtol": options.rtol,
        "atol": flow.atol,
        "horizon": options.horizon,
        "stop_loss": options.stop_loss,
        "stop_gradient": options.stop_gradient,
        "max_steps": options.max_steps,
        "dtype": "float64",
        "observe": names,
        **({"resumed_at": flow.before.time} if flow.before.resumed else {}),
        **({} if options.mesh is None else {"mesh": dict(options.mesh.shape)}),
    }
    outcome, steps = _outcome(flow, result), result["accepted"]
    LOGGER.info("flow: %s at t = %.6g after %d steps", outcome.name, result["t"], steps)
    return Trajectory(
        times=result["times"],
        observables=named_observables(names, result["observables"]),
        final=dict(result["read"].named),
        initial=flow.initial,
        outcome=outcome,
        stats={
            "steps": steps,
            "rejected": result["rejected"],
            "end": result["t"],
            "seconds": result["seconds"],
            "charts": result["charts"],
            "coordinates": coordinates.name,
            "coordinates_reason": flow.reasons[0],
            "solver": type(solver).__name__,
            "solver_reason": flow.reasons[1],
            "rise": flow.before.rise,
            **_watched(flow),
            **({} if flow.before.rank is None else {"rank": flow.before.rank}),
            **_spent(flow, result),
            **drift,
            **({"warnings": warned} if warned else {}),
        },
        config={"kind": "flow"} | known.of(flow) | _plain(asked),
    )


def _outcome(flow: PreparedFlow, result: dict[str, Any]) -> Outcome:
    outcome = _OUTCOMES[result["status"]]
    lost = outcome is Outcome.REACHED_HORIZON and times_are_lost(flow, result["read"])
    return Outcome.LOST_TIME if lost else outcome


def _watched(flow: PreparedFlow) -> dict[str, float]:
    """The sign of the determinant, where it is watched rather than held."""
    if not isinstance(flow.coordinates, FactorCoordinates | ProductCoordinates):
        return {}
    sign = flow.coordinates.sign
    return {} if sign is None else {"sign": float(sign)}


def _spent(flow: PreparedFlow, result: dict[str, Any]) -> dict[str, float]:
    """Gradients and Hessian-vector products, as far as the solver counts them."""
    work = result["work"]
    if work is not None:
        return {
            "gradients": int(work.fields),
            "hessian_products": int(work.products),
            "spectral_radius": float(work.radius),
        }
    if isinstance(flow.solver, diffrax.AbstractERK):
        tableau: Any = flow.solver.tableau
        attempts = result["accepted"] + result["rejected"]
        return {"gradients": 1 + attempts * (tableau.num_stages - bool(tableau.fsal))}
    return {}


def _drift(flow: PreparedFlow, read: AtEnd) -> dict[str, float]:
    """How far the invariants have moved, against the largest squared norm of a factor."""
    if read.moved is None:
        return {}
    change, size = map(float, read.moved)
    return {"invariant_drift": change / (size or 1.0) + flow.before.drift}
