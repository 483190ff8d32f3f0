r"""Continuous time: the exact gradient flow, integrated with error control.

One loop serves all charts and all diffrax solvers: it takes steps with the solver and its
controller, lands exactly on the recording times and on the stopping loss (no interpolation), and
says how it ended.
"""

import json
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

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
from gradflow.logdet_chart import LogDetChart, choose_pivot
from gradflow.observables import Observable, Observe, State, default_observables, resolve
from gradflow.problems import MatrixCompletion
from gradflow.progress import FlowProgress, report
from gradflow.solvers import LinearlyImplicitExtrapolation
from gradflow.spectrum import _clusters
from gradflow.trajectory import Outcome, Trajectory, named_arrays, provenance

_RUNNING, _LOSS, _GRADIENT, _HORIZON, _STEPS, _TOO_SMALL, _DIVERGED = range(7)
_OUTCOMES = {
    _LOSS: Outcome.REACHED_LOSS,
    _GRADIENT: Outcome.REACHED_GRADIENT_NORM,
    _HORIZON: Outcome.REACHED_HORIZON,
    _STEPS: Outcome.OUT_OF_STEPS,
    _TOO_SMALL: Outcome.STEP_TOO_SMALL,
    _DIVERGED: Outcome.DIVERGED,
}
_DECADES, _PER_DECADE = 24, 10


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
      horizon: the last time.
      stop_loss: stop where the loss has fallen to this value.
      stop_gradient: stop where the norm of the gradient in the factors has fallen to this value.
      times: when to record, rising; by default 10 times a decade, from 1/100 of the time scale of
        the start on. The start and the end are always recorded.
      observe: names from `gradflow.observables`, or a dictionary of functions of a `State`.
      solver: any diffrax solver with an error estimate. By default Tsit5, and linearly implicit
        extrapolation in "logdet" coordinates.
      rtol: relative tolerance of a step, entry by entry (root mean square over the entries).
      atol: absolute tolerance; by default rtol times the root mean square of the start, and
        1e-2 rtol in "logdet" coordinates.
      max_steps: accepted and rejected steps allowed.
      progress: show time and loss while it runs.

    Returns:
      A `Trajectory`; its outcome says how the flow ended, its stats count steps and rejections.

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
    grid = _record_times(times, horizon, scale)

    result = _run(chart, y, grid, scale, pairs, solver, rtol, atol, stop_loss, stop_gradient,
                  max_steps, progress)  # fmt: skip
    kept = np.asarray(result["valid"])
    observables: dict[str, Any] = {}
    for name, _ in pairs:
        value = result["observables"][name]
        if isinstance(value, tuple):
            observables |= {f"{name}_{k}": np.asarray(v)[kept] for k, v in enumerate(value, 1)}
        else:
            observables[name] = np.asarray(value)[kept]
    status = int(result["status"])
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
        times=np.asarray(result["times"])[kept],
        observables=observables,
        final=named_arrays(result["y"]),
        initial=named_arrays(factors),
        outcome=_OUTCOMES[status],
        stats={
            "steps": int(result["accepted"]),
            "rejected": int(result["rejected"]),
            "end_time": float(result["t"]),
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


def _record_times(times: Any, horizon: float | None, scale: float) -> np.ndarray:
    """Times to land on, from 0; the last is the horizon."""
    if times is None:
        first = scale * 1e-2
        grid = first * 10.0 ** (np.arange(_DECADES * _PER_DECADE) / _PER_DECADE)
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
    number = jnp.float64
    with FlowProgress(progress, stop_loss) as bar:
        result = _integrate(
            chart,
            y,
            jnp.asarray(grid, number),
            jnp.asarray(scale, number),
            pairs,
            solver,
            jnp.asarray(rtol, number),
            jnp.asarray(atol, number),
            jnp.asarray(-1.0 if stop_loss is None else stop_loss, number),
            jnp.asarray(-1.0 if stop_gradient is None else stop_gradient, number),
            jnp.asarray(max_steps, jnp.int64),
            jnp.asarray(bar.handle),
            progress,
        )
        return jax.block_until_ready(result)


class _Carry(eqx.Module):
    clock: Float[Array, ""]
    dt: Float[Array, ""]
    y: Any
    loss: Float[Array, ""]
    beyond: Float[Array, ""]
    loss_beyond: Float[Array, ""]
    solver_state: Any
    controller_state: Any
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]
    status: Int[Array, ""]


@eqx.filter_jit
def _integrate(
    chart: AbstractChart,
    y0: Any,
    grid: Float[Array, " r"],
    scale: Float[Array, ""],
    pairs: tuple[tuple[str, Observable], ...],
    solver: diffrax.AbstractSolver,
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    stop_loss: Float[Array, ""],
    stop_gradient: Float[Array, ""],
    max_steps: Int[Array, ""],
    handle: Int[Array, ""],
    progress: bool,
) -> dict[str, Any]:
    """Step through the recording times.

    A logarithmic clock tau = log(1 + t/scale) replaces t where the chart asks for it. Where a step
    ends below
    the stopping loss it is not taken: it is tried again, shorter, until it ends on that loss.
    """

    def of_clock(clock: Array) -> Array:
        return scale * jnp.expm1(clock) if chart.log_clock else clock

    def field(clock: Any, y: Any, args: Any) -> Any:
        rate = scale * jnp.exp(clock) if chart.log_clock else 1.0
        return jax.tree.map(lambda v: rate * v, args.velocity(y))

    terms = diffrax.ODETerm(field)
    controller = diffrax.PIDController(rtol=rtol, atol=atol)
    solver = _with_tolerances(solver, rtol, atol)
    marks = jnp.log1p(grid / scale) if chart.log_clock else grid
    order = solver.order(terms)
    assert order is not None
    clock0 = jnp.zeros((), grid.dtype)
    first, controller_state = controller.init(
        terms, clock0, marks[-1], y0, None, chart, solver.func, order
    )
    far = jnp.asarray(jnp.inf, grid.dtype)
    carry = _Carry(
        clock=clock0,
        dt=jnp.asarray(first, grid.dtype),
        y=y0,
        loss=chart.loss(y0),
        beyond=far,
        loss_beyond=far,
        solver_state=solver.init(terms, clock0, first, y0, chart),
        controller_state=jax.tree.map(jnp.asarray, controller_state),
        accepted=jnp.zeros((), jnp.int64),
        rejected=jnp.zeros((), jnp.int64),
        status=jnp.asarray(_RUNNING),
    )
    carry = eqx.tree_at(lambda c: c.status, carry, _stop(chart, carry, stop_loss, stop_gradient))

    def step(carry: _Carry, mark: Array) -> _Carry:
        target = jnp.minimum(carry.clock + carry.dt, mark)
        # Bracketed: the stopping loss lies between `clock` and `beyond`; aim at it in log loss.
        bracketed = jnp.isfinite(carry.beyond)
        share = jnp.log(carry.loss / stop_loss) / jnp.log(carry.loss / carry.loss_beyond)
        share = jnp.clip(jnp.where(jnp.isfinite(share), share, 0.5), 0.01, 1.0)
        aim = carry.clock + share * (carry.beyond - carry.clock)
        target = jnp.where(bracketed, jnp.minimum(target, aim), target)
        y1, error, _, solver_state, result = solver.step(
            terms, carry.clock, target, carry.y, chart, carry.solver_state, jnp.asarray(False)
        )
        good = result == diffrax.RESULTS.successful
        error = jax.tree.map(
            lambda e: jnp.where(good & jnp.isfinite(e), e, jnp.inf).astype(grid.dtype), error
        )
        keep, _, after, _, controller_state, _ = controller.adapt_step_size(
            carry.clock, target, carry.y, y1, chart, error, order, carry.controller_state
        )
        loss = chart.loss(y1)
        keep = keep & jnp.isfinite(loss)
        below = keep & (stop_loss > 0) & (loss < stop_loss * (1 - 1e-9))
        taken = keep & ~below
        moved = jnp.where(taken, target, carry.clock)
        dt = after - jnp.where(keep, target, carry.clock)
        # A step that was cut short to land on a mark says little about the next one's size.
        cut = taken & (target < carry.clock + carry.dt)
        dt = jnp.where(cut, jnp.maximum(dt, carry.dt), dt)
        dt = jnp.where(below, carry.dt, dt)

        def pick(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(taken, a, b), new, old)

        accepted = carry.accepted + taken
        rejected = carry.rejected + ~taken
        carry = _Carry(
            clock=moved,
            dt=dt,
            y=pick(y1, carry.y),
            loss=jnp.where(taken, loss, carry.loss),
            beyond=jnp.where(below, target, carry.beyond),
            loss_beyond=jnp.where(below, loss, carry.loss_beyond),
            solver_state=pick(solver_state, carry.solver_state),
            controller_state=jax.tree.map(
                lambda a, b: jnp.where(below, b, a), controller_state, carry.controller_state
            ),
            accepted=accepted,
            rejected=rejected,
            status=carry.status,
        )
        status = _stop(chart, carry, stop_loss, stop_gradient)
        status = jnp.where(
            (status == _RUNNING) & (accepted + rejected >= max_steps), _STEPS, status
        )
        resolution = 4 * jnp.finfo(grid.dtype).eps * jnp.maximum(moved, marks[1] * 1e-6)
        stuck = (status == _RUNNING) & ~(dt > resolution)
        status = jnp.where(stuck, jnp.where(bracketed & below, _LOSS, _TOO_SMALL), status)
        return eqx.tree_at(lambda c: c.status, carry, status)

    def observe(carry: _Carry) -> Any:
        state = State(chart, carry.y)
        return {name: function(state) for name, function in pairs}

    shapes = jax.eval_shape(observe, carry)

    def to_mark(carry: _Carry, mark: Array) -> tuple[_Carry, Any]:
        alive = carry.status == _RUNNING
        first_time = mark == 0
        carry = jax.lax.while_loop(
            lambda c: (c.status == _RUNNING) & (c.clock < mark),
            lambda c: step(c, mark),
            carry,
        )
        valid = alive | first_time
        seen = jax.lax.cond(
            valid,
            observe,
            lambda _: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes),
            carry,
        )
        if progress:
            report(handle, of_clock(carry.clock), carry.loss, carry.accepted, valid)
        return carry, (valid, of_clock(carry.clock), seen)

    carry, (valid, times, seen) = jax.lax.scan(to_mark, carry, marks)
    status = jnp.where(carry.status == _RUNNING, _HORIZON, carry.status)
    return {
        "valid": valid,
        "times": times,
        "observables": seen,
        "y": carry.y,
        "t": of_clock(carry.clock),
        "status": status,
        "accepted": carry.accepted,
        "rejected": carry.rejected,
    }


def _stop(
    chart: AbstractChart, carry: _Carry, stop_loss: Array, stop_gradient: Array
) -> Int[Array, ""]:
    """The status after a step: running, or why not."""
    status = jnp.where(carry.loss <= stop_loss * (1 + 1e-9), _LOSS, _RUNNING)
    small = jax.lax.cond(
        stop_gradient > 0,
        lambda y: chart.squared_speed(y) <= stop_gradient**2,
        lambda y: jnp.asarray(False),
        carry.y,
    )
    status = jnp.where(small, _GRADIENT, status)
    return jnp.where(jnp.isfinite(carry.loss), status, _DIVERGED)


def _with_tolerances(
    solver: diffrax.AbstractSolver, rtol: Array, atol: Array
) -> diffrax.AbstractSolver:
    """Give an implicit solver's root finder the step's tolerances, as `diffeqsolve` does."""
    finder = getattr(solver, "root_finder", None)
    if finder is None:
        return solver
    unset = diffrax.with_stepsize_controller_tols(diffrax.VeryChord)().rtol
    norm = diffrax.PIDController(rtol=1.0, atol=1.0).norm
    for name, value in (("rtol", rtol), ("atol", atol), ("norm", norm)):
        if getattr(finder, name, None) is unset:
            finder = eqx.tree_at(
                lambda f, name=name: getattr(f, name), finder, value, is_leaf=lambda x: x is unset
            )
    return eqx.tree_at(lambda s: s.root_finder, solver, finder)
