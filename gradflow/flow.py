r"""Continuous time: the exact gradient flow, integrated with error control.

The loop is in `gradflow.integrate`; here is what a user asks for, and what comes back.
"""

import json
from typing import Any

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
from gradflow.describe import describe
from gradflow.factorizations import Factors, MatrixProduct, Objective
from gradflow.initializations import balanced_factors
from gradflow.integrate import Status, integrate
from gradflow.logdet_chart import LogDetChart, choose_pivot
from gradflow.observables import Observable, Observe, default_observables, resolve
from gradflow.problems import MatrixCompletion
from gradflow.progress import FlowProgress
from gradflow.solvers import LinearlyImplicitExtrapolation
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
}
_RECORDS = {False: (12, 24), True: (24, 10)}
"""Decades and records a decade by default, without and with a logarithmic clock."""
_CHARTS = 50


def solve_flow(
    objective: Objective,
    start: Factors | Array,
    *,
    coordinates: ChartName = "factors",
    horizon: float | None = None,
    stop_loss: float | None = None,
    stop_gradient: float | None = None,
    times: Any = None,
    observe: Observe | None = None,
    solver: diffrax.AbstractSolver | None = None,
    rtol: float = 1e-8,
    atol: float | None = None,
    max_steps: int = 10_000_000,
    progress: bool = False,
) -> Trajectory:
    r"""Integrate the gradient flow dW_j/dt = -d loss/dW_j from a start until a stop.

    Args:
      objective: the problem and its factorisation.
      start: the factors W_1, ..., W_N (float64), or a matrix W, which stands for balanced factors
        of it.
      coordinates: "factors" (any start), "product" (balanced; the matrix alone), "singular"
        (balanced; log singular values and vectors, distinct and not zero), "logdet" (balanced 2x2
        completion; the determinant's sign is kept and its logarithm followed).
      horizon: the last time; without it, 1e10 times the start's time scale (1e22 in "logdet"
        coordinates).
      stop_loss: stop where the loss has fallen to this value.
      stop_gradient: stop where the norm of the gradient in the factors has fallen to this value.
      times: when to record, rising; by default 24 times a decade (10 in "logdet" coordinates),
        from 1/100 of the time scale of the start on. The start and the end are always recorded.
      observe: names from `gradflow.observables`, or a dictionary of functions of a `State`.
      solver: any diffrax solver with an error estimate. By default Tsit5, and linearly implicit
        extrapolation in "logdet" coordinates.
      rtol: relative tolerance of a step, entry by entry (root mean square over the entries).
      atol: absolute tolerance; by default rtol times the root mean square of the start, and
        1e-2 rtol in "logdet" coordinates.
      max_steps: accepted and rejected steps allowed.
      progress: show time and loss while it runs.

    Returns:
      A `Trajectory`; its outcome says how the flow ended, its stats count steps, rejections
      and the charts it took (a small pivot in "logdet" coordinates gives way to another).

    Raises:
      ValueError: on float32 input, no stop, wrong shapes, a start that the coordinates cannot hold,
        tolerances or times that are not positive and finite.

    Example:
      >>> import gradflow as gf
      >>> problem = gf.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=2))
      >>> start = gf.identity_factors((2, 2, 2), 1e-2)
      >>> flow = gf.solve_flow(objective, start, coordinates="logdet", stop_loss=1e-6)
      >>> flow.outcome.name, round(float(flow["unobserved_entries"][-1, 0]))
      ('REACHED_LOSS', 707)

    References:
      razin2020, Equation (4); arora2019, Equation (4).
    """
    factors = _as_factors(objective, start)
    dtype = same_float_dtype(objective=objective, start=factors)
    if dtype != jnp.float64:
        raise ValueError(
            f"A flow needs float64, but the input is {dtype}: round-off would decide the result. "
            'Call jax.config.update("jax_enable_x64", True) before anything else, '
            "or use gradflow.run_descent for float32 runs."
        )
    if horizon is None and stop_loss is None and stop_gradient is None:
        raise ValueError("Give at least one of horizon, stop_loss and stop_gradient.")
    stops = {
        "horizon": horizon,
        "stop_loss": stop_loss,
        "stop_gradient": stop_gradient,
        "rtol": rtol,
        "atol": atol,
    }
    for name, value in stops.items():
        if value is not None:
            positive(name, value)
    whole("max_steps", max_steps)
    if solver is not None and not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise ValueError(
            f"solver must be a diffrax solver with an error estimate, such as diffrax.Tsit5(), "
            f"but it is {solver!r}."
        )

    chart, y = _chart(objective, factors, coordinates)
    if solver is None:
        solver = LinearlyImplicitExtrapolation() if chart.log_clock else diffrax.Tsit5()
    if atol is None:
        atol = rtol * (1e-2 if chart.log_clock else _rms(y))
    pairs = resolve(default_observables(objective.problem) if observe is None else observe)
    scale = _time_scale(chart, y)
    grid = _record_times(times, horizon, scale, chart.log_clock)

    result = _run(chart, y, grid, scale, pairs, solver, rtol, atol, stop_loss, stop_gradient,
                  max_steps, progress)  # fmt: skip
    config = {
        "kind": "flow",
        "objective": describe(objective),
        "coordinates": chart.name,
        "solver": type(solver).__name__,
        "solver_fields": {k: v for k, v in vars(solver).items() if isinstance(v, int | float)},
        "rtol": rtol,
        "atol": atol,
        "horizon": horizon,
        "stop_loss": stop_loss,
        "stop_gradient": stop_gradient,
        "max_steps": max_steps,
        "dtype": str(dtype),
        "observe": [name for name, _ in pairs],
        **provenance(),
    }
    return Trajectory(
        times=result["times"],
        observables=named_observables([name for name, _ in pairs], result["observables"]),
        final=named_arrays(result["y"]),
        initial=named_arrays(factors),
        outcome=_OUTCOMES[result["status"]],
        stats={
            "steps": result["accepted"],
            "rejected": result["rejected"],
            "charts": result["charts"],
            "end_time": result["t"],
        },
        config=json.loads(json.dumps(config, default=str)),
    )


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


def _run(
    chart: AbstractChart,
    y: Any,
    grid: np.ndarray,
    scale: float,
    pairs: tuple[tuple[str, Observable], ...],
    solver: diffrax.AbstractSolver,
    rtol: float,
    atol: float,
    stop_loss: float | None,
    stop_gradient: float | None,
    max_steps: int,
    progress: bool,
) -> dict[str, Any]:
    """Integrate, in one chart after the other where the first does not reach the end."""
    number = jnp.float64
    parts: list[Any] = []
    t, accepted, rejected, status = 0.0, 0, 0, Status.STRAINED
    with FlowProgress(progress, stop_loss) as bar:
        while status is Status.STRAINED and len(parts) < _CHARTS:
            if parts:
                chart, y = chart.moved_to(y)
            part = integrate(
                chart,
                y,
                jnp.asarray(t, number),
                jnp.asarray(grid, number),
                jnp.asarray(scale, number),
                pairs,
                solver,
                jnp.asarray(rtol, number),
                jnp.asarray(atol, number),
                jnp.asarray(-np.inf if stop_loss is None else stop_loss, number),
                jnp.asarray(-1.0 if stop_gradient is None else stop_gradient, number),
                jnp.asarray(max_steps - accepted - rejected, jnp.int64),
                jnp.asarray(bar.handle),
                progress,
            )
            recorded = (part["times"], part["observables"])
            kept = np.asarray(part["valid"])
            parts.append(jax.tree.map(lambda x, kept=kept: np.asarray(x)[kept], recorded))
            y, t, status = part["y"], float(part["t"]), Status(int(part["status"]))
            accepted += int(part["accepted"])
            rejected += int(part["rejected"])
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
    }
