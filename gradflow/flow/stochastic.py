"""Flows with noise: stochastic differential equations by diffrax's solvers, many seeds at once."""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gradflow._util.annotations import Checked
from gradflow._util.options import takes_options
from gradflow._util.progress import DescentProgress
from gradflow._util.provenance import describe, plain, provenance
from gradflow._util.random import Keys, as_keys
from gradflow.dynamics.noise import AbstractNoise
from gradflow.factorizations.base import Factors
from gradflow.flow.placing import require_float64
from gradflow.flow.stochastic_doubts import long_steps
from gradflow.flow.stochastic_options import StochasticOptions, steps_between
from gradflow.objective import Objective
from gradflow.observables import check_entries, default_observables, resolve
from gradflow.start import Start, as_factors
from gradflow.state import FactorsView, State, recordable
from gradflow.trajectory import Outcome, Trajectory, named_factors, named_observables

_FINEST = 2.0**-20
"""Brownian motions are the same down to this share of the horizon, whatever the step."""


class _Seeds(eqx.Module):
    """Where the seeds are: each array with them along its first axis."""

    factors: Factors
    loss: Float[Array, "*k"]
    running: Bool[Array, "*k"]
    steps: Int[Array, "*k"]


class _Equation(eqx.Module):
    """What is solved for one seed.

    Attributes:
      objective: whose gradient it goes down.
      noise: what is added to that.
      solver: a diffrax solver.
      end: the last time.
      step: the longest step.
      target: the loss to stop at; None for none.
    """

    objective: Objective
    noise: AbstractNoise
    solver: diffrax.AbstractSolver
    end: Float[Array, ""]
    step: Float[Array, ""]
    target: Float[Array, ""] | None

    def terms(self, keys: Keys, factors: Factors) -> diffrax.MultiTerm:
        """Drift and diffusion, as solvers take them."""
        motion = diffrax.VirtualBrownianTree(
            jnp.zeros_like(self.end),
            self.end,
            jnp.minimum(self.step / 2, self.end * _FINEST),
            self.noise.motions(self.objective, factors),
            keys.key(),
            levy_area=_levy_area(self.solver),
        )
        drift = diffrax.ODETerm(_drift)
        if self.noise.additive:
            fixed = self.noise.operator(self.objective, factors)
            return diffrax.MultiTerm(drift, diffrax.ControlTerm(lambda t, y, args: fixed, motion))
        return diffrax.MultiTerm(drift, diffrax.ControlTerm(_diffusion, motion))


def _levy_area(solver: diffrax.AbstractSolver) -> Any:
    """What a solver wants to know of Brownian motions beside their increments; what costs least."""
    least = getattr(solver, "minimal_levy_area", diffrax.AbstractBrownianIncrement)
    areas = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
    return next(area for area in areas if issubclass(area, least))


def _drift(t: Any, factors: Factors, equation: _Equation) -> Factors:
    del t
    return jax.tree.map(jnp.negative, equation.objective.gradient(factors))


def _diffusion(t: Any, factors: Factors, equation: _Equation) -> Any:
    del t
    return equation.noise.operator(equation.objective, factors)


@takes_options(StochasticOptions)
def solve_sdes(
    objective: Objective,
    start: Start,
    noise: Checked[AbstractNoise],
    keys: Any,
    options: StochasticOptions,
) -> list[Trajectory]:
    r"""Solve gradient flow with noise from one start, for many seeds at once.

    The equation is dW_j = -(d value / dW_j) dt + noise, in Ito's sense; see
    `gradflow.dynamics.Langevin` and `gradflow.dynamics.MinibatchNoise`. Steps have a fixed length:
    half of it shows how far the numbers hang on it, and where it is long beside the curvature at
    the start or the end there is a warning. A Brownian motion hangs on its key, the horizon
    and the solver, and with less than half a million steps not on their number, so that both see
    the same path.

    Args:
      objective: the problem, its factorisation and, if any, its penalty.
      start: the factors W_1, ..., W_N; or a matrix W, which stands for balanced factors of it; or
        named factors, such as a trajectory's `final`.
      noise: `Langevin(temperature)`, `MinibatchNoise(rate, batch)`, or an own one.
      keys: a `jax.random.key`, or several, as by `jax.random.split(key, 100)`.
      options: the fields of `StochasticOptions`, as keywords.

    Returns:
      One `Trajectory` a key; `gradflow.plotting.plot_quantiles` draws them. Seeds go side by side:
      what one gives hangs on the others by rounding alone.

    Raises:
      ValueError: on wrong shapes, float32, an objective that does not have this noise, a
        solver for another sense, a step or a horizon out of range.

    Example:
      >>> import gradflow as gf, jax
      >>> problem = gf.LeastSquares([[1.0]], [[2.0]])
      >>> objective = gf.Objective(problem, gf.MatrixProduct((1, 1)))
      >>> cold = gf.dynamics.Langevin(temperature=1e-4)
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> runs = solve_sdes(objective, ([[0.0]],), cold, keys, step=0.1, horizon=9)
      >>> len(runs), [round(run["loss"][-1].item(), 2) for run in runs]
      (3, [0.0, 0.0, 0.0])

    References:
      Kloeden and Platen 1992, for orders; Foster, dos Reis and Strange 2023, for ShARK.
    """
    times = options.check()
    solver = _see_noise(objective, noise, options)
    if isinstance(start, Trajectory):
        raise ValueError(
            "A flow with noise takes up no trajectory, whose Brownian motion ended with it; start "
            "from its `final`, with new keys."
        )
    factors = as_factors(objective, start)
    require_float64(objective, factors)
    found = as_keys(keys, "keys")
    numbers = found.numbers if found.numbers.ndim > 1 else found.numbers[None]
    found = Keys(numbers, found.kind)
    observe = options.observe
    pairs = resolve(default_observables(objective.problem) if observe is None else observe)
    check_entries(pairs, State(FactorsView(objective), factors))
    target = None if options.stop_loss is None else jnp.asarray(options.stop_loss)
    equation = _Equation(
        objective, noise, solver, jnp.asarray(times[-1], float), jnp.asarray(options.step, float),
        target,
    )  # fmt: skip
    tick = time.perf_counter()
    seeds, ends, recorded = _solved(equation, factors, found, pairs, times, options)
    seconds = time.perf_counter() - tick
    config = _config(objective, noise, options, solver, [name for name, _ in pairs])
    told = long_steps(
        jax.tree_util.Partial(_drift, None, equation=equation), factors, seeds.factors,
        float(np.max(np.diff(times) / steps_between(times, float(options.step)))), solver,
    )  # fmt: skip
    for sentence in sorted({sentence for sentence in told if sentence}, key=len)[:1]:
        warnings.warn(f"In this flow {sentence}.", RuntimeWarning, stacklevel=3)
    return _trajectories(seeds, factors, (ends, recorded), found, config, seconds, told)


def _solved(
    equation: _Equation,
    factors: Factors,
    keys: Keys,
    pairs: Any,
    times: np.ndarray,
    options: StochasticOptions,
) -> tuple[_Seeds, list[np.ndarray], list[Any]]:
    """The seeds at their ends; times and records on the way, with whether each was running."""
    counts = steps_between(times, float(options.step))
    seeds = _begin(equation, factors, keys)
    recorded = [(np.asarray(seeds.running), _seen(equation.objective, pairs, seeds.factors))]
    ends = [np.zeros(len(keys.numbers))]
    with DescentProgress(options.progress, int(counts.sum())) as bar:
        for k, count in enumerate(counts.tolist()):
            running = np.asarray(seeds.running)
            if not running.any():
                break
            begin, end = float(times[k]), float(times[k + 1])
            span = jnp.asarray(begin), jnp.asarray(end)
            seeds = _advance(equation, seeds, keys, span, jnp.asarray(count))
            done = np.asarray(seeds.steps) - int(counts[:k].sum())
            ends.append(begin + (end - begin) * done / count)
            recorded.append((running, _seen(equation.objective, pairs, seeds.factors)))
            bar(int(np.max(seeds.steps)), float(np.max(seeds.loss)))
    return seeds, ends, recorded


def _see_noise(
    objective: Objective, noise: Any, options: StochasticOptions
) -> diffrax.AbstractSolver:
    """The solver for this noise.

    Raises:
      ValueError: if there is none, or the objective does not have the noise.
    """
    if not isinstance(noise, AbstractNoise):
        raise ValueError(
            "noise must be one of gradflow.dynamics, Langevin(temperature) or MinibatchNoise(rate, "
            f"batch), but it is {noise!r}."
        )
    noise.check(objective)
    solver = options.solver
    if solver is None:
        return noise.solver()
    if not isinstance(solver, diffrax.AbstractSolver):
        raise ValueError(f"solver must be one of diffrax's, but it is {solver!r}.")
    senses = (diffrax.AbstractItoSolver, *(diffrax.AbstractStratonovichSolver,) * noise.additive)
    if not isinstance(solver, senses):
        raise ValueError(
            f"{type(solver).__name__} does not solve equations in Ito's sense, and the noise of "
            f"{type(noise).__name__} hangs on the factors; take diffrax.Euler(), or leave solver "
            "away."
        )
    return solver


@eqx.filter_jit
def _begin(equation: _Equation, factors: Factors, keys: Keys) -> _Seeds:
    count = keys.numbers.shape[0]
    spread = jax.tree.map(lambda f: jnp.broadcast_to(f, (count, *f.shape)), factors)
    loss = jnp.broadcast_to(equation.objective.loss(factors), (count,))
    return _Seeds(spread, loss, _going(equation, loss), jnp.zeros(count, jnp.int32))


def _going(equation: _Equation, loss: Array) -> Bool[Array, "*k"]:
    """Whether nothing ends the flow."""
    good = jnp.isfinite(loss)
    return good if equation.target is None else good & (loss > equation.target)


@eqx.filter_jit
def _advance(
    equation: _Equation, seeds: _Seeds, keys: Keys, span: tuple[Array, Array], count: Array
) -> _Seeds:
    """From one record to the next, in so many steps."""
    begin, end = span

    def one(seed: _Seeds, key: Keys) -> _Seeds:
        terms, solver = equation.terms(key, seed.factors), equation.solver
        state = solver.init(terms, begin, begin + equation.step, seed.factors, equation)

        def at(k: Array) -> Array:
            return jnp.where(k == count, end, begin + (end - begin) * k / count)

        def going(carry: Any) -> Array:
            k, _, running = carry[:3]
            return (k < count) & running

        def step(carry: Any) -> Any:
            k, factors, _, state = carry
            factors, _, _, state, _ = solver.step(
                terms, at(k), at(k + 1), factors, equation, state, jnp.asarray(False)
            )
            running = jnp.asarray(True)
            if equation.target is not None:
                running = _going(equation, equation.objective.loss(factors))
            return k + 1, factors, running, state

        first = (jnp.zeros_like(count), seed.factors, seed.running, state)
        k, factors, _, _ = jax.lax.while_loop(going, step, first)
        loss = equation.objective.loss(factors)
        going_on = seed.running & _going(equation, loss)
        return _Seeds(factors, loss, going_on, seed.steps + k.astype(seed.steps.dtype))

    return jax.vmap(one)(seeds, keys)


@eqx.filter_jit
def _seen(objective: Objective, pairs: Any, factors: Factors) -> dict[str, Any]:
    def one(factors: Factors) -> dict[str, Any]:
        view = State(FactorsView(objective), factors)
        return {name: recordable(name, function(view)) for name, function in pairs}

    return jax.vmap(one)(factors)


def _config(
    objective: Objective,
    noise: AbstractNoise,
    options: StochasticOptions,
    solver: Any,
    observe: Sequence[str],
) -> dict[str, Any]:
    """What was asked, as it is stored."""
    return {
        "kind": "stochastic flow",
        "objective": describe(objective),
        "noise": plain(noise) | {"name": noise.name},
        "step": float(options.step),
        "stop_loss": options.stop_loss,
        "solver": type(solver).__name__,
        "dtype": "float64",
        "observe": list(observe),
        **provenance(),
    }


def _trajectories(
    seeds: _Seeds,
    start: Factors,
    records: tuple[list[np.ndarray], list[Any]],
    keys: Keys,
    config: dict[str, Any],
    seconds: float,
    told: list[str | None],
) -> list[Trajectory]:
    """One a seed, each with the records up to its own end."""
    ends, recorded = records
    seen = jax.device_get([found for _, found in recorded])
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays, axis=1), *seen)
    observables = named_observables(config["observe"], stacked)
    times = np.stack(ends, axis=1)
    kept = np.stack([running for running, _ in recorded], axis=1)
    kept[:, 0] = True
    last, loss = jax.device_get(seeds.factors), np.asarray(seeds.loss)
    found = []
    for k, key in enumerate(np.asarray(keys.numbers)):
        outcome = Outcome.REACHED_HORIZON if bool(seeds.running[k]) else Outcome.REACHED_LOSS
        own = times[k, kept[k]]
        found.append(
            Trajectory(
                times=own,
                observables={name: array[k, kept[k]] for name, array in observables.items()},
                final=named_factors([f[k] for f in last]),
                initial=named_factors(start),
                outcome=outcome if np.isfinite(loss[k]) else Outcome.DIVERGED,
                stats={
                    "steps": int(seeds.steps[k]),
                    "rejected": 0,
                    "end": float(own[-1]),
                    "seconds": seconds,
                }
                | ({"warnings": [said]} if (said := told[k]) else {}),
                config=config | {"key": key.tolist()},
            )
        )
    return found
