r"""Adversarial search: the free variables of an inequality, chosen to make it as tight as they can.

Many random points, then the downhill simplex method from the best of them. The slack that counts is
recomputed in 50 digits at the worst points, which also gives the floor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from scipy.optimize import minimize

from gradflow.claims.definition import Case, Confirmation, Settings
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles.high_precision import DIGITS

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""From a generator and a count to that many points, (count, dimension)."""

Sides = tuple[Any, Any]


@dataclass(frozen=True)
class Inequality:
    """Larger >= smaller, for all points x of a Euclidean space.

    Attributes:
      sides: from points (n, dimension) to both sides (n,), larger first, in float64.
      exactly: from one point, as mpmath numbers, to both sides.
      plain: from one point to named plain numbers (matrices, not search coordinates).
    """

    sides: Callable[[np.ndarray], Sides]
    exactly: Callable[[Sequence[Any]], Sides]
    plain: Callable[[np.ndarray], dict[str, Any]]

    def slack(self, x: np.ndarray) -> np.ndarray:
        """(larger - smaller) relative to their sizes; infinite where that is no number."""
        with np.errstate(all="ignore"):
            larger, smaller = self.sides(x)
            found = (larger - smaller) / (np.abs(larger) + np.abs(smaller))
        return np.where(np.isfinite(found), found, np.inf)

    def exact_slack(self, x: np.ndarray) -> Any:
        """The same at one point, in the working precision of mpmath."""
        larger, smaller = self.exactly([mpmath.mpf(float(v)) for v in x])
        size = abs(larger) + abs(smaller)
        # Both vanish, to the precision's round-off: nothing is claimed there that could be judged.
        return (larger - smaller) / size if size > mpmath.mpf(10) ** -35 else mpmath.inf


def worst_points(
    slack: Callable[[np.ndarray], np.ndarray],
    draw: Draw,
    rng: np.random.Generator,
    *,
    samples: int,
    starts: int,
    rounds: int = 3,
) -> tuple[np.ndarray, int]:
    """The worst points found, worst first, and how often the slack was evaluated."""
    x = draw(rng, samples)
    best = x[np.argsort(slack(x))[:starts]]
    evaluations = samples
    found = []
    for point in best:
        for _ in range(rounds):
            result = minimize(
                lambda y: float(np.clip(slack(y[None])[0], -2.0, 2.0)),
                point,
                method="Nelder-Mead",
                options={"maxfev": 150 * x.shape[1], "xatol": 1e-11, "fatol": 1e-15},
            )
            evaluations += result.nfev
            point = result.x
        found.append(point)
    found = np.array(found)
    return found[np.argsort(slack(found))], evaluations


def searched_case(
    name: str,
    inequality: Inequality,
    draw: Draw,
    settings: Settings,
    *,
    hypotheses: Callable[[np.ndarray], Mapping[str, Met]],
    size: float,
    samples: int = 4000,
    starts: int = 3,
    rounds: int = 3,
    notes: str = "",
) -> Case:
    """A case over random points and the worst ones that the search finds.

    Args:
      name: of the case.
      inequality: what is claimed.
      draw: random points.
      settings: `full` searches eight times harder.
      hypotheses: from points (n, dimension) to whether all of them meet each hypothesis.
      size: of the instance.
      samples: random points.
      starts: how many of the worst are polished.
      rounds: how often the simplex is set up anew for each.
      notes: more to tell than the worst ratio and the effort.
    """
    rng = np.random.default_rng([settings.seed, *name.encode()])
    effort = 8 if settings.full else 1
    worst, evaluations = worst_points(
        inequality.slack, draw, rng, samples=samples * effort, starts=starts * effort, rounds=rounds
    )
    others = draw(rng, samples)
    others = others[np.argsort(inequality.slack(others))]
    points = np.concatenate([worst, others])
    values = inequality.slack(points)
    precise = len(worst) + 12
    error = 0.0
    with mpmath.workdps(DIGITS):
        for k in range(precise):
            exact = float(inequality.exact_slack(points[k]))
            if np.isfinite(exact) and np.isfinite(values[k]):
                error = max(error, abs(exact - values[k]))
            values[k] = exact
    keep = np.isfinite(values)
    floors = np.where(np.arange(len(values)) < precise, 1e-15, 4 * error + 1e-14)
    points, values, floors = points[keep], values[keep], floors[keep]
    top = float(np.min(values))
    ratio = (1 - top) / (1 + top) if abs(top) < 1 else np.inf

    def confirm(k: int) -> Confirmation:
        with mpmath.workdps(DIGITS):
            larger, smaller = inequality.exactly([mpmath.mpf(float(v)) for v in points[k]])
            return Confirmation(
                bool(larger < smaller),
                f"at {inequality.plain(points[k])} larger side against smaller side: "
                f"{mpmath.nstr(larger, 20)} < {mpmath.nstr(smaller, 20)}",
            )

    return Case(
        name=name,
        slack=values,
        floor=floors,
        hypotheses=hypotheses(points),
        size=size,
        witness=lambda k: inequality.plain(points[k]),
        confirm=confirm,
        notes=f"largest ratio of the smaller to the larger side {ratio:.6f} in {evaluations} "
        f"evaluations{'; ' if notes else ''}{notes}",
    )


def largest_ratio(
    ratio: Callable[[np.ndarray], np.ndarray],
    draw: Draw,
    settings: Settings,
    *,
    samples: int = 4000,
    starts: int = 3,
    rounds: int = 6,
) -> tuple[float, np.ndarray, int]:
    """The supremum of a function as far as a search finds it: value, point, evaluations."""

    def slack(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            found = -np.log(ratio(x))
        return np.where(np.isfinite(found), np.tanh(found), 2.0)

    rng = np.random.default_rng([settings.seed, 99])
    effort = 8 if settings.full else 1
    worst, evaluations = worst_points(
        slack, draw, rng, samples=samples * effort, starts=starts * effort, rounds=rounds
    )
    return float(ratio(worst[:1])[0]), worst[0], evaluations
