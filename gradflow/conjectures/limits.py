"""Where a flow ends: from saddle to saddle, from starts that shrink, or from a start as it is."""

import abc
import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive
from gradflow.conjectures.family import Trial
from gradflow.coordinates.registry import COORDINATES
from gradflow.exact.potential import minimum_potential
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.flow import solve_flow
from gradflow.objective import Objective
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.regression import LeastSquares
from gradflow.problems.sensing import MatrixSensing
from gradflow.saddles import SaddlePath, saddle_path
from gradflow.trajectory import Outcome, Trajectory

_FITTED = 1e-13
"""The loss, relative to that of 0, below which data count as fitted."""
_STOP = 1e-18
"""The loss, relative to that of 0, where a flow has ended."""
_BESIDE = 1e-7
"""How far the entries of a start are moved to see whether roundings decide."""


class Undetermined(Exception):
    """A limit is not known; the message says why."""


class Reached(NamedTuple):
    """Where a flow ended.

    Attributes:
      trial: the problem and its start.
      product: W there.
      loss: there, relative to that of W = 0 (of the start, if that is 0).
      how: it was found, in words.
      run: the path of saddles or the trajectory, if there is one: another kind where a violation is
        confirmed, so that a margin that asks for it holds for one kind of limit only.
    """

    trial: Trial
    product: np.ndarray
    loss: float
    how: str
    run: SaddlePath | Trajectory | None

    @property
    def fits(self) -> bool:
        """Whether the data are fitted."""
        return self.loss < _FITTED


class AbstractLimit(eqx.Module):
    """A way to find where a flow ends, and another one to confirm it.

    Both give approximations, the best one last. How much the others differ from it in what is
    claimed is taken for its error.
    """

    @abc.abstractmethod
    def reach(self, trial: Trial) -> tuple[Reached, ...]:
        """Approximations of the end; raises `Undetermined` where it is not known."""

    @abc.abstractmethod
    def confirm(self, trial: Trial) -> tuple[Reached, ...]:
        """The same by an independent computation, or a more accurate one."""


class VanishingStart(AbstractLimit):
    """The limit alpha -> 0 itself, by `gradflow.saddle_path`; confirmed by flows of small alpha.

    Of a diagonal network the ends at small alpha are known too: they have the least potential,
    which takes the place of the flows.

    Args:
      alpha: of the first flow that confirms; that of the second is its square, so that an error of
        1/ln(1/alpha) is halved.
    """

    alpha: float

    def __init__(self, alpha: Checked[float] = 1e-8):
        self.alpha = _below_one(alpha)

    def reach(self, trial: Trial) -> tuple[Reached, ...]:
        path = saddle_path(_of_one_shape(trial.objective), trial.start, constants=False)
        if not path.determined:
            raise Undetermined(path.outcome.value)
        return (_reached(trial, path.products[-1], "from saddle to saddle", path),)

    def confirm(self, trial: Trial) -> tuple[Reached, ...]:
        return tuple(_end(trial, alpha, 1e-10) for alpha in (self.alpha, self.alpha**2))


class SmallStarts(AbstractLimit):
    """The limit alpha -> 0 from flows at alpha and alpha^2; confirmed at alpha^2 and alpha^4.

    And from starts beside that at alpha^2, as by `GivenStart`.

    Args:
      alpha: the scale of the product at the first start. Of U U^T and W_2 W_1 float64 holds columns
        down to 1e-16 of the largest, so that alpha^4 should be 1e-24 or more.
    """

    alpha: float

    def __init__(self, alpha: Checked[float] = 1e-6):
        self.alpha = _below_one(alpha)

    def reach(self, trial: Trial) -> tuple[Reached, ...]:
        return tuple(_end(trial, alpha, 1e-8) for alpha in (self.alpha, self.alpha**2))

    def confirm(self, trial: Trial) -> tuple[Reached, ...]:
        smaller, smallest = self.alpha**2, self.alpha**4
        beside = (_end(other, smaller, 1e-8) for other in _beside(trial))
        return (*beside, *(_end(trial, alpha, 1e-11) for alpha in (smaller, smallest)))


class GivenStart(AbstractLimit):
    """The end of the flow from the start itself; confirmed from starts beside it, too.

    An exact flow may end at a saddle that one in floating point leaves by a rounding, to either
    side. So what counts has to be what flows do on both sides of the start, 1e-7 away from it.

    Args:
      coordinates: of the flow, as `gradflow.solve_flow` takes them. "factors" keep nothing by
        themselves of what a conjecture says that the flow keeps.
    """

    coordinates: str = eqx.field(static=True)

    def __init__(self, coordinates: Checked[str] = "factors"):
        if coordinates not in (names := ("auto", *COORDINATES)):
            raise ValueError(
                f"coordinates must be one of {', '.join(names)}, but they are {coordinates!r}."
            )
        self.coordinates = coordinates

    def reach(self, trial: Trial) -> tuple[Reached, ...]:
        return (_flow(trial, None, 1e-8, self.coordinates),)

    def confirm(self, trial: Trial) -> tuple[Reached, ...]:
        beside = (_flow(other, None, 1e-8, self.coordinates) for other in _beside(trial))
        return (*beside, _flow(trial, None, 1e-11, self.coordinates))


def _beside(trial: Trial) -> tuple[Trial, Trial]:
    """The same problem from starts on both sides of its own."""
    rng = np.random.default_rng(0)
    moves = [_BESIDE * rng.choice([-1.0, 1.0], factor.shape) for factor in trial.start]
    both = (
        tuple(factor + sign * move for factor, move in zip(trial.start, moves, strict=True))
        for sign in (1, -1)
    )
    up, down = (trial._replace(start=start) for start in both)
    return up, down


def _below_one(alpha: Any) -> float:
    if not positive("alpha", alpha) < 1:
        raise ValueError(f"alpha must be below 1, but it is {alpha}; the limit is that of 0.")
    return float(alpha)


def _of_one_shape(objective: Objective) -> Objective:
    """The same loss in arrays whose shapes do not tell the data: one compiled program for all."""
    problem = objective.problem
    entries = int(np.prod(problem.shape))
    if isinstance(problem, MatrixCompletion) and problem.convention != "mean":
        arrays = jnp.zeros((entries, 2), problem.indices.dtype), jnp.zeros(entries)
        problem = eqx.tree_at(lambda p: (p.indices, p.values), problem, arrays)  # mask and target
    elif isinstance(problem, MatrixSensing) and problem.convention != "mean":
        more = max(entries - problem.observations, 0)
        padded = jnp.pad(problem.measurements, ((0, more), (0, 0), (0, 0)))
        arrays = padded, jnp.pad(problem.labels, (0, more))
        problem = eqx.tree_at(lambda p: (p.measurements, p.labels), problem, arrays)
    return eqx.tree_at(lambda o: o.problem, objective, problem)


def _reached(
    trial: Trial, product: np.ndarray, how: str, run: SaddlePath | Trajectory | None
) -> Reached:
    problem = trial.objective.problem
    loss = float(problem.loss(jnp.asarray(product)))
    return Reached(trial, np.asarray(product), loss / _first_loss(trial), how, run)


def _first_loss(trial: Trial) -> float:
    """The loss of W = 0; where that is none, of the start."""
    problem = trial.objective.problem
    first = float(problem.loss(jnp.zeros(problem.shape)))
    return first or float(trial.objective.loss(trial.start)) or 1.0


def _end(trial: Trial, alpha: float, rtol: float) -> Reached:
    """Where the flow from alpha times the start ends: exactly known, or integrated."""
    objective = trial.objective
    if isinstance(objective.factorization, DiagonalNetwork) and isinstance(
        objective.problem, LeastSquares
    ):
        scale = alpha ** (1 / objective.factorization.degree)
        start = tuple(scale * factor for factor in trial.start)
        try:
            least = minimum_potential(objective, start, rtol=1e-9)
        except ValueError as error:
            raise Undetermined("is not known: the least potential was not found") from error
        return _reached(trial, least.beta, f"least potential of alpha = {alpha:.0e}", None)
    return _flow(trial, alpha, rtol, "auto")


def _flow(trial: Trial, alpha: float | None, rtol: float, coordinates: Any) -> Reached:
    objective = _of_one_shape(trial.objective)
    scale = 1.0 if alpha is None else alpha ** (1 / objective.factorization.degree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        run = solve_flow(
            objective, tuple(scale * factor for factor in trial.start), rtol=rtol,
            coordinates=coordinates, stop_loss=_STOP * _first_loss(trial), max_steps=20_000,
            observe=["product"],
        )  # fmt: skip
    rested = (Outcome.REACHED_LOSS, Outcome.STALLED, Outcome.REACHED_HORIZON)
    if run.outcome not in rested:
        raise Undetermined(f"is not reached: the flow {run.outcome.value}")
    if run.warnings:
        raise Undetermined("hangs on roundings, as its flow says")
    begun = "the start itself" if alpha is None else f"alpha = {alpha:.0e}"
    return _reached(trial, run["product"][-1], f"flow from {begun}, rtol = {rtol:.0e}", run)
