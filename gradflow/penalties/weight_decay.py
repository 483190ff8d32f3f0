"""Weight decay: the squared norms of the factors."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.annotations import Checked
from gradflow.factorizations.base import Factors
from gradflow.penalties.base import AbstractParameterPenalty, checked_weight


class WeightDecay(AbstractParameterPenalty):
    r"""Weight decay: weight / 2 * sum_j ||W_j||_F^2.

    Under the gradient flow of a loss with it, W_{j+1}^T W_{j+1} - W_j W_j^T (whatever the flow of
    the loss alone conserves that is quadratic in the factors) decays like exp(-2 weight t). Over
    all factors of one W = W_N ... W_1 its least value is weight N / 2 * sum_i s_i(W)^(2/N): a
    Schatten quasi-norm, the nuclear norm at depth 2.

    Args:
      weight: a finite number above 0, the lambda of papers and the `weight_decay` of optimisers:
        it adds weight * W_j to the gradient in W_j.

    Raises:
      ValueError: if the weight is not finite and above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> penalty = WeightDecay(0.5)
      >>> factors = (jnp.eye(2), 3 * jnp.eye(2))
      >>> float(penalty.value(factors)), penalty.gradient(factors)[1].tolist()
      (5.0, [[1.5, 0.0], [0.0, 1.5]])

    References:
      Srebro, Rennie and Jaakkola 2004, Maximum-Margin Matrix Factorization (the nuclear norm at
      depth 2).
    """

    weight: Float[Array, ""]

    def __init__(self, weight: Checked[float]):
        self.weight = checked_weight(weight)

    def value(self, factors: Factors) -> Array:
        return self.weight / 2 * sum(jnp.sum(leaf**2) for leaf in factors)

    def gradient(self, factors: Factors) -> Factors:
        return jax.tree.map(lambda leaf: self.weight * leaf, factors)
