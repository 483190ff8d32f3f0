r"""What a flow needs before it starts: checks, coordinates, solver, tolerances, recording times."""

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
from gradflow.factorizations import Factors, MatrixProduct, Objective
from gradflow.initializations import balanced_factors
from gradflow.logdet_chart import LogDetChart, choose_pivot
from gradflow.observables import Observable, Observe, State, default_observables, resolve
from gradflow.problems import MatrixCompletion
from gradflow.spectrum import _clusters

_RECORDS = {False: (12, 24), True: (24, 10)}
"""Decades and records a decade by default, without and with a logarithmic clock."""


class Asked(NamedTuple):
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


class Plan(NamedTuple):
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
    asked: Asked


def plan_flow(objective: Objective, start: Factors | Array, asked: Asked) -> Plan:
    """Check what was asked and choose what was left open; see `gradflow.solve_flow`.

    Raises:
      ValueError: as `gradflow.solve_flow` says.
    """
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
    return Plan(objective, factors, chart, y, grid, scale, pairs, solver, atol, interpolate,
                 (why, because), asked)  # fmt: skip


def _observable(chart: AbstractChart, y: Any, pairs: tuple[tuple[str, Observable], ...]) -> bool:
    """Whether the coordinates know all that is to be observed."""
    try:
        jax.eval_shape(lambda y: [function(State(chart, y)) for _, function in pairs], y)
    except ValueError:
        return False
    return True


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
    if not np.any(np.asarray(chart.product(y))):
        return 1.0  # at rest it would be 0 / 0
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
            grid *= min(1.0, horizon * 1e-3 / first)
            grid[grid > horizon * (1 - 1e-9)] = horizon
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
