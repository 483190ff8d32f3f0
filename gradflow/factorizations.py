r"""How W is parameterised: a product of matrices W = W_N ... W_1, or a CP tensor.

`factors[0]` acts first (it is W_1). Initialisations are in `gradflow.initializations`.
"""

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow._validate import shape_of, whole
from gradflow.penalties import AbstractPenalty, resolution
from gradflow.problems import AbstractProblem

Factors = tuple[Array, ...]


class AbstractFactorization(eqx.Module):
    """A polynomial map from factors to the array W, with its derivative's transpose."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the product."""

    @property
    @abc.abstractmethod
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the factors, in order."""

    @abc.abstractmethod
    def forward(self, factors: Factors) -> tuple[Array, Any]:
        """The product, and what `pullback` can use again."""

    @abc.abstractmethod
    def pullback(self, factors: Factors, partial: Any, gradient: Array) -> Factors:
        """Gradient in the factors from `gradient`, the gradient in W, and `forward`'s partials."""

    @abc.abstractmethod
    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """What every gradient flow of a function of W conserves."""

    def product(self, factors: Factors) -> Array:
        """The array W that the factors stand for."""
        return self.forward(factors)[0]

    def check(self, factors: Any) -> Factors:
        """Return the factors as a tuple of arrays.

        Raises:
          ValueError: if a factor is missing or has the wrong shape.
        """
        arrays = tuple(jnp.asarray(f) for f in factors)
        found = tuple(a.shape for a in arrays)
        if found != self.factor_shapes:
            raise ValueError(
                f"The factors have shapes {found}, but {self!r} needs {self.factor_shapes}; "
                "factors[0] is W_1, the one that acts first."
            )
        return arrays


class MatrixProduct(AbstractFactorization):
    r"""Depth-N matrix product W = W_N ... W_1, with factors[j-1] = W_j of shape (d_j, d_{j-1}).

    Args:
      sizes: (d_0, d_1, ..., d_N): the columns of W, the hidden sizes, the rows of W. Two sizes give
        depth 1, where the only factor is W itself.

    Example:
      >>> import jax.numpy as jnp
      >>> model = MatrixProduct((3, 2, 4))
      >>> model.product((jnp.ones((2, 3)), jnp.ones((4, 2)))).shape
      (4, 3)

    References:
      arora2019, Equation (1); razin2020, Equation (3).
    """

    sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, sizes: Sequence[int]):
        self.sizes = shape_of("sizes", sizes)
        if len(self.sizes) < 2:
            raise ValueError(f"sizes must hold (d_0, ..., d_N) with N >= 1, but it is {sizes}.")

    @classmethod
    def of(cls, shape: Sequence[int], depth: int, hidden: int | None = None) -> "MatrixProduct":
        """The product of `depth` factors for a (d, d') matrix, all hidden sizes equal.

        Args:
          shape: (d, d').
          depth: the number N of factors.
          hidden: the hidden size; min(d, d') by default, which does not limit the rank.
        """
        rows, columns = shape_of("shape", shape, 2)
        width = min(rows, columns) if hidden is None else hidden
        return cls((columns, *[width] * (whole("depth", depth) - 1), rows))

    @property
    def depth(self) -> int:
        """The number N of factors."""
        return len(self.sizes) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.sizes[-1], self.sizes[0])

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple((self.sizes[j + 1], self.sizes[j]) for j in range(self.depth))

    def forward(self, factors: Factors) -> tuple[Array, Factors]:
        partial = [factors[0]]
        for factor in factors[1:]:
            partial.append(factor @ partial[-1])
        return partial[-1], tuple(partial)

    def pullback(self, factors: Factors, partial: Factors, gradient: Array) -> Factors:
        r"""dL/dW_j = (W_N ... W_{j+1})^T gradient (W_{j-1} ... W_1)^T."""
        gradients = []
        for j in range(self.depth - 1, 0, -1):
            gradients.append(gradient @ partial[j - 1].T)
            gradient = factors[j].T @ gradient
        gradients.append(gradient)
        return tuple(reversed(gradients))

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """W_{j+1}^T W_{j+1} - W_j W_j^T for each pair of neighbours."""
        pairs = zip(factors[:-1], factors[1:], strict=True)
        return tuple(high.T @ high - low @ low.T for low, high in pairs)

    def neighbours(self, factors: Factors) -> tuple[Factors, Factors]:
        """The products around each factor: all W_N ... W_{j+1}, and all W_{j-1} ... W_1."""
        dtype = factors[0].dtype
        left = [jnp.eye(self.sizes[-1], dtype=dtype)]
        right = [jnp.eye(self.sizes[0], dtype=dtype)]
        for j in range(self.depth - 1):
            left.append(left[-1] @ factors[-1 - j])
            right.append(factors[j] @ right[-1])
        return tuple(reversed(left)), tuple(right)


class CPTensor(AbstractFactorization):
    r"""CP tensor W = sum_r w_r^(1) x ... x w_r^(order), with factors[n] of shape (shape[n], rank).

    Products go through two Khatri-Rao halves, so that nearly all work is matrix multiplication.

    Args:
      shape: the lengths of the axes; at least two.
      rank: the number R of terms.

    Example:
      >>> import jax.numpy as jnp
      >>> CPTensor((2, 3, 4), 1).product(
      ...     (jnp.ones((2, 1)), jnp.ones((3, 1)), jnp.ones((4, 1)))
      ... ).shape
      (2, 3, 4)

    References:
      razin2020, Equation (12).
    """

    tensor_shape: tuple[int, ...] = eqx.field(static=True)
    rank: int = eqx.field(static=True)

    def __init__(self, shape: Sequence[int], rank: int):
        self.tensor_shape = shape_of("shape", shape)
        if len(self.tensor_shape) < 2:
            raise ValueError(f"A CP tensor needs at least 2 axes, but shape is {tuple(shape)}.")
        (self.rank,) = shape_of("(rank,)", (rank,))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor_shape

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple((n, self.rank) for n in self.tensor_shape)

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """The differences of squared norms of w_r^(n+1) and w_r^(n), for each r and n."""
        squares = [jnp.sum(factor**2, axis=0) for factor in factors]
        return tuple(b - a for a, b in zip(squares[:-1], squares[1:], strict=True))

    @property
    def _half(self) -> int:
        return (len(self.tensor_shape) + 1) // 2

    def forward(self, factors: Factors) -> tuple[Array, Factors]:
        left = _khatri_rao(factors[: self._half])
        right = _khatri_rao(factors[self._half :])
        return (left @ right.T).reshape(self.tensor_shape), (left, right)

    def pullback(self, factors: Factors, partial: Factors, gradient: Array) -> Factors:
        left, right = partial
        unfolded = gradient.reshape(left.shape[0], right.shape[0])
        half = self._half
        return (
            *_khatri_rao_pullback(factors[:half], unfolded @ right),
            *_khatri_rao_pullback(factors[half:], unfolded.T @ left),
        )


def _khatri_rao(factors: Factors) -> Array:
    """Column-wise Kronecker product: (n_1, R), (n_2, R), ... -> (n_1 n_2 ..., R)."""
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return result


def _khatri_rao_pullback(factors: Factors, cotangent: Array) -> Factors:
    """Gradients in the factors of a Khatri-Rao product, from the gradient in the product."""
    folded = cotangent.reshape(*[f.shape[0] for f in factors], -1)
    gradients = []
    for n in range(len(factors)):
        term = folded
        for m in range(len(factors) - 1, -1, -1):
            if m != n:
                term = jnp.sum(term * jnp.expand_dims(factors[m], _other_axes(term, m)), axis=m)
        gradients.append(term)
    return tuple(gradients)


def _other_axes(term: Array, axis: int) -> tuple[int, ...]:
    return tuple(k for k in range(term.ndim - 1) if k != axis)


class Objective(eqx.Module):
    r"""A problem, the way its W is parameterised and a penalty: what both engines minimise.

    The value is loss + penalty, and gradients are those of the value. The loss alone, how well the
    data are fitted, is what runs stop at and what papers plot.

    Args:
      problem: the loss in W.
      factorization: the map from factors to W.
      penalty: a penalty on W, a matrix, from `gradflow.penalties`; None for none.

    Raises:
      ValueError: if the shapes differ, or a penalty is given for a W that is no matrix.

    Example:
      >>> import jax.numpy as jnp, gradflow as gf
      >>> problem = gf.norm_blowup()
      >>> objective = Objective(problem, MatrixProduct.of(problem.shape, depth=3))
      >>> start = (jnp.eye(2), jnp.eye(2), jnp.eye(2))
      >>> float(objective.loss(start))
      1.5
      >>> penalised = Objective(problem, objective.factorization, gf.NuclearNorm(weight=0.25))
      >>> float(penalised.loss(start)), float(penalised.value(start))
      (1.5, 2.0)

    References:
      zhao2022, Equation (1).
    """

    problem: AbstractProblem
    factorization: AbstractFactorization
    penalty: AbstractPenalty | None = None

    def __check_init__(self) -> None:
        if self.problem.shape != self.factorization.shape:
            raise ValueError(
                f"The problem has shape {self.problem.shape} but the factorization has shape "
                f"{self.factorization.shape}; build it with MatrixProduct.of(problem.shape, depth)."
            )
        if self.penalty is None:
            return
        if not isinstance(self.penalty, AbstractPenalty):
            raise ValueError(
                f"penalty must be one of gradflow.penalties, such as gradflow.NuclearNorm(0.05), "
                f"but it is {self.penalty!r}."
            )
        if len(self.problem.shape) != 2:
            raise ValueError(
                f"{type(self.penalty).__name__} is a penalty on matrices, but the problem has shape"
                f" {self.problem.shape}; leave penalty away."
            )

    def product(self, factors: Factors) -> Array:
        """The array W."""
        return self.factorization.product(factors)

    def loss(self, factors: Factors) -> Float[Array, ""]:
        """The loss at the factors' product, without the penalty."""
        return self.problem.loss(self.product(factors))

    def penalty_at(self, factors: Factors) -> Float[Array, ""]:
        """The penalty at the factors' product; 0 if there is none."""
        w = self.product(factors)
        return jnp.zeros((), w.dtype) if self.penalty is None else self.penalty.value(w)

    def value(self, factors: Factors) -> Float[Array, ""]:
        """The loss + penalty at the factors' product."""
        return self.loss(factors) + self.penalty_at(factors)

    def loss_and_gradient(self, factors: Factors, ramp: Any = None) -> tuple[Array, Factors]:
        """The loss, and the gradient of the whole value in each factor, in closed form.

        Args:
          factors: W_1, ..., W_N.
          ramp: up to which share of the largest the penalty's slopes in singular values rise from
            0; see `AbstractPenalty.gradient`.
        """
        w, partial = self.factorization.forward(factors)
        loss, gradient = self.problem.loss_and_gradient(w)
        if self.penalty is not None:
            gradient = gradient + self.penalty.gradient(w, ramp)
        return loss, self.factorization.pullback(factors, partial, gradient)

    def gradient(self, factors: Factors, ramp: Any = None) -> Factors:
        """The gradient of the whole value in each factor, in closed form."""
        return self.loss_and_gradient(factors, ramp)[1]

    def smooth(self, factors: Factors, tolerance: Any = None) -> Bool[Array, ""]:
        r"""Whether the value has a gradient at the factors.

        Singular values up to `tolerance` (4096 eps by default) times the largest count as null.

        It has one where the penalty has one in W. From depth 2 on it may have one elsewhere: a
        factor W_j moves W in the null directions by P A dW_j B Q only, with the products
        A = W_N ... W_{j+1} and B = W_{j-1} ... W_1 around it and the projections P, Q that remove
        the singular vectors of W that are not null. If these vanish, as for balanced factors, a
        nuclear norm has no kink in the factors. So it is enough that ||P A||_F ||B Q||_F <=
        sqrt(tolerance k) ||A||_F ||B||_F for all j, k = min(d, d'), where the penalty's lowest
        power is 1 and W != 0.
        """
        if self.penalty is None:
            return jnp.asarray(True)
        w = self.product(factors)
        tolerance = resolution(w.dtype) if tolerance is None else tolerance
        smooth = self.penalty.smooth(w, tolerance)
        if self.penalty.exponent != 1 or not isinstance(self.factorization, MatrixProduct):
            return smooth
        u, s, vt = jnp.linalg.svd(w, full_matrices=False)
        alive = s > tolerance * s[0]
        u, v = u * alive, vt.T * alive
        reached = [
            jnp.linalg.norm(left - u @ (u.T @ left)) * jnp.linalg.norm(right - right @ v @ v.T)
            > (tolerance * s.size) ** 0.5 * jnp.linalg.norm(left) * jnp.linalg.norm(right)
            for left, right in zip(*self.factorization.neighbours(factors), strict=True)
        ]
        return smooth | ((s[0] > 0) & ~jnp.any(jnp.stack(reached)))

    def crossed(self, before: Factors, after: Factors, tolerance: Any) -> Bool[Array, ""]:
        """Whether a kink lies between two points that are near; see `AbstractPenalty.crossed`."""
        if self.penalty is None or self.penalty.exponent > 1:
            return jnp.asarray(False)
        return self.penalty.crossed(self.product(before), self.product(after), tolerance)
