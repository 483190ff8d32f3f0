r"""Gradients of some of the observations: minibatches, and noise on their labels.

A loss is a sum over n observations, and so is its gradient, sum_i g_i. A batch of b of them gives
(n/b) sum_{i in batch} g_i, whose mean is the gradient. Noise delta xi_i on labels adds to each g_i
a multiple of the gradient of what is measured, without changing the mean either.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradflow import factored
from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import positive, real, whole
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.penalties.base import AbstractParameterPenalty
from gradflow.problems.base import AbstractProblem, AbstractQuadraticProblem

Draw = Literal["independent", "subset", "epoch"]
DRAWS = ("independent", "subset", "epoch")


class Drawn(NamedTuple):
    """Some observations.

    Attributes:
      places: of b observations, some of them perhaps repeated.
      weights: how much each counts.
      pushes: what is added to their labels, of shape (b, *k), times the weights; None for nothing.
    """

    places: Int[Array, " b"]
    weights: Float[Array, " b"]
    pushes: Float[Array, "b *k"] | None


class Sampling(eqx.Module):
    r"""What an iteration of a descent sees: a batch of the observations, with or without noise.

    Draws hang on the key and on the number of the iteration alone: they are the same however a run
    is cut into parts or put into a batch. For quadratic losses: completion (of thin products
    without forming them, too), sensing, least squares, whose observations are its rows.

    Args:
      batch: how many observations, at most all; None for all of them.
      draw: "independent", with replacement; "subset", without replacement in a batch; "epoch",
        without replacement until all were drawn, then in a new order. The last batch of an epoch is
        smaller where batches do not divide the observations, and counts as much as others.
      label_noise: the standard deviation of the Gaussian noise that is added to every label of a
        batch, anew in every iteration, at least 0.

    Raises:
      ValueError: if a value is out of range, or there is neither a batch nor noise.

    Example:
      >>> import gradflow as gf, jax
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> start = objective.factorization.identity(0.5)
      >>> run = gf.run_descent(
      ...     objective,
      ...     start,
      ...     gf.optimizers.gd,
      ...     learning_rate=0.05,
      ...     max_steps=100,
      ...     sampling=Sampling(batch=1, draw="epoch"),
      ...     key=jax.random.key(0),
      ... )
      >>> bool(run["loss"][-1] < 0.1 * run["loss"][0])
      True

    References:
      Robbins and Monro 1951; Blanc, Gupta, Valiant and Valiant 2020 (noise on labels).
    """

    batch: int | None = eqx.field(static=True)
    draw: Draw = eqx.field(static=True)
    label_noise: Float[Array, ""] | None

    def __init__(
        self,
        batch: Checked[int | None] = None,
        draw: Checked[Draw] = "subset",
        label_noise: Checked[float] = 0.0,
    ):
        self.batch = None if batch is None else whole("batch", batch)
        self.label_noise = noise_of(label_noise)
        if draw not in DRAWS:
            raise ValueError(f"draw must be one of {', '.join(DRAWS)}, but it is {draw!r}.")
        self.draw = draw
        if self.batch is None and self.label_noise is None:
            raise ValueError(
                "Sampling() is the whole gradient; give a batch, or label_noise, or leave sampling "
                "away."
            )

    def check(self, objective: Objective) -> None:
        """See that an objective's observations can be drawn.

        Args:
          objective: whose.

        Raises:
          ValueError: if not.
        """
        see_observations(objective, self.batch)

    def drawn(
        self, objective: Objective, key: PRNGKeyArray, count: Int[AnyArray, ""], dtype: Any
    ) -> Drawn:
        """What an iteration sees.

        Args:
          objective: whose observations.
          key: of the run.
          count: of iterations done before.
          dtype: of the weights.
        """
        shape = quadratic(objective).label_shape
        n = shape[0]
        size = n if self.batch is None else self.batch
        of_places, of_labels = (jax.random.fold_in(key, stream) for stream in (0, 1))
        weights = jnp.full(size, n / size, dtype)
        if size == n and self.draw != "independent":
            places = jnp.arange(n)
        elif self.draw == "independent":
            places = jax.random.randint(jax.random.fold_in(of_places, count), (size,), 0, n)
        elif self.draw == "subset":
            places = jax.random.permutation(jax.random.fold_in(of_places, count), n)[:size]
        else:
            each = -(-n // size)
            order = jax.random.permutation(jax.random.fold_in(of_places, count // each), n)
            at = (count % each) * size + jnp.arange(size)
            there = at < n
            places = order[jnp.where(there, at, 0)]
            weights = jnp.where(there, n / jnp.sum(there), 0.0).astype(dtype)
        if self.label_noise is None:
            return Drawn(places, weights, None)
        noise = jax.random.normal(
            jax.random.fold_in(of_labels, count), (size, *shape[1:]), dtype=dtype
        )
        deviation = self.label_noise.astype(dtype)
        return Drawn(places, weights, deviation * _along(weights, noise) * noise)


def noise_of(label_noise: Checked[float]) -> Float[Array, ""] | None:
    """A standard deviation, as data, so that another one compiles nothing again; None for 0.

    Raises:
      ValueError: if it is below 0.
    """
    if real(label_noise) == 0:
        return None
    return jnp.asarray(positive("label_noise", label_noise))


def quadratic(objective: Objective) -> AbstractQuadraticProblem:
    """The objective's problem, whose observations are known.

    Raises:
      ValueError: if they are not.
    """
    if not isinstance(objective.problem, AbstractQuadraticProblem):
        raise ValueError(
            f"Observations are drawn of quadratic losses, and {type(objective.problem).__name__} "
            "is none; fit by MatrixCompletion, SparseCompletion, MatrixSensing, LeastSquares or "
            "the like, or an own AbstractQuadraticProblem."
        )
    return objective.problem


def see_observations(objective: Objective, batch: int | None) -> None:
    """See that batches of this size can be drawn.

    Args:
      objective: whose observations.
      batch: their number in a batch; None for all.

    Raises:
      ValueError: if not.
    """
    n = quadratic(objective).label_shape[0]
    if batch is not None and batch > n:
        raise ValueError(f"batch must be at most the number of observations, {n}, not {batch}.")


def sampled(
    objective: Objective, factors: Factors, drawn: Drawn, whole_loss: bool = False
) -> tuple[Array, Factors]:
    """The loss of what was drawn, and its gradient in the factors, penalty included.

    Args:
      objective: the problem, its factorisation and its penalty.
      factors: W_1, ..., W_N.
      drawn: what counts.
      whole_loss: give the loss of all observations instead.
    """
    problem = quadratic(objective)
    if not objective.by_observations:
        part = _PartlyObserved(problem, drawn, whole_loss)
        return eqx.tree_at(lambda o: o.problem, objective, part).loss_and_gradient(factors)
    loss, slopes = _by_observations(objective, factors, drawn)
    if isinstance(objective.penalty, AbstractParameterPenalty):
        slopes = jax.tree.map(jnp.add, slopes, objective.penalty.gradient(factors))
    return objective.loss(factors) if whole_loss else loss, slopes


class _PartlyObserved(AbstractProblem):
    """A quadratic problem of which some observations count, each with a weight and a shift."""

    problem: AbstractQuadraticProblem
    drawn: Drawn
    whole_loss: bool = eqx.field(static=True)

    def __init__(self, problem: AbstractQuadraticProblem, drawn: Drawn, whole_loss: bool):
        self.problem, self.drawn, self.whole_loss = problem, drawn, whole_loss

    @property
    def shape(self) -> tuple[int, ...]:
        return self.problem.shape

    def loss(self, w: AnyArray) -> Array:
        return self.loss_and_gradient(w)[0]

    def loss_and_gradient(self, w: AnyArray) -> tuple[Array, Array]:
        problem, (places, weights, pushes) = self.problem, self.drawn
        shape, residual = problem.label_shape, problem.residual(w)
        weight = problem.in_place(jnp.zeros(shape[0], weights.dtype).at[places].add(weights))
        pull = weight * residual
        loss = jnp.sum(pull * residual)
        if pushes is not None:
            push = problem.in_place(jnp.zeros(shape, pushes.dtype).at[places].add(pushes))
            loss = loss - 2 * jnp.sum(push * residual) + _own(weights, pushes)
            pull = pull - push
        if self.whole_loss:
            loss = jnp.sum(residual**2)
        return problem.weight * loss, 2 * problem.weight * problem.adjoint(pull)


def _by_observations(objective: Objective, factors: Factors, drawn: Drawn) -> tuple[Array, Factors]:
    """Without forming W: only entries that were drawn are."""
    problem: Any = objective.problem
    model: Any = objective.factorization
    places, weights, pushes = drawn

    def loss(factors: Factors) -> Array:
        entries = factored.entries(model, factors, problem.indices[places])
        residual = entries - problem.values[places]
        squares = jnp.sum(weights * residual**2)
        if pushes is not None:
            squares = squares - 2 * jnp.sum(pushes * residual) + _own(weights, pushes)
        return problem.weight * squares

    return jax.value_and_grad(loss)(factors)


def _along(weights: Array, labels: Array) -> Array:
    """The weights with as many axes as labels have."""
    return jnp.reshape(weights, (-1, *[1] * (labels.ndim - 1)))


def _own(weights: Array, pushes: Array) -> Array:
    """The sum of the squares of what was added to labels, by weights."""
    each = _along(weights, pushes)
    return jnp.sum(jnp.where(each > 0, pushes**2 / jnp.where(each > 0, each, 1.0), 0.0))
