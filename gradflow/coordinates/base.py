r"""What coordinates of a flow are, and why there is more than one kind.

Coordinates say what they can hold, how a start is put into them, their velocity dy/dt, and what y
means: the product, the loss, singular values and the logarithm of the determinant. At depth 2 the
determinant falls like exp(-1/(4 loss)), round-off in factor coordinates flips its sign near a loss
of 0.01, and what is then computed is no gradient flow any more.
"""

import abc
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gradflow._util.random import scrambled
from gradflow._util.remembered import remembered
from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.ode.extrapolation import StiffPart
from gradflow.problems.base import AbstractProblem
from gradflow.problems.sparse import SparseCompletion
from gradflow.state import AbstractView

_LOG_LARGEST = 690.0
"""Logarithms are cut off here: exp(709.8) is the last that is finite."""
_NEAR, _LEAP = 15.0, 1.0
"""How far below the goal a logarithm is near it, and by how much it may rise in a step there."""
_STEEPEST = 1e6
"""The largest rise that steps prepare for; a start at zero would rise without end."""


class AbstractCoordinates(AbstractView):
    """Coordinates y of a flow.

    A class of coordinates is asked whether it can hold a start (`refusal`), makes itself and y from
    one (`encode`), and names the arrays of y (`named`), from which it can be made again (`decode`).
    For coordinates that are a function of the factors see `AbstractFactorCoordinates`.

    Attributes:
      name: for results and messages.
      logarithmic_clock: whether steps are taken in log(1 + t/scale).
      normwise: whether a step's error is measured in all entries together, not one by one.
      real_rates: whether the Jacobian of the velocity of a gradient flow has real eigenvalues.
      virtue: why "auto" takes these coordinates where it does.
      resolution: singular values below this share of the largest are known to less than about a
        hundred times the tolerance; 0 where each keeps its digits.
      holds_residuals: whether the loss has digits that rounding the product would take.
      of_order_one: whether entries are of order one, or logarithms, on a linear clock, too.
      takes_as_balanced: whether what is balanced up to rounding is taken for balanced.
      mark: the array whose name, among those of a state, tells these coordinates; "" if none does.
    """

    logarithmic_clock: ClassVar[bool] = False
    normwise: ClassVar[bool] = True
    real_rates: ClassVar[bool] = True
    virtue: ClassVar[str] = ""
    resolution: ClassVar[float] = 0.0
    holds_residuals: ClassVar[bool] = False
    of_order_one: ClassVar[bool] = False
    takes_as_balanced: ClassVar[bool] = False
    mark: ClassVar[str] = ""

    @classmethod
    @abc.abstractmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        """Why these coordinates cannot hold a start; None if they can.

        Args:
          objective: the problem, its factorisation and its penalty.
          dynamics: what the parameters obey.
          factors: the start.
        """

    @classmethod
    @abc.abstractmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, Any]:
        """The coordinates and y of a start that is not refused."""

    @classmethod
    def refusal_of_matrix(
        cls, objective: Objective, dynamics: AbstractDynamics, w: Any
    ) -> str | None:
        """Why these coordinates cannot hold balanced factors of W; None if they can.

        Args:
          objective: the problem, its factorisation and its penalty.
          dynamics: what the parameters obey.
          w: the product W to start from.
        """
        return cls.refusal(objective, dynamics, objective.factorization.balanced(w))

    @classmethod
    def encode_matrix(
        cls, objective: Objective, dynamics: AbstractDynamics, w: Any
    ) -> tuple[Self, Any]:
        """The coordinates and y of balanced factors of W, which is not refused."""
        return cls.encode(objective, dynamics, objective.factorization.balanced(w))

    @classmethod
    def drawback(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        """Why "auto" should not take these coordinates for a start, even if they can hold it.

        Args:
          objective: the problem, its factorisation and its penalty.
          dynamics: what the parameters obey.
          factors: the start.
        """
        del objective, dynamics, factors
        return None

    @abc.abstractmethod
    def velocity(self, y: Any) -> Any:
        """dy/dt along the flow."""

    @abc.abstractmethod
    def named(self, y: Any) -> dict[str, Array]:
        """The arrays that stand for a point, by name: enough to go on from there."""

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, Any]:
        """The coordinates and y from what `named` gave.

        Raises:
          ValueError: if the names are others, or these coordinates cannot be taken up again.
        """
        del objective, dynamics
        raise ValueError(
            f"A flow cannot start from {', '.join(named)} in coordinates {cls.name!r}; start from "
            "factors or from a matrix."
        )

    @property
    def near_normal(self) -> bool:
        """Whether the field's Jacobian is near enough to normal for stabilised steps."""
        return True

    @property
    def stiff_components(self) -> int | None:
        """Of how many components linearly implicit steps would take the unknowns implicitly.

        None where they take all unknowns so; 0 where the Jacobian of even one would be dear.
        """
        return None

    def stiff_part(self, y: Any) -> StiffPart | None:
        """The unknowns that linearly implicit steps take implicitly, where these are a few of many.

        None where they take all of them so, with a dense Jacobian.
        """
        del y
        return None

    def time_scale(self, y: Any) -> Float[Array, ""]:
        """The unit of a logarithmic clock that starts at y.

        That is how long the product would take to change by its own size at its first speed.
        """
        w, speed = (norm_of(x) for x in jax.jvp(self.product, (y,), (self.velocity(y),)))
        return jnp.where(speed > 0, w / jnp.where(speed > 0, speed, 1.0), 1.0)

    def relative_change(self, before: Any, after: Any) -> Float[Array, ""]:
        """How far the product went from one y to another, in units of its size."""
        w0, w1 = self.product(before), self.product(after)
        return norm_of(w1 - w0) / norm_of(w1)

    def loss_by_rounding(self, y: Any) -> Float[Array, ""]:
        """What rounding the product's entries, some up and some down, makes of the loss."""
        w = self.product(y)
        change = np.finfo(float).eps * w * _signs(w.shape)
        loss = self.problem.loss
        return jnp.abs(loss(w + change) + loss(w - change) - 2 * loss(w)) / 2

    def smooth(self, y: Any, tolerance: Any = None) -> Bool[Array, ""]:
        """Whether the velocity is defined at y: no kink of a penalty.

        Args:
          y: the coordinates.
          tolerance: relative to the largest, singular values below it count as zero; by default
            working precision.
        """
        del y, tolerance
        return jnp.asarray(True)

    def crossed(self, before: Any, after: Any, tolerance: Any) -> Bool[Array, ""]:
        """Whether a step from one y to another went across a kink of a penalty.

        Args:
          before: the coordinates where the step started.
          after: where it ended.
          tolerance: as for `smooth`.
        """
        del before, after, tolerance
        return jnp.asarray(False)

    def with_tolerance(self, tolerance: Any) -> Self:
        """For a solver that follows singular values down to this share of the largest."""
        del tolerance
        return self

    def sizes(self, y0: Any, y1: Any) -> Any:
        """What errors of a step from y0 to y1 are relative to, a number for each entry of y.

        That is the root mean square of all or, where `normwise` is false, the entry itself.
        """
        if self.normwise:
            common = jnp.maximum(root_mean_square(y0), root_mean_square(y1))
            return jax.tree.map(lambda a: jnp.full_like(a, common), y0)
        return jax.tree.map(lambda a, b: jnp.maximum(jnp.abs(a), jnp.abs(b)), y0, y1)

    def leaps(self, before: Any, after: Any) -> Bool[Array, ""]:
        """Whether a step may have gone past something that none of its stages could see."""
        del before, after
        return jnp.asarray(False)

    def margin(self, y: Any) -> Float[Array, ""] | None:
        """How far y is from where round-off decides.

        That is the smallest singular value as a share of the largest, negative where the
        determinant has another sign than at the start. None where the coordinates keep both by
        construction, or the flow does not hang on them.
        """
        del y
        return None

    def units(self, y: Any) -> Float[Array, "2 d"] | None:
        """Sizes of what only grows out of itself, as hidden units do; and shares of the largest.

        What steps err by in all entries together is a larger share of these, and grows with them.
        None where they are not watched.
        """
        del y
        return None

    def watched(self, y: Any) -> tuple[Float[Array, ""] | None, Float[Array, "2 d"] | None]:
        """What a flow keeps the least of: `margin` and `units`."""
        return self.margin(y), self.units(y)

    def amplification(self, y: Any) -> Float[Array, ""]:
        """How many times relative errors made at y are expected to grow along the flow."""
        del y
        return jnp.asarray(1.0)

    def growth(self, y: Any) -> Float[Array, ""]:
        """The same without a limit to what steps prepare for."""
        return self.amplification(y)

    def near_singularity(self, y: Any) -> Bool[Array, ""]:
        """Whether y lies where these coordinates are about to fail, so that others must go on."""
        del y
        return jnp.asarray(False)

    def switched(self, y: Any) -> tuple["AbstractCoordinates", Any]:
        """Coordinates that are not near a singularity at the same point, and y in them."""
        return self, y


def _signs(shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Signs without a pattern: the highest bits of positions that are scrambled."""
    bits = scrambled(jnp.arange(math.prod(shape), dtype=jnp.uint32))
    return jnp.where(bits >> 31 == 1, -1.0, 1.0).reshape(shape)


def root_mean_square(y: Any) -> Float[Array, ""]:
    """Of all entries of a tree together."""
    leaves = jax.tree.leaves(y)
    total = jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in leaves]))
    return jnp.sqrt(total / sum(leaf.size for leaf in leaves))


def norm_of(x: Float[Array, "*n"]) -> Float[Array, ""]:
    """The Euclidean norm of all entries, also where their squares are no numbers."""
    largest = jnp.max(jnp.abs(x))
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    return unit * jnp.linalg.norm((x / unit).ravel())


def expected_norm(problem: AbstractProblem) -> Float[Array, ""]:
    """About the norm of a product that fits: that of a steepest descent step from zero.

    Args:
      problem: what is fitted; 0 where its loss is not convex at zero along the gradient.
    """
    if isinstance(problem, SparseCompletion):  # the same, without the matrix
        return norm_of(problem.values)
    zero = jnp.zeros(problem.shape, jnp.result_type(float))
    slope = problem.gradient(zero)
    size = norm_of(slope)
    direction = slope / jnp.where(size > 0, size, 1.0)
    curvature = jnp.sum(direction * jax.jvp(problem.gradient, (zero,), (direction,))[1])
    norm = size / curvature
    return jnp.where((curvature > 0) & jnp.isfinite(norm), norm, 0.0)


def known_norm(problem: AbstractProblem) -> float:
    """`expected_norm` as a number, which is computed once for each problem that lives.

    Args:
      problem: what is fitted.
    """
    known = remembered(problem)
    if _NORM not in known:
        known[_NORM] = float(_expected_norm(problem))
    return known[_NORM]


def without_norms(problems: Iterable[AbstractProblem]) -> list[AbstractProblem]:
    """Those of which `known_norm` would have to find it out, each once."""
    return [one for one in {id(p): p for p in problems}.values() if _NORM not in remembered(one)]


def know_norms(problems: Sequence[AbstractProblem], norms: np.ndarray) -> None:
    """Let `known_norm` know what was computed of many together.

    Args:
      problems: any number of them.
      norms: of each what `expected_norm` says, compiled.
    """
    for problem, norm in zip(problems, norms.tolist(), strict=True):
        remembered(problem)[_NORM] = norm


_NORM = "expected norm"
_expected_norm = eqx.filter_jit(expected_norm)


def leaps_to_rise(
    goal: Float[Array, ""] | None, before: Float[Array, " n"], after: Float[Array, " n"]
) -> Bool[Array, ""]:
    """Whether a logarithm of no weight came near its rise too fast for a step's stages to see it.

    Until then logarithms are straight lines, and a step as long as can be has no error.

    Args:
      goal: the logarithm at the end of a rise; None where there is none.
      before: the logarithms where the step started.
      after: where it ended.
    """
    if goal is None:
        return jnp.asarray(False)
    return jnp.any((after > goal - _NEAR) & (after - before > _LEAP))


def growth_of_errors(
    goal: Array | None, product: Array, depth: int, steepest: float = _STEEPEST
) -> Float[Array, ""]:
    """How many times relative errors grow while a product rises to the norm `goal`.

    In the rise d|W|/dt is proportional to |W|^(2-2/N), so an error is a shift in time, and relative
    to |W| it grows like |W|^(1-2/N): at depths 1 and 2 not at all.

    Args:
      goal: the expected norm; None where there is none.
      product: W.
      depth: N.
      steepest: the largest rise that counts.
    """
    if goal is None or depth <= 2:
        return jnp.asarray(1.0)
    size = jnp.linalg.norm(product.ravel())
    rise = jnp.clip(goal / jnp.where(goal > 0, size, 1.0), 1.0, steepest)
    return rise ** (1 - 2 / depth)


def growth_in_logarithms(
    goal: Array | None, size: Float[Array, ""], depth: int
) -> Float[Array, ""]:
    """`growth_of_errors` from the logarithms of both norms, without a limit; see `ErrorControl`.

    Args:
      goal: the logarithm of the expected norm; None where there is none.
      size: the logarithm of the norm of W.
      depth: N.
    """
    if goal is None or depth <= 2:
        return jnp.asarray(1.0)
    return jnp.exp(jnp.minimum((1 - 2 / depth) * jnp.maximum(goal - size, 0.0), _LOG_LARGEST))
