"""What both engines minimise: a problem, a factorisation, a penalty."""

from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow import factored
from gradflow._util.annotations import Checked
from gradflow.factorizations.base import AbstractFactorization, Factors, FactorsLike
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.penalties.base import AbstractParameterPenalty, AbstractRegularizer
from gradflow.problems.base import AbstractProblem
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.sparse import SparseCompletion


class Objective(eqx.Module):
    r"""A problem, the way its W is parameterised and a penalty: what both engines minimise.

    The value is loss + penalty, and gradients are those of the value. The loss alone, how well the
    data are fitted, is what runs stop at and what papers plot.

    Args:
      problem: the loss in W.
      factorization: the map from factors to W.
      penalty: on W or on the factors, from `gradflow.penalties` or an own one; None for none.
      path: how loss and gradient of a completion are had: "dense" forms W; "observations" gathers
        rows of thin factors and sums by segments, and never forms it; "auto" takes what is
        expected to be faster, and of a `SparseCompletion` always the latter. They differ by
        rounding.

    Raises:
      ValueError: if the shapes differ, the penalty is not for a W of this shape, or the path is
        none that the problem, the factorisation and the penalty have.

    Example:
      >>> import jax.numpy as jnp, gradflow as gf
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = Objective(problem, gf.MatrixProduct.of(problem.shape, depth=3))
      >>> start = (jnp.eye(2), jnp.eye(2), jnp.eye(2))
      >>> float(objective.loss(start))
      1.5
      >>> penalised = Objective(problem, objective.factorization, gf.NuclearNorm(weight=0.25))
      >>> float(penalised.loss(start)), float(penalised.value(start))
      (1.5, 2.0)

    References:
      zhao2022, Equation (1).
    """

    problem: Checked[AbstractProblem]
    factorization: Checked[AbstractFactorization]
    penalty: Checked[AbstractRegularizer | None] = None
    path: Checked[factored.Path] = eqx.field(static=True, default="auto")

    def __check_init__(self) -> None:
        if not isinstance(self.problem, AbstractProblem):
            raise ValueError(
                "problem must be one of gradflow.problems, such as gradflow.MatrixCompletion, or "
                f"problems.LossFunction(shape, function), but it is {self.problem!r}."
            )
        if not isinstance(self.factorization, AbstractFactorization):
            raise ValueError(
                "factorization must be one of gradflow.factorizations, such as "
                f"gradflow.MatrixProduct, but it is {self.factorization!r}."
            )
        if self.problem.shape != self.factorization.shape:
            raise ValueError(
                f"The problem has shape {self.problem.shape} but the factorization has shape "
                f"{self.factorization.shape}; build it with MatrixProduct.of(problem.shape, depth)."
            )
        if self.penalty is not None and not isinstance(self.penalty, AbstractRegularizer):
            raise ValueError(
                f"penalty must be one of gradflow.penalties, such as gradflow.NuclearNorm(0.05), "
                f"but it is {self.penalty!r}."
            )
        if self.penalty is not None:
            self.penalty.check(self.problem.shape)
        self._check_path()

    def _check_path(self) -> None:
        """See that the path can be had."""
        if self.path not in get_args(factored.Path):
            raise ValueError(
                f"path must be one of {', '.join(get_args(factored.Path))}, but it is "
                f"{self.path!r}."
            )
        sparse = isinstance(self.problem, SparseCompletion)
        if sparse and self.path == "dense":
            raise ValueError(
                "path='dense' forms W, and a SparseCompletion never does; give a MatrixCompletion, "
                "or leave path away."
            )
        if self.path == "observations" or sparse:
            reason = factored.refusal(self.problem, self.factorization, self.penalty)
            if reason is not None:
                raise ValueError(f"W cannot be left unformed: {reason}.")

    @property
    def by_observations(self) -> bool:
        """Whether loss and gradient are had by observations, without W; see `path`."""
        problem, model = self.problem, self.factorization
        if self.path == "observations" or isinstance(problem, SparseCompletion):
            return True
        if self.path == "dense" or not isinstance(problem, MatrixCompletion):
            return False
        if factored.refusal(problem, model, self.penalty) is not None:
            return False
        return isinstance(model, MatrixProduct) and factored.pays(problem, model)

    def _observed(self) -> tuple[Any, Any] | None:
        """The problem and the model, if W is not formed."""
        return (self.problem, self.factorization) if self.by_observations else None

    @property
    def conserves_balance(self) -> bool:
        """Whether its gradient flow keeps the factorisation's invariants: the value hangs on W."""
        return not isinstance(self.penalty, AbstractParameterPenalty)

    def product(self, factors: FactorsLike) -> Array:
        """The array W."""
        return self.factorization.product(_arrays(factors))

    def loss(self, factors: FactorsLike) -> Float[Array, ""]:
        """The loss at the factors' product, without the penalty."""
        if (observed := self._observed()) is not None:
            return factored.loss(*observed, _arrays(factors))
        return self.problem.loss(self.product(factors))

    def penalty_at(self, factors: FactorsLike) -> Float[Array, ""]:
        """The penalty, weight included; 0 if there is none."""
        factors = _arrays(factors)
        if self.penalty is None:
            return jnp.zeros((), jnp.result_type(*factors))
        if isinstance(self.penalty, AbstractParameterPenalty):
            return self.penalty.value(factors)
        argument = self.penalty.argument(self.product(factors), factors)
        return self.penalty.value_at_rank(argument, self.factorization.highest_rank)

    def value(self, factors: FactorsLike) -> Float[Array, ""]:
        """The loss + penalty at the factors' product."""
        return self.loss(factors) + self.penalty_at(factors)

    def loss_and_gradient(
        self, factors: FactorsLike, kink_width: Any = None
    ) -> tuple[Array, Factors]:
        """The loss, and the gradient of the whole value in each factor, in closed form.

        Args:
          factors: W_1, ..., W_N.
          kink_width: up to which share of the largest the penalty's slopes in singular values
            rise from 0; see `AbstractSpectralPenalty.gradient`.
        """
        arrays = _arrays(factors)
        if (observed := self._observed()) is not None:
            loss, slopes = factored.loss_and_gradient(*observed, arrays)
            if isinstance(self.penalty, AbstractParameterPenalty):
                slopes = jax.tree.map(jnp.add, slopes, self.penalty.gradient(arrays))
            return loss, slopes
        w, partial = self.factorization.forward(arrays)
        loss, gradient = self.problem.loss_and_gradient(w)

        def pullback(gradient: Array) -> Factors:
            return self.factorization.pullback(arrays, partial, gradient)

        if self.penalty is None:
            return loss, pullback(gradient)
        return loss, self.penalty.add_gradient(
            gradient, w, arrays, pullback, kink_width, self.factorization.highest_rank
        )

    def gradient(self, factors: FactorsLike, kink_width: Any = None) -> Factors:
        """The gradient of the whole value in each factor, in closed form."""
        return self.loss_and_gradient(factors, kink_width)[1]

    def smooth(self, factors: FactorsLike, tolerance: Any = None) -> Bool[Array, ""]:
        """Whether the value has a gradient at the factors: always, but at a penalty's kinks.

        Args:
          factors: W_1, ..., W_N.
          tolerance: singular values up to this share of the largest (4096 eps by default) count as
            null.
        """
        if self.penalty is None:
            return jnp.asarray(True)
        arrays = _arrays(factors)
        if self.by_observations:  # the penalty is of the factors
            return self.penalty.smooth(arrays, tolerance)
        w = self.product(arrays)
        return self.penalty.smooth_at(self.factorization, w, arrays, tolerance)

    def crossed(self, before: FactorsLike, after: FactorsLike, tolerance: Any) -> Bool[Array, ""]:
        """Whether a kink lies between two points; see `AbstractSpectralPenalty.crossed`."""
        if self.penalty is None or not self.penalty.kinked:
            return jnp.asarray(False)
        start, end = (
            self.penalty.argument(self.product(at), _arrays(at)) for at in (before, after)
        )
        return self.penalty.crossed(start, end, tolerance)


def _arrays(factors: FactorsLike) -> Factors:
    return tuple(jnp.asarray(factor) for factor in factors)
