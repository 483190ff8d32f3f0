"""What both engines minimise: a problem, a factorisation, a penalty."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow.factorizations.base import AbstractFactorization, Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.penalties.base import AbstractPenalty, resolution
from gradflow.problems.base import AbstractProblem


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
      >>> problem = gf.synthetic.norm_blowup()
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

    @property
    def conserves_balance(self) -> bool:
        """Whether its gradient flow keeps the factorisation's invariants: the value hangs on W."""
        return True

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
