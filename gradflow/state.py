"""A point of a run, and how it is read: product, loss, singular values, determinant."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gradflow import factored
from gradflow.factorizations.base import Factors
from gradflow.factorizations.cp_tensor import CPTensor
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg.lengths import column_lengths, length_of, root
from gradflow.linalg.spectrum import singular_values
from gradflow.linalg.thin_svd import see_matrix
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem


class AbstractView(eqx.Module):
    """How the arrays y that stand for a point are read.

    What is given here for all views goes through the product; one that knows singular values, the
    loss or the determinant better than the product's entries do says so.
    """

    name: eqx.AbstractClassVar[str]

    @property
    @abc.abstractmethod
    def problem(self) -> AbstractProblem:
        """What is fitted."""

    @abc.abstractmethod
    def product(self, y: Any) -> Array:
        """The product W."""

    @abc.abstractmethod
    def squared_gradient_norm(self, y: Any) -> Float[Array, ""]:
        """The squared norm of the gradient of the value in the (balanced) factors."""

    def gradient_norm(self, y: Any) -> Float[Array, ""]:
        """The root of that. Where it is 0 it has a kink, and 0 stands for its derivative."""
        return root(self.squared_gradient_norm(y))

    def factors(self, y: Any) -> Factors | None:
        """The factors, where y tells them."""
        del y
        return None

    def loss(self, y: Any) -> Float[Array, ""]:
        """The loss at the product, without a penalty."""
        return self.problem.loss(self.product(y))

    def penalty(self, y: Any) -> Float[Array, ""]:
        """The penalty; 0 in views that have none."""
        return jnp.zeros_like(self.loss(y))

    def value(self, y: Any) -> Float[Array, ""]:
        """The loss + penalty."""
        return self.loss(y) + self.penalty(y)

    def singular_values(self, y: Any) -> Float[Array, " k"]:
        """Singular values of the product, in falling order."""
        return singular_values(self.product(y))

    def relative_singular_values(self, y: Any) -> Float[Array, " k"]:
        """The same up to a common factor, by which a product too small to be a number has some."""
        return self.singular_values(y)

    def entries(self, y: Any, indices: Int[Array, "u order"]) -> Float[Array, " u"]:
        """Entries of the product."""
        return self.product(y)[tuple(indices.T)]

    def log_component_norms(self, y: Any) -> Float[Array, " rank"]:
        """Logarithms of the norms of a CP tensor's components.

        Raises:
          ValueError: where there are none.
        """
        del y
        raise ValueError(f"{self.name!r} has no components; they are those of a CPTensor.")

    def slogdet(self, y: Any) -> tuple[Array, Array]:
        """Sign and logarithm of the absolute value of the determinant of a square product."""
        sign, log = jnp.linalg.slogdet(self.product(y))
        return sign, log

    def unbalancedness(self, y: Any) -> Float[Array, ""]:
        """Unbalancedness magnitude of the factors; 0 where only balanced ones can be."""
        return jnp.zeros_like(self.loss(y))


class AbstractFactorsView(AbstractView):
    """A view in which y tells the factors.

    Attributes:
      objective: the problem, its factorisation and its penalty.
    """

    objective: eqx.AbstractVar[Objective]

    @abc.abstractmethod
    def factors(self, y: Any) -> Factors:
        """The factors."""

    @property
    def problem(self) -> AbstractProblem:
        return self.objective.problem

    def product(self, y: Any) -> Array:
        factored.see_formed(self.problem)
        return self.objective.product(self.factors(y))

    def loss(self, y: Any) -> Float[Array, ""]:
        if self.objective.by_observations:
            return self.objective.loss(self.factors(y))
        return super().loss(y)

    def singular_values(self, y: Any) -> Float[Array, " k"]:
        model = self.objective.factorization
        if self.objective.by_observations and isinstance(model, MatrixProduct):
            s = factored.singular_values(model, self.factors(y))
        else:
            s = super().singular_values(y)
        # Beyond the rank that W can have they are rounding.
        return jnp.where(jnp.arange(s.size) < model.highest_rank, s, 0)

    def entries(self, y: Any, indices: Int[Array, "u order"]) -> Float[Array, " u"]:
        model = self.objective.factorization
        if self.objective.by_observations and isinstance(model, MatrixProduct):
            return factored.entries(model, self.factors(y), indices)
        return super().entries(y, indices)

    def squared_gradient_norm(self, y: Any) -> Float[Array, ""]:
        gradient = self.objective.gradient(self.factors(y))
        return jnp.sum(jnp.stack([jnp.sum(g**2) for g in gradient]))

    def penalty(self, y: Any) -> Float[Array, ""]:
        return self.objective.penalty_at(self.factors(y))

    def log_component_norms(self, y: Any) -> Float[Array, " rank"]:
        model = self.objective.factorization
        if not isinstance(model, CPTensor):
            raise ValueError(
                f"{type(model).__name__} has no components; they are those of a CPTensor."
            )
        lengths = jnp.stack([column_lengths(f) for f in self.factors(y)])
        return jnp.sum(jnp.log(lengths), axis=0)

    def slogdet(self, y: Any) -> tuple[Array, Array]:
        factors = self.factors(y)
        if self.objective.factorization.highest_rank < min(self.problem.shape):
            zero = jnp.zeros((), factors[0].dtype)
            return zero, jnp.log(zero)
        square = all(f.ndim == 2 and f.shape[0] == f.shape[1] for f in factors)
        if not (square and isinstance(self.objective.factorization, MatrixProduct)):
            return super().slogdet(y)
        parts = [jnp.linalg.slogdet(f) for f in factors]
        sign = jnp.prod(jnp.stack([p[0] for p in parts]))
        return sign, jnp.sum(jnp.stack([p[1] for p in parts]))

    def unbalancedness(self, y: Any) -> Float[Array, ""]:
        return self.objective.factorization.unbalancedness(self.factors(y))


class FactorsView(AbstractFactorsView):
    """y is the tuple of factors itself, as in a descent.

    Attributes:
      objective: the problem, its factorisation and its penalty.
      rate: the learning rate at the point, where a descent has one.
    """

    objective: Objective
    rate: Array | None = None
    name: ClassVar[str] = "factors"

    def factors(self, y: Factors) -> Factors:
        return y

    def gradient_norm(self, y: Factors) -> Float[Array, ""]:
        return length_of(self.objective.gradient(y))  # in float32 squares vanish early


class State(eqx.Module):
    """A point of a run: what an observable is a function of.

    Attributes:
      view: how y is read; in a flow, its coordinates.
      y: the arrays that stand for the point.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
      >>> start = objective.factorization.identity(0.5)
      >>> trace = {"trace": lambda state: jnp.trace(state.product)}
      >>> flow = gf.solve_flow(objective, start, horizon=1.0, observe=trace)
      >>> float(flow["trace"][0])
      1.0
    """

    view: AbstractView
    y: Any

    @property
    def problem(self) -> AbstractProblem:
        """What is fitted."""
        return self.view.problem

    @property
    def product(self) -> Array:
        """The product W."""
        return self.view.product(self.y)

    @property
    def factors(self) -> Factors:
        """The factors.

        Raises:
          ValueError: in coordinates that do not know them.
        """
        factors = self.view.factors(self.y)
        if factors is None:
            raise ValueError(
                f"Coordinates {self.view.name!r} do not carry the factors; "
                "use coordinates='factors'."
            )
        return factors

    @property
    def singular_values(self) -> Float[Array, " k"]:
        """Singular values of the product in falling order, with the view's accuracy.

        Raises:
          ValueError: if it is no matrix.
        """
        see_matrix(self.problem.shape)
        return self.view.singular_values(self.y)


def recordable(name: str, value: Any) -> Any:
    """What an observable gives, if it can be recorded: an array, a number or a tuple of such.

    Args:
      name: of the observable.
      value: what it gives.

    Raises:
      ValueError: if it gives something else.
    """
    for part in value if isinstance(value, tuple) else (value,):
        if not hasattr(part, "dtype") and not isinstance(part, bool | int | float | complex):
            raise ValueError(
                f"The observable {name!r} gives a {type(part).__name__}, which cannot be "
                "recorded; let it give an array, a number or a tuple of such."
            )
    return value
