"""Runs that go on where another one ended, and such runs as one."""

import json
from typing import Any

import numpy as np

from gradflow._util.provenance import describe
from gradflow.trajectory import Trajectory


def check_goes_on(before: Trajectory, kind: str, objective: Any) -> None:
    """See that a run can be taken up where an earlier one ended.

    Args:
      before: the earlier run.
      kind: "flow" or "descent".
      objective: of the run that goes on.

    Raises:
      ValueError: if the earlier run is of another kind, or of another objective.
    """
    found = before.config.get("kind")
    if found != kind:
        raise ValueError(
            f"The trajectory is that of a {found}, whose time a {kind} cannot take up; start from "
            "its `final`, and from 0."
        )
    stored = before.config.get("objective") or {}
    asked = json.loads(json.dumps(describe(objective), default=str))
    for name, value in asked.items():
        if name in stored and stored[name] != value:
            raise ValueError(
                f"The trajectory is of another objective: its {name} is {stored[name]}, not "
                f"{value}; start from its `final`, and from 0, to go on with this one."
            )


def join(*parts: Trajectory) -> Trajectory:
    """Runs that were taken up one from the other, as one.

    Where a part ends and the next one starts there is one record. Numbers of steps and seconds are
    added up; everything else of stats and config is the last part's.

    Args:
      *parts: the runs, in their order.

    Raises:
      ValueError: if there is none, a part does not start where the one before it ended, or other
        observables were recorded.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> first = gf.solve_flow(objective, objective.factorization.identity(0.1), horizon=2.0)
      >>> second = gf.solve_flow(objective, first, horizon=5.0)
      >>> whole = join(first, second)
      >>> float(whole.times[0]), float(whole.times[-1]), len(whole) == len(first) + len(second) - 1
      (0.0, 5.0, True)
    """
    if not parts:
        raise ValueError("There is no trajectory at all; give at least one.")
    for k, (one, other) in enumerate(zip(parts[:-1], parts[1:], strict=True)):
        _check_follows(one, other, k + 1)
    last, added = parts[-1], ("steps", "rejected", "seconds", "gradients", "hessian_products")
    sums = {
        name: sum(part.stats[name] for part in parts)
        for name in added
        if all(name in part.stats for part in parts)
    }
    if last.config.get("kind") == "descent":
        sums["steps"] = last.stats["steps"]  # which counts iterations from the first start on

    def along(name: str | None) -> np.ndarray:
        arrays = [part.times if name is None else part.observables[name] for part in parts]
        return np.concatenate([arrays[0], *(array[1:] for array in arrays[1:])])

    return Trajectory(
        times=along(None),
        observables={name: along(name) for name in last.observables},
        final=last.final,
        initial=parts[0].initial,
        state=last.state,
        outcome=last.outcome,
        stats={**last.stats, **sums},
        config={k: v for k, v in last.config.items() if k != "resumed_at"}
        | {k: v for k, v in parts[0].config.items() if k == "resumed_at"},
    )


def _check_follows(one: Trajectory, other: Trajectory, k: int) -> None:
    if one.times[-1] != other.times[0]:
        raise ValueError(
            f"Part {k} starts at {other.times[0]}, but the one before ends at {one.times[-1]}; "
            "take each up from the one before by start=."
        )
    same = list(one.final) == list(other.initial) and all(
        np.array_equal(one.final[name], other.initial[name]) for name in one.final
    )
    if not same:
        raise ValueError(
            f"Part {k} does not start from the parameters at which the one before ends; take each "
            "up from the one before by start=."
        )
    if list(one.observables) != list(other.observables):
        raise ValueError(
            f"Part {k} recorded {', '.join(other.observables)}, but the one before "
            f"{', '.join(one.observables)}; give both the same observe=."
        )
