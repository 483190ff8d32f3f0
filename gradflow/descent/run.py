r"""Discrete time: gradient descent and every optax optimiser, in compiled chunks.

The stopping loss is looked at in every iteration, the observables are computed on the device at the
iterations asked for, and Python is entered only between chunks, to show progress.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from gradflow._util.annotations import Checked
from gradflow._util.logs import LOGGER
from gradflow._util.options import takes_options
from gradflow._util.programs import make_room
from gradflow._util.progress import DescentProgress
from gradflow._util.provenance import describe_function, fingerprint
from gradflow._util.spread import see_alike
from gradflow._util.validate import same_float_dtype
from gradflow.descent import side_by_side
from gradflow.descent.batch import RunningBatch
from gradflow.descent.checkpoint import Keeper
from gradflow.descent.drawing import drawn_anew, gather_draws, see_no_loss_asked, told_draws
from gradflow.descent.gathering import gather_objectives, gather_starts, stack_starts
from gradflow.descent.loop import BatchStep, Mode
from gradflow.descent.mixture import Optimizer, mixture
from gradflow.descent.options import DescentOptions
from gradflow.descent.rates import Rate, check_memory, check_optimizers, gather_rates
from gradflow.descent.records import log_marks
from gradflow.descent.resuming import check_rule, own_states, taken_up, with_states
from gradflow.descent.stopping import DIVERGED, GRADIENT, LOSS, RUNNING, StopRule
from gradflow.descent.telling import told_of_all, told_of_each
from gradflow.objective import Objective
from gradflow.observables import check_entries, default_observables, resolve
from gradflow.spreading import SPREAD_RECORDS, spread_objective, spread_tree
from gradflow.start import Start
from gradflow.state import FactorsView, State
from gradflow.trajectory import Outcome, Trajectory, named_factors, named_observables

_OUTCOMES = {
    RUNNING: Outcome.OUT_OF_STEPS,
    LOSS: Outcome.REACHED_LOSS,
    GRADIENT: Outcome.REACHED_GRADIENT_NORM,
    DIVERGED: Outcome.DIVERGED,
}


@takes_options(DescentOptions, renamed={"steps": "max_steps"})
def run_descent(
    objective: Objective, start: Start, optimizer: Checked[Optimizer], options: DescentOptions
) -> Trajectory:
    """Run an optax optimiser from a start until a stop or a number of iterations.

    Args:
      objective: the problem and its factorisation, in the precision of the run.
      start: the factors W_1, ..., W_N, in the same precision; or a matrix W, which stands for
        balanced factors of it; or a descent's trajectory, which goes on where it ended, optimiser
        and all, to the same bits as if it had never been stopped: `max_steps` and `record` are
        counted from the first start, and `gradflow.join` makes one of both; or a trajectory's
        `final`, which begins anew.
      optimizer: an optax transformation, or, with `learning_rate`, a function that makes one from a
        rate, such as `optax.sgd`: then another rate does not compile again.
      options: the fields of `DescentOptions`, as keywords.

    Returns:
      A `Trajectory` whose times are iterations, with the parameters before that iteration's update.
      Its stats: steps (iterations), rejected (0), end (the last iteration), seconds (of the whole
      batch).

    Raises:
      ValueError: on mixed precisions, wrong shapes, steps or rates out of range, a checkpoint that
        is damaged or of another run.

    Example:
      >>> import gradflow as gf, optax
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=3))
      >>> start = objective.factorization.identity(1e-2)
      >>> run = run_descent(
      ...     objective, start, optax.sgd, learning_rate=0.1, max_steps=5000, stop_loss=1e-2
      ... )
      >>> run.outcome.name, bool(run["loss"][-1] <= 1e-2)
      ('REACHED_LOSS', True)
    """
    target: Any = options.stop_loss
    if np.ndim(target):
        raise ValueError(
            f"stop_loss is one number for one run, but it is {target!r}; give "
            "run_descents a start for each."
        )
    return _run([objective], [start], [optimizer], [options.learning_rate], options)[0]


@takes_options(DescentOptions, renamed={"steps": "max_steps", "learning_rates": "learning_rate"})
def run_descents(
    objectives: Objective | Sequence[Objective],
    starts: Sequence[Start],
    optimizer: Checked[Optimizer | Sequence[Optimizer]],
    options: DescentOptions,
) -> list[Trajectory]:
    """Run a batch of descents of one shape in one compiled call: seeds, scales, learning rates.

    Runs may differ in optimiser and in penalty too. Loss and gradient of all of them are one call
    all the same, and so is the decomposition that penalties on singular values share.

    Args:
      objectives: one for all, or one a run; problems of one kind, shape and number of observations,
        with penalties of one kind, or of several on singular values that are had from an SVD.
      starts: one a run, as for `run_descent`.
      optimizer: as for `run_descent`, or one a run, all of them transformations or all functions of
        a rate.
      options: as for `run_descent`, for all; `learning_rate` and `stop_loss` may be one a run, and
        the loss that `progress` shows is the largest.

    Returns:
      One `Trajectory` a run: what `run_descent` gives, to the last bit on a CPU, where the runs of
      a device are done one after the other; elsewhere they go side by side, to rounding. To
      rounding everywhere are runs with penalties of several kinds, and large batches of tiny runs:
      matrices of up to nine entries, from 64 runs and ten million iterations in all on, go side by
      side on a CPU, too.

    Raises:
      ValueError: as `run_descent`; and if there is no start, numbers differ or the objectives are
        not alike.

    Example:
      >>> import gradflow as gf, optax
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> starts = [objective.factorization.identity(scale) for scale in (0.1, 0.01)]
      >>> runs = run_descents(objective, starts, optax.sgd, learning_rate=[0.1, 0.05], max_steps=9)
      >>> [run.config["learning_rate"] for run in runs]
      [0.1, 0.05]
    """
    starts = list(starts)
    if not starts:
        raise ValueError("There is no start at all; give at least one tuple of factors.")
    given = options.learning_rate
    rates = np.broadcast_to(
        np.asarray(given, dtype=object), (len(starts),) if np.ndim(given) == 0 else np.shape(given)
    ).tolist()
    if len(rates) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(rates)} learning rates.")
    many = [objectives] * len(starts) if isinstance(objectives, Objective) else list(objectives)
    if len(many) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(many)} objectives.")
    rules: list[Any] = [optimizer] * len(starts)
    if isinstance(optimizer, list | tuple) and not isinstance(
        optimizer, optax.GradientTransformation
    ):
        rules = list(optimizer)
    if len(rules) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(rules)} optimizers.")
    losses: Any = options.stop_loss
    if np.ndim(losses) and len(losses) != len(starts):
        raise ValueError(f"There are {len(starts)} starts but {len(losses)} stopping losses.")
    first = {id(rule): k for k, rule in reversed(list(enumerate(rules)))}
    order = sorted(range(len(starts)), key=lambda k: first[id(rules[k])])  # one kind after another
    if np.ndim(losses):
        options = dataclasses.replace(options, stop_loss=[losses[k] for k in order])
    runs = _run(
        [many[k] for k in order], [starts[k] for k in order], [rules[k] for k in order],
        [rates[k] for k in order], options, order,
    )  # fmt: skip
    return [runs[k] for k in np.argsort(order)]


def _run(
    objectives: list[Objective],
    starts: list[Any],
    rules: list[Checked[Optimizer]],
    rates: list[Checked[Rate | None]],
    options: DescentOptions,
    order: Sequence[int] = (0,),
) -> list[Trajectory]:
    """The runs, those of one optimiser after another; `order` has the numbers they were given."""
    options.check()
    make_room()
    found = taken_up(objectives, starts, int(options.max_steps))
    if options.mesh is not None and found.states is not None:
        raise ValueError(
            "A mesh takes no trajectory as start, since its optimiser's state is not spread; start "
            "from its `final`, or leave the mesh away."
        )
    given = gather_starts(objectives, found.starts)
    posed = list({id(one): one for one in objectives}.values())
    dtype = same_float_dtype(objective=posed, start=given)
    kinds = list({id(rule): rule for rule in rules}.values())
    check_optimizers(kinds, rates)
    names = {id(rule): describe_function(rule) for rule in kinds}
    for start, rule in zip(starts, rules, strict=True):
        check_rule(start, names[id(rule)], rates[0] is not None)
    observe, steps, mesh = options.observe, int(options.max_steps), options.mesh
    if observe is None:
        observe = default_observables(objectives[0].problem) if mesh is None else SPREAD_RECORDS
    pairs = resolve(observe)
    marks = _iterations(options.record, found.begin, steps)
    objective, many = gather_objectives(objectives, order)
    parameters = stack_starts(given)
    if mesh is not None:
        objective = _spread_over(mesh, objectives)
    first = tuple(jax.ShapeDtypeStruct(f.shape[1:], f.dtype) for f in parameters)
    check_entries(pairs, State(FactorsView(objectives[0]), first))
    speeds, schedules = gather_rates(rates, dtype, found.begin, steps)
    check_memory(rules, rates, parameters)
    sizes = [sum(one is rule for one in rules) for rule in kinds]
    optimizer = kinds[0] if len(kinds) == 1 else mixture(kinds, sizes, speeds is not None, first)
    losses = _losses(options.stop_loss, len(rules))
    draws = gather_draws(options, objectives, order, losses)
    resumed_at = None if found.states is None else found.begin
    common = told_of_all(options, str(dtype), [name for name, _ in pairs], resumed_at)
    configs = told_of_each(common, objectives, [names[id(rule)] for rule in rules], rates, losses)
    drawn = told_draws(options, draws, len(starts))
    configs = [config | more for config, more in zip(configs, drawn, strict=True)]
    stop = _stop_rule(options, losses, dtype)
    mode: Mode = "map" if jax.default_backend() == "cpu" else "vmap"
    batch_step = BatchStep(objective, many, optimizer, speeds, pairs, stop, mode, schedules, draws)
    if mesh is None:
        there = jax.tree.map(jnp.asarray, parameters)
        runs = with_states(batch_step, there, found, drawn_anew(starts, drawn))
        see_no_loss_asked(batch_step, runs)
        if mode == "map" and side_by_side.worthwhile(batch_step, runs, steps - found.begin):
            batch_step = dataclasses.replace(batch_step, mode="vmap")
    else:
        _see_alike(mesh, options, configs, (parameters, speeds, marks))
        batch_step, there = spread_tree((batch_step, parameters), mesh, objectives[0])
        runs = batch_step.initialise(there)
    key = None
    if options.checkpoint is not None:
        numbers = fingerprint((parameters, speeds, stop.loss, stop.gradient, found.states, draws))
        key = [configs, marks.tolist(), numbers, batch_step.program(runs), "with states"]
    how = "one after the other" if batch_step.mode == "map" else "side by side"
    LOGGER.info("descent: %d runs %s in %s, at most %d iterations", len(rules), how, dtype, steps)
    batch = RunningBatch(batch_step, runs)
    with DescentProgress(options.progress, steps) as bar:
        batch.run(marks, Keeper(options.checkpoint, key), bar)
    return _trajectories(batch, parameters, configs, optimizer)


def _losses(given: Any, count: int) -> list[float | None]:
    """The loss that each run stops at, if any."""
    return list(given) if np.ndim(given) else [given] * count


def _stop_rule(options: DescentOptions, losses: list[float | None], dtype: Any) -> StopRule:
    """With one loss for all runs where they do not differ."""
    targets = [-np.inf if loss is None else float(loss) for loss in losses]
    common = all(target == targets[0] for target in targets)
    least = None if options.stop_gradient is None else jnp.asarray(options.stop_gradient, dtype)
    looks = options.stop_looks and (
        jnp.asarray(options.stop_looks[0]),
        jnp.asarray(options.stop_looks[1]),
    )
    target = jnp.asarray(targets[0] if common else targets, dtype)
    return StopRule(target, least, looks)


def _spread_over(mesh: Any, objectives: list[Objective]) -> Objective:
    """The objective of a single run, spread.

    Raises:
      ValueError: if there are several, or it cannot be.
    """
    if len(objectives) > 1:
        raise ValueError(
            f"A mesh is for one run, but there are {len(objectives)}; a batch is spread over all "
            "devices by itself, whole runs to each: leave mesh away."
        )
    return spread_objective(objectives[0], mesh)


def _see_alike(mesh: Mesh, options: DescentOptions, configs: Any, numbers: Any) -> None:
    """See that all processes of a mesh do the same, and nothing that one of them does alone.

    Raises:
      ValueError: if they do not.
    """
    if mesh.is_multi_process and options.checkpoint is not None:
        raise ValueError(
            f"A run over {jax.process_count()} processes keeps no checkpoint "
            f"({options.checkpoint.path}); leave checkpoint away and start the next part from the "
            "last one's final factors."
        )
    told = json.dumps([configs, fingerprint(numbers)], sort_keys=True)
    see_alike(hashlib.sha256(told.encode()).hexdigest(), mesh)


def _iterations(record: Any, begin: int, steps: int) -> np.ndarray:
    """Iterations to record: from the first to the last."""
    if record is None:
        wanted = log_marks(steps, 20)
    else:
        wanted = np.asarray(record)
        if wanted.ndim != 1 or wanted.size == 0 or wanted.dtype.kind not in "iu":
            raise ValueError(f"record must be a list of whole numbers, but it is {record!r}.")
        if np.any(wanted < 0) or np.any(np.diff(wanted) <= 0):
            raise ValueError(f"record must rise from 0 on, but it begins {wanted[:5].tolist()}.")
    wanted = wanted[(wanted > begin) & (wanted < steps)]
    return np.concatenate([[begin], wanted, [steps]]).astype(np.int64)


def _trajectories(
    batch: RunningBatch,
    starts: tuple[np.ndarray, ...],
    configs: list[dict[str, Any]],
    optimizer: Any,
) -> list[Trajectory]:
    """One a run, from what the batch has of all."""
    records, ends = batch.results()
    cuts = np.searchsorted(records.runs, np.arange(len(configs) + 1))
    observables = named_observables(configs[0]["observe"], records.seen)
    initial, final = named_factors(starts), named_factors(ends.parameters)
    states = own_states(optimizer, ends.going, len(configs))
    for whole in (*initial.values(), *final.values()):
        whole.setflags(write=False)  # so that trajectories can share it
    return [
        Trajectory(
            times=records.counts[cuts[k] : cuts[k + 1]],
            observables={name: all_[cuts[k] : cuts[k + 1]] for name, all_ in observables.items()},
            final={name: all_[k] for name, all_ in final.items()},
            initial={name: all_[k] for name, all_ in initial.items()},
            state=states[k],
            outcome=_OUTCOMES[int(ends.statuses[k])],
            stats={
                "steps": int(ends.counts[k]),
                "rejected": 0,
                "end": int(ends.counts[k]),
                "seconds": batch.seconds,
            },
            config=config,
        )
        for k, config in enumerate(configs)
    ]
