r"""Continuous time: the exact gradient flow, integrated with error control.

The loop is in `gradflow.integrate`; here is what a user asks for, and what comes back.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gradflow._validate import finite_array, positive, same_float_dtype, whole
from gradflow.charts import (
    AbstractChart,
    ChartName,
    FactorChart,
    ProductChart,
    SingularChart,
    balanced_start,
)
from gradflow.choice import choose_coordinates, choose_solver
from gradflow.describe import describe
from gradflow.factorizations import Factors, MatrixProduct, Objective
from gradflow.initializations import balanced_factors
from gradflow.integrate import Status, integrate
from gradflow.logdet_chart import LogDetChart, choose_pivot
from gradflow.observables import Observable, Observe, State, default_observables, resolve
from gradflow.problems import MatrixCompletion
from gradflow.progress import FlowProgress
from gradflow.spectrum import _clusters
from gradflow.trajectory import (
    Outcome,
    Trajectory,
    named_arrays,
    named_observables,
    provenance,
)

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
_RECORDS = {False: (12, 24), True: (24, 10)}
"""Decades and records a decade by default, without and with a logarithmic clock."""
_CHARTS = 50


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
        "product"), or entry by entry. It is also how small a singular value may be, next to the
        largest, to count as zero where the penalty has a kink at zero: there the flow ends, as
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
    asked = _Asked(coordinates, horizon, stop_loss, stop_gradient, times, interpolate, observe,
                   solver, rtol, atol, max_steps)  # fmt: skip
    plan = _plan(objective, start, asked)
    return _trajectory(plan, _run(plan, progress))


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
    asked = _Asked(coordinates, horizon, stop_loss, stop_gradient, times, interpolate, observe,
                   solver, rtol, atol, max_steps)  # fmt: skip
    plans = [_plan(one, start, asked) for one, start in zip(many, starts, strict=True)]
    return [
        _trajectory(plan, result) for plan, result in zip(plans, _run_together(plans), strict=True)
    ]


class _Asked(NamedTuple):
    """What the user asked for, apart from the objective and the start."""

    coordinates: ChartName | AbstractChart
    horizon: float | None
    stop_loss: float | None
    stop_gradient: float | None
    times: Any
    interpolate: bool | None
    observe: Observe | None
    solver: diffrax.AbstractSolver | Literal["auto"]
    rtol: float
    atol: float | None
    max_steps: int


class _Plan(NamedTuple):
    """A flow, ready to run."""

    objective: Objective
    factors: Factors
    chart: AbstractChart
    y: Any
    grid: np.ndarray
    scale: float
    pairs: tuple[tuple[str, Observable], ...]
    solver: diffrax.AbstractSolver
    atol: float
    interpolate: bool
    reasons: tuple[str, str]
    asked: _Asked


def _plan(objective: Objective, start: Factors | Array, asked: _Asked) -> _Plan:
    factors = _as_factors(objective, start)
    dtype = same_float_dtype(objective=objective, start=factors)
    if dtype != jnp.float64:
        raise ValueError(
            f"A flow needs float64, but the input is {dtype}: round-off would decide the result. "
            'Call jax.config.update("jax_enable_x64", True) before anything else, '
            "or use gradflow.run_descent for float32 runs."
        )
    if asked.horizon is None and asked.stop_loss is None and asked.stop_gradient is None:
        raise ValueError("Give at least one of horizon, stop_loss and stop_gradient.")
    for name in ("horizon", "stop_loss", "stop_gradient", "rtol", "atol"):
        if getattr(asked, name) is not None:
            positive(name, getattr(asked, name))
    whole("max_steps", asked.max_steps)
    solver = asked.solver
    if solver != "auto" and not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise ValueError(
            f"solver must be 'auto' or a diffrax solver with an error estimate, such as "
            f"diffrax.Tsit5(), but it is {solver!r}."
        )
    pairs = resolve(
        default_observables(objective.problem) if asked.observe is None else asked.observe
    )

    coordinates, why = asked.coordinates, "as asked"
    if isinstance(coordinates, str) and coordinates == "auto":
        coordinates, why = choose_coordinates(objective, factors)
    if isinstance(coordinates, AbstractChart):
        chart, y = coordinates, factors
    else:
        chart, y = _chart(objective, factors, coordinates)
    if asked.coordinates == "auto" and not _observable(chart, y, pairs):
        (chart, y), why = _chart(objective, factors, "factors"), "the observables need the factors"
    if not bool(chart.smooth(y, asked.rtol)):
        raise ValueError(
            f"{type(objective.penalty).__name__} has no gradient at the start: singular values of "
            f"the product below rtol = {asked.rtol} times the largest count as zero. Start from a "
            "product of full rank, lower rtol, or use gradflow.run_descent, which takes a "
            "subgradient."
        )

    solver, because = choose_solver(chart, y) if solver == "auto" else (solver, "as asked")
    atol = asked.atol
    if atol is None:
        atol = asked.rtol * (1e-2 if chart.log_clock else _rms(y) * (1e-3 if chart.normwise else 1))
    scale = _time_scale(chart, y)
    grid = _record_times(asked.times, asked.horizon, scale, chart.log_clock)
    interpolate = asked.times is None if asked.interpolate is None else asked.interpolate
    return _Plan(objective, factors, chart, y, grid, scale, pairs, solver, atol, interpolate,
                 (why, because), asked)  # fmt: skip


def _observable(chart: AbstractChart, y: Any, pairs: tuple[tuple[str, Observable], ...]) -> bool:
    """Whether the coordinates know all that is to be observed."""
    try:
        jax.eval_shape(lambda y: [function(State(chart, y)) for _, function in pairs], y)
    except ValueError:
        return False
    return True


def _trajectory(plan: _Plan, result: dict[str, Any]) -> Trajectory:
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


def _spent(plan: _Plan, result: dict[str, Any]) -> dict[str, float]:
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


def _drift(plan: _Plan, y: Any) -> dict[str, float]:
    """How far the invariants have moved, against the largest squared norm of a factor."""
    if not isinstance(plan.chart, FactorChart):
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


def _as_factors(objective: Objective, start: Any) -> Factors:
    model = objective.factorization
    if isinstance(start, tuple | list):
        return model.check([finite_array(f"start[{k}]", f) for k, f in enumerate(start)])
    w = finite_array("start", start)
    if not isinstance(model, MatrixProduct):
        raise ValueError(
            f"{type(model).__name__} needs its factors as the start, but a single array was given."
        )
    return balanced_factors(w, model.sizes)


def _chart(objective: Objective, factors: Factors, coordinates: str) -> tuple[AbstractChart, Any]:
    problem = objective.problem
    if coordinates == "factors":
        return FactorChart(objective), factors
    if coordinates not in ("product", "singular", "logdet"):
        raise ValueError(
            f"coordinates must be 'factors', 'product', 'singular' or 'logdet', "
            f"but it is {coordinates!r}."
        )
    model = balanced_start(objective, factors)
    w = objective.product(factors)
    if coordinates == "product":
        return ProductChart(problem, model.depth), w
    if model.depth < 2:
        raise ValueError(
            f"At depth {model.depth} singular values do change sign, so coordinates="
            f"{coordinates!r} cannot follow the flow; use coordinates='factors'."
        )
    if coordinates == "singular":
        u, s, vt = jnp.linalg.svd(w, full_matrices=False)
        if float(s[-1]) == 0 or _clusters(np.asarray(s), 1e-10):
            raise ValueError(
                f"coordinates='singular' needs distinct singular values above 0, but the start has "
                f"{np.asarray(s)[:4].tolist()}...; use 'product', or 'logdet' at 2x2."
            )
        return SingularChart(problem, model.depth), (jnp.log(s), u, vt.T)
    if not isinstance(problem, MatrixCompletion) or problem.shape != (2, 2):
        raise ValueError(
            f"coordinates='logdet' is for 2x2 matrix completion, but the problem is a "
            f"{type(problem).__name__} of shape {problem.shape}; use 'singular' or 'product'."
        )
    sign, log_abs_det = FactorChart(objective).slogdet(factors)
    if float(sign) == 0:
        raise ValueError(
            "coordinates='logdet' needs a start of non-zero determinant; use 'product'."
        )
    pivot = choose_pivot(problem, w)
    chart = LogDetChart(problem, sign, jnp.sign(w[pivot]), model.depth, pivot)
    return chart, chart.encode(w, log_abs_det)


def _rms(y: Any) -> float:
    leaves = jax.tree.leaves(y)
    total = sum(float(jnp.sum(leaf**2)) for leaf in leaves)
    value = (total / sum(leaf.size for leaf in leaves)) ** 0.5
    return value if value > 0 else 1.0


@eqx.filter_jit
def _time_scale_jit(chart: AbstractChart, y: Any) -> Array:
    """How long the product would take to change by its own size at its first speed."""
    w, speed = jax.jvp(chart.product, (y,), (chart.velocity(y),))
    return jnp.linalg.norm(w.ravel()) / jnp.linalg.norm(speed.ravel())


def _time_scale(chart: AbstractChart, y: Any) -> float:
    scale = float(_time_scale_jit(chart, y))
    return scale if np.isfinite(scale) and scale > 0 else 1.0


def _record_times(times: Any, horizon: float | None, scale: float, log_clock: bool) -> np.ndarray:
    """Times to land on, from 0; the last is the horizon."""
    if times is None:
        first = scale * 1e-2
        decades, each = _RECORDS[log_clock]
        grid = first * 10.0 ** (np.arange(decades * each) / each)
        if horizon is not None:
            # The number of records stays, so that another horizon does not compile again.
            ends = (min(first, horizon * 1e-3), horizon)
            grid = np.geomspace(*ends, len(grid)) if grid[-1] > horizon else grid
            grid[-1] = horizon
    else:
        grid = finite_array("times", times, ndim=1)
        if grid.size == 0 or np.any(np.diff(grid) <= 0) or grid[0] < 0:
            raise ValueError(
                f"times must be rising numbers from 0 on, but they are {grid[:5].tolist()}...."
            )
        if horizon is not None:
            grid = np.append(grid[grid < horizon], horizon)
    return np.concatenate([[0.0], grid[grid > 0]])


def _arguments(plan: _Plan, t: float, spent: int, handle: int, chart: Any, y: Any) -> tuple:
    """The arrays and trees that `integrate` takes, from a point on."""
    asked, number = plan.asked, jnp.float64
    return (
        chart,
        y,
        jnp.asarray(t, number),
        jnp.asarray(plan.grid, number),
        jnp.asarray(plan.scale, number),
        plan.pairs,
        plan.solver,
        jnp.asarray(asked.rtol, number),
        jnp.asarray(plan.atol, number),
        jnp.asarray(-np.inf if asked.stop_loss is None else asked.stop_loss, number),
        jnp.asarray(-1.0 if asked.stop_gradient is None else asked.stop_gradient, number),
        jnp.asarray(asked.max_steps - spent, jnp.int64),
        jnp.asarray(plan.interpolate),
        jnp.asarray(handle),
    )


def _run(plan: _Plan, progress: bool, begun: dict[str, Any] | None = None) -> dict[str, Any]:
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


def _run_together(plans: list[_Plan]) -> list[dict[str, Any]]:
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
        _run(plan, False, begun=jax.tree.map(lambda leaf, k=k: leaf[k], results))
        for k, plan in enumerate(plans)
    ]


@eqx.filter_jit
def _integrate_all(stacked: Any, rest: Any, in_turn: bool) -> Any:
    def one(arrays: Any) -> Any:
        return integrate(*eqx.combine(arrays, rest), progress=False)

    return jax.lax.map(one, stacked) if in_turn else jax.vmap(one)(stacked)
