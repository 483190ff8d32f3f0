"""What was asked of runs, as they are stored with it."""

import json
from collections.abc import Sequence
from typing import Any

from gradflow._util.provenance import describe, provenance
from gradflow.descent.options import DescentOptions
from gradflow.descent.rates import Rate, told
from gradflow.objective import Objective


def told_of_all(
    options: DescentOptions, dtype: str, observe: list[str], resumed_at: int | None
) -> dict[str, Any]:
    """What is said of all runs; what is None here is each run's own.

    Args:
      options: of all of them.
      dtype: of their parameters.
      observe: names of what is recorded.
      resumed_at: the iteration at which they were taken up, if they were.
    """
    mesh = options.mesh
    return {
        "kind": "descent",
        "objective": None,
        "optimizer": None,
        "learning_rate": None,
        "max_steps": int(options.max_steps),
        "stop_loss": None,
        "stop_gradient": options.stop_gradient,
        "dtype": dtype,
        "observe": observe,
        **({} if mesh is None else {"mesh": dict(mesh.shape)}),
        **({} if options.stop_looks is None else {"stop_looks": options.stop_looks}),
        **({} if resumed_at is None else {"resumed_at": resumed_at}),
        **provenance(),
    }


def told_of_each(
    common: dict[str, Any],
    objectives: Sequence[Objective],
    optimizers: Sequence[str],
    rates: Sequence[Rate | None],
    losses: Sequence[float | None],
) -> list[dict[str, Any]]:
    """What is said of every run.

    Args:
      common: what `told_of_all` gives.
      objectives: one a run.
      optimizers: a description for each.
      rates: one a run.
      losses: to stop at, one a run.
    """
    posed = {id(one): one for one in objectives}
    texts = {key: _as_json(common | {"objective": describe(one)}) for key, one in posed.items()}
    words = {key: _as_json(told(rate)) for key, rate in {id(rate): rate for rate in rates}.items()}
    return [
        texts[id(one)]
        | {"optimizer": optimizer, "learning_rate": words[id(rate)], "stop_loss": _as_json(loss)}
        for one, optimizer, rate, loss in zip(objectives, optimizers, rates, losses, strict=True)
    ]


def _as_json(value: Any) -> Any:
    """What comes back when it is stored."""
    if value is None or type(value) is float:
        return value
    return json.loads(json.dumps(value, default=str))
