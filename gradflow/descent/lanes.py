"""An iteration of tiny runs, written out: one array for every number that a run has.

What else is a dozen pieces of work an iteration becomes a single loop over the runs, which keeps
all numbers of a run at hand: see `gradflow._util.scalar_program`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array

from gradflow._util.scalar_program import Scalars, evaluate, operations
from gradflow.descent.mixture import Mixture

if TYPE_CHECKING:
    from gradflow.descent.loop import BatchStep, RunStates

LARGEST, LONGEST = 9, 1000
"""The most entries of an array of a run, and operations of an iteration, to be written out: from
4 x 4 on loops over matrices are as fast on a CPU, and a GPU moves as many bytes."""
Numbers = list[Array]
"""Those of a batch of runs, each with the runs along its only axis."""


@dataclass(frozen=True)
class Lanes:
    """How runs are numbers, and what an iteration does with these.

    Attributes:
      program: an iteration of a batch of one.
      own: the numbers that each run has for itself and keeps.
      shapes: those of the arrays of a batch of one: its own, and those of where it is.
      structure: of where it is.
      operations: how many on numbers an iteration has.
    """

    program: ClosedJaxpr
    own: Numbers
    shapes: tuple[tuple[tuple[int, ...], ...], ...]
    structure: Any
    operations: int

    def split(self, runs: "RunStates") -> Numbers:
        """The numbers of runs."""
        return _split(runs)

    def joined(self, numbers: Numbers) -> "RunStates":
        """The runs of these numbers."""
        leaves = [
            jnp.stack(list(part.flat), 1).reshape(-1, *part.shape[1:])
            for part in _dealt(numbers, self.shapes[1])
        ]
        return jax.tree.unflatten(self.structure, leaves)

    def iterate(self, numbers: Numbers) -> Numbers:
        """An iteration of all runs."""

        def one(own: Numbers, numbers: Numbers) -> Numbers:
            given = [*_dealt(own, self.shapes[0]), *_dealt(numbers, self.shapes[1])]
            found = [number for part in evaluate(self.program, given) for number in part.flat]
            return [jnp.asarray(new, old.dtype) for new, old in zip(found, numbers, strict=True)]

        return jax.vmap(one)(self.own, numbers)


def lanes(
    iteration: Callable[["BatchStep", "RunStates"], "RunStates"],
    batch_step: "BatchStep",
    runs: "RunStates",
) -> Lanes | None:
    """Runs as lanes; None if an iteration is too long for that, or more than arithmetic.

    Args:
      iteration: of a batch.
      batch_step: what it is.
      runs: where they are.
    """
    if isinstance(batch_step.optimizer, Mixture):
        return None
    own, structure = batch_step.own(), jax.tree.structure(runs)
    singles = [
        [jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype) for leaf in jax.tree.leaves(tree)]
        for tree in (own, runs)
    ]
    if max(single.size for part in singles for single in part) > LARGEST:
        return None

    def single(own_leaves: Any, leaves: Any) -> Any:
        its_own = jax.tree.unflatten(jax.tree.structure(own), own_leaves)
        return iteration(batch_step.of(its_own), jax.tree.unflatten(structure, leaves))

    program = jax.make_jaxpr(single)(*singles)
    count = operations(program.jaxpr)
    if count is None or count > LONGEST:
        return None
    shapes = tuple(tuple(single.shape for single in part) for part in singles)
    return Lanes(program, _split(own), shapes, structure, count)


def _split(tree: Any) -> Numbers:
    """The numbers in arrays that have the runs along their first axis."""
    rows = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)]
    return [row[:, k] for row in rows for k in range(row.shape[1])]


def _dealt(numbers: Numbers, shapes: tuple[tuple[int, ...], ...]) -> list[Scalars]:
    """Numbers in arrays of these shapes."""
    left, found = iter(numbers), []
    for shape in shapes:
        part = np.empty(shape, object)
        for place in np.ndindex(shape):
            part[place] = next(left)
        found.append(part)
    return found
