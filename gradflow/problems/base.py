r"""What is fitted: a loss of a matrix, a tensor or a vector W.

`AbstractProblem` asks for `shape` and `loss` and nothing more. Most problems are linear measurement
and a quadratic loss (`AbstractQuadraticProblem`),

    loss(W) = c * sum_k (A(W) - y)_k^2,    gradient(W) = 2 c A^T(A(W) - y),

with the factor c chosen by name, since papers differ: "half_sum" (c = 1/2; Arora, Razin, Wang),
"sum" (c = 1; Zhao) and "mean" (c = 1/n; the code of Arora, and of Razin for tensors).
"""

import abc
from typing import TYPE_CHECKING, Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.provenance import static_fields
from gradflow._util.validate import finite_array

LossConvention = Literal["half_sum", "sum", "mean"]


def astype(tree: Any, dtype: Any) -> Any:
    """Convert every floating-point array in a problem, objective or set of factors.

    Args:
      tree: any tree of arrays (problems and factorisations are trees).
      dtype: the wanted precision, for instance `jax.numpy.float32`.

    Returns:
      The same tree with converted arrays; integers and booleans stay.

    Example:
      >>> import jax.numpy as jnp
      >>> astype((jnp.ones(2), jnp.arange(2)), jnp.float32)[0].dtype
      dtype('float32')
    """

    def convert(leaf: Any) -> Any:
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf.astype(dtype)
        return leaf

    return jax.tree.map(convert, tree)


class AbstractProblem(eqx.Module):
    """A loss of W. An own problem gives `shape` and `loss`; the rest has defaults.

    `loss` is a pure JAX function. Solvers with a Jacobian differentiate it twice (forward over
    reverse), so a `jax.custom_vjp` inside needs `gradient` in closed form.

    Attributes:
      truth: what is to be recovered; None where it is not known.

    Example:
      >>> import gradflow as gf, jax, jax.numpy as jnp
      >>> class QuarticCompletion(gf.problems.AbstractProblem):
      ...     target: jax.Array
      ...     mask: jax.Array
      ...
      ...     @property
      ...     def shape(self):
      ...         return self.target.shape
      ...
      ...     def loss(self, w):
      ...         return jnp.sum(self.mask * (w - self.target) ** 4)
      >>> problem = QuarticCompletion(jnp.ones((2, 2)), jnp.eye(2))
      >>> problem.gradient(jnp.zeros((2, 2))).tolist()
      [[-4.0, 0.0], [0.0, -4.0]]
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(
      ...     objective, gf.factorizations.identity_factors((2, 2, 2), 0.1), stop_loss=1e-3
      ... )
      >>> flow.outcome.name
      'REACHED_LOSS'
    """

    if TYPE_CHECKING:
        truth: Array | None
    else:
        truth = None  # no annotation: a subclass says where among its fields it stands

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of W."""

    @abc.abstractmethod
    def loss(self, w: Float[AnyArray, "*shape"]) -> Float[Array, ""]:
        """The loss at W, of shape `self.shape`."""

    def gradient(self, w: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """The gradient of the loss at W; by differentiation where no closed form is given."""
        return jax.grad(self.loss)(w)

    def loss_and_gradient(self, w: AnyArray) -> tuple[Array, Array]:
        """Both; a compiled program computes what they share once."""
        return self.loss(w), self.gradient(w)

    @property
    def twice_differentiable(self) -> bool:
        """Whether second derivatives are continuous.

        Where they jump, `solve_flow` takes explicit steps by default: a linearly implicit one may
        cross a jump without its error estimate seeing it (measured: errors of 1e-6 at any rtol).
        """
        return True

    def details(self) -> dict[str, Any]:
        """What a stored run says of the problem beside its kind, shape and data's fingerprint."""
        return static_fields(self)


class AbstractQuadraticProblem(AbstractProblem):
    """Linear measurement, quadratic loss c * ||A(W) - y||^2, with the module's three conventions.

    A subclass gives the fields `convention` and `truth`, and `shape`, `observations`, `residual`
    and `adjoint`.
    """

    convention: eqx.AbstractVar[LossConvention]
    truth: eqx.AbstractVar[Array | None]

    @property
    @abc.abstractmethod
    def observations(self) -> int:
        """The number n of observed values."""

    @abc.abstractmethod
    def residual(self, w: AnyArray) -> Array:
        """A(W) - y, in whatever shape suits the problem (unobserved places hold 0)."""

    @abc.abstractmethod
    def adjoint(self, residual: Array) -> Array:
        """A^T applied to a residual: an array of the shape of W."""

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of y, whose first axis is what minibatches are drawn from."""
        return (self.observations,)

    def in_place(self, numbers: Float[AnyArray, "n *k"]) -> Array:
        """Numbers that belong to observations, where `residual` has these; 0 elsewhere.

        Args:
          numbers: of `label_shape`, or one for each place along its first axis.
        """
        return jnp.asarray(numbers)

    @property
    def weight(self) -> float:
        """The factor c of the loss convention."""
        return convention_weight(self.convention, self.observations)

    def loss(self, w: Float[AnyArray, "*shape"]) -> Float[Array, ""]:
        """The loss c * ||A(W) - y||^2 at W, of shape `self.shape`."""
        return self.weight * jnp.sum(self.residual(w) ** 2)

    def gradient(self, w: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """The closed-form gradient 2 c A^T(A(W) - y) of the loss at W."""
        return 2 * self.weight * self.adjoint(self.residual(w))

    def loss_and_gradient(self, w: AnyArray) -> tuple[Array, Array]:
        """Both at the price of one residual."""
        residual = self.residual(w)
        return self.weight * jnp.sum(residual**2), 2 * self.weight * self.adjoint(residual)

    def details(self) -> dict[str, Any]:
        return {"observations": self.observations, "loss_convention": self.convention}


def checked_convention(value: Any, kind: Any) -> Any:
    """The convention, if it is one of those that the literal type lists.

    Args:
      value: what was given as `loss`.
      kind: the type.

    Raises:
      ValueError: if it is none of them.
    """
    if value not in get_args(kind):
        raise ValueError(f"loss must be one of {', '.join(get_args(kind))}, but it is {value!r}.")
    return value


def convention_weight(convention: LossConvention, observations: int) -> float:
    """The factor c of a loss convention.

    Args:
      convention: by name.
      observations: how many there are.
    """
    return {"half_sum": 0.5, "sum": 1.0, "mean": 1.0 / observations}[convention]


def checked_truth(truth: Checked[ArrayLike | None], shape: tuple[int, ...]) -> Array | None:
    """A ground truth as an array; None if there is none.

    Args:
      truth: what was given.
      shape: of the problem.

    Raises:
      ValueError: if it is not of that shape, or not finite.
    """
    if truth is None:
        return None
    array = finite_array("truth", truth)
    if array.shape != shape:
        raise ValueError(
            f"truth has shape {array.shape} but the problem has shape {shape}; they must agree."
        )
    return jnp.asarray(array)


def check_counts(first: int, first_name: str, second: int, second_name: str) -> None:
    """See that there is one of the second for each of the first.

    Args:
      first: how many.
      first_name: what they are called.
      second: how many.
      second_name: what they are called.

    Raises:
      ValueError: if there is none, or not one for each.
    """
    if first == 0:
        raise ValueError(f"There is no observation at all: {first_name} is empty; give some.")
    if first != second:
        raise ValueError(
            f"There are {first} {first_name} but {second} {second_name}; give one for each."
        )
