r"""Components of tensor factorisations along flows, shared by the papers that print how they move.

At a node of a factorisation W = sum_s W_s, where W_s is linear in each of the vectors v_s^1, ...,
v_s^L of the component s, and in no other's. With c_s = ||v_s^1|| ... ||v_s^L|| and gamma_s =
<-grad L(W), W_s / c_s>, gradient flow of a differentiable loss keeps ||v_s^l||^2 - ||v_s^m||^2, and

    dc_s/dt = gamma_s c_s^2 sum_l ||v_s^l||^-2,

which is L gamma_s c_s^(2 - 2/L) where all vectors of the component are equally long. A CP tensor
has one node; a hierarchical tensor has those of its tree.
"""

import abc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import AnyArray
from gradflow.claims.definition import Settings
from gradflow.claims.hypotheses import ByConstruction
from gradflow.claims.oracles.flows import FINE
from gradflow.factorizations.base import AbstractFactorization, Factors
from gradflow.flow.solve import solve_flow
from gradflow.objective import Objective
from gradflow.problems import LossFunction, TensorCompletion
from gradflow.problems.base import AbstractProblem

Entries = tuple[Any, ...]
"""Factors of JAX's arrays, or of NumPy's with numbers of any type."""
TIMES = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0])
"""Where a flow is looked at: on the way, and near its end."""


class AbstractComponents(eqx.Module):
    """How a factorisation is made of components, at one node or at several."""

    model: eqx.AbstractVar[AbstractFactorization]
    kind: eqx.AbstractClassVar[str]

    @property
    def hypothesis(self) -> dict[str, ByConstruction]:
        """What all statements about them suppose."""
        reason = "the velocity of the factors is minus the loss's gradient in them"
        return {f"gradient flow over {self.kind}": ByConstruction(reason)}

    @property
    @abc.abstractmethod
    def nodes(self) -> tuple[str, ...]:
        """What to call the nodes."""

    @abc.abstractmethod
    def vectors(self, factors: Entries) -> list[Entries]:
        """For each node the vectors of its components, as the columns of matrices."""

    @abc.abstractmethod
    def norms(self, factors: Factors) -> list[jax.Array]:
        """For each node the norms of its components."""

    @abc.abstractmethod
    def tensor(self, factors: Factors, node: int, index: int) -> jax.Array:
        """W with one component normalised and the others of its node set to 0."""

    @abc.abstractmethod
    def alone(self, factors: Entries, node: int, index: int) -> Entries:
        """The factors with the other components of the node set to 0."""

    @abc.abstractmethod
    def by_hand(self, factors: Entries) -> np.ndarray:
        """W by its definition, the axes in any order."""


class Moving(NamedTuple):
    """The components of a node at a point of a flow; arrays have one entry a component.

    Attributes:
      c: norms.
      speed: dc/dt, by the chain rule along the factors' velocity.
      gamma: see the module's docstring.
      squares: (L, R) the squared lengths of the vectors.
      scale: ||grad L(W)||, at least |gamma|.
    """

    c: np.ndarray
    speed: np.ndarray
    gamma: np.ndarray
    squares: np.ndarray
    scale: np.ndarray

    @property
    def order(self) -> int:
        """The number L of vectors of a component."""
        return len(self.squares)


class Followed(NamedTuple):
    """A flow of a factorisation that is made of components.

    Attributes:
      name: its order, its loss, its start.
      components: with the factorisation.
      balanced: whether the start was made so.
      points: the nodes at each of `TIMES`, or at the first alone.
      coarse: the same at a hundredfold tolerance.
      moved: how far the first factor goes, relative to its size.
      steps: how many steps it took.
    """

    name: str
    components: AbstractComponents
    balanced: bool
    points: list[list[Moving]]
    coarse: list[list[Moving]]
    moved: float
    steps: int

    @property
    def size(self) -> float:
        """The number of W's entries."""
        return float(np.prod(self.components.model.shape))

    def numbers(self, one: Callable[[Moving], np.ndarray]) -> np.ndarray:
        """A number for each component, in the order of times and nodes."""
        return np.concatenate([one(at) for nodes in self.points for at in nodes])

    def witness(self, index: int) -> dict[str, float | int | str]:
        """Which component such a number belongs to."""
        names = self.components.nodes
        return [
            {"t": float(t), "node": name, "component": s}
            for t, nodes in zip(TIMES[: len(self.points)], self.points, strict=True)
            for name, at in zip(names, nodes, strict=True)
            for s in range(at.c.size)
        ][index]


def completions(
    settings: Settings, order: int, most: int | None = None
) -> dict[str, AbstractProblem]:
    """Completions of a random tensor: a half sum of squares, their mean, and a Huber loss.

    Args:
      settings: with the seed.
      order: of the tensor, whose sides are 2 and 3.
      most: how many of its entries are seen; by default three in five. The more, the stiffer.
    """
    rng = np.random.default_rng([settings.seed, order])
    shape = tuple(int(n) for n in rng.integers(2, 4, order))
    truth = rng.normal(size=shape)
    cells = np.argwhere(rng.random(shape) < 0.6)
    cells = cells if most is None else rng.permutation(cells)[:most]
    values = 2 * truth[tuple(cells.T)]

    def huber(w: AnyArray) -> jax.Array:
        gap = w[tuple(cells.T)] - values
        return jnp.sum(jnp.where(jnp.abs(gap) < 1, gap**2 / 2, jnp.abs(gap) - 0.5))

    return {
        "half sum": TensorCompletion(shape, cells, values),
        "mean": TensorCompletion(shape, cells, values, loss="mean"),
        "Huber": LossFunction(shape, huber),
    }


def follow(
    name: str, problem: AbstractProblem, components: AbstractComponents, seed: int, std: float
) -> Iterator[Followed]:
    """The flows from a balanced and from an unbalanced start."""
    model = components.model
    objective = Objective(problem, model)
    for balanced in (True, False):
        draw = model.random_balanced if balanced else model.gaussian
        start = draw(jax.random.key(seed), std=std)
        (tight, steps), (coarse, _) = (_run(objective, start, rtol) for rtol in (1e-12, 1e-10))
        first, last = tight[0][0], tight[-1][0]
        yield Followed(
            f"{name}, {'balanced' if balanced else 'unbalanced'} start",
            components,
            balanced,
            [moving(components, objective, point) for point in tight],
            [moving(components, objective, point) for point in coarse],
            float(jnp.linalg.norm(last - first) / jnp.linalg.norm(first)),
            steps,
        )


def at_start(
    name: str, problem: AbstractProblem, components: AbstractComponents, factors: Factors
) -> Followed:
    """Given factors, as the start of a flow that is not followed."""
    points = [moving(components, Objective(problem, components.model), factors)]
    return Followed(name, components, False, points, points, 0.0, 0)


def _run(objective: Objective, start: Factors, rtol: float) -> tuple[list[Factors], int]:
    run = solve_flow(
        objective, start, coordinates="factors", record=TIMES[1:], horizon=float(TIMES[-1]),
        rtol=rtol, observe=("factors",), interpolate=False, solver=FINE,
    )  # fmt: skip
    count = len(start)
    points = [tuple(jnp.asarray(run[f"factors_{k}"][t]) for k in range(1, count + 1))
              for t in range(len(TIMES))]  # fmt: skip
    return points, run.stats["steps"]


def moving(components: AbstractComponents, objective: Objective, factors: Factors) -> list[Moving]:
    """How the components of each node move at a point."""
    found = _moving(components, objective, factors)
    return [Moving(*(np.asarray(x) for x in at)) for at in found]


@eqx.filter_jit
def _moving(
    components: AbstractComponents, objective: Objective, factors: Factors
) -> list[tuple[jax.Array, ...]]:
    velocity = tuple(-g for g in jax.grad(objective.value)(factors))
    norms, speeds = jax.jvp(components.norms, (factors,), (velocity,))
    slope = objective.problem.gradient(components.model.product(factors))
    found = []
    for k, vectors in enumerate(components.vectors(factors)):
        gamma = jnp.stack(
            [-jnp.sum(slope * components.tensor(factors, k, s)) for s in range(norms[k].size)]
        )
        squares = jnp.stack([jnp.sum(v**2, axis=0) for v in vectors])
        found.append((norms[k], speeds[k], gamma, squares, jnp.linalg.norm(slope)))
    return found


def spread(nodes: list[Moving], relative: bool = False) -> float:
    """The unbalancedness magnitude: the largest difference of two squared lengths.

    Args:
      nodes: at a point.
      relative: to the smaller of the two.
    """
    return float(np.max(np.concatenate([ranges(at, relative) for at in nodes])))


def ranges(at: Moving, relative: bool) -> np.ndarray:
    """For each component the largest difference of two squared lengths, as in `spread`."""
    low, high = np.min(at.squares, axis=0), np.max(at.squares, axis=0)
    return (high - low) / (low if relative else 1.0)
