r"""Gradient flow with noise: Langevin's equation, and what minibatches make of gradient descent.

Both are stochastic differential equations in Ito's sense,

    dW_j = -(d value / dW_j) dt + (noise)_j,

with independent Brownian motions in the noise. Langevin's does not depend on the factors; that of
minibatches does, and vanishes where the data are fitted.
"""

import abc
from typing import Any, ClassVar, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive, positive_or_traced, whole
from gradflow.dynamics.sampling import Drawn, noise_of, quadratic, sampled, see_observations
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective


class AbstractNoise(eqx.Module):
    """What is added to gradient flow: an operator on the increments of Brownian motions.

    Attributes:
      name: for results and messages.
      additive: whether it is the same wherever the factors are.
    """

    name: eqx.AbstractClassVar[str]
    additive: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self, objective: Objective) -> None:
        """See that an objective has this noise.

        Args:
          objective: of the flow.

        Raises:
          ValueError: if not.
        """

    @abc.abstractmethod
    def motions(self, objective: Objective, factors: Factors) -> Any:
        """Shapes and precisions of the Brownian motions, as a tree.

        Args:
          objective: of the flow.
          factors: where it is.
        """

    @abc.abstractmethod
    def operator(self, objective: Objective, factors: Factors) -> lx.AbstractLinearOperator:
        """What turns their increments into those of the factors.

        Args:
          objective: of the flow.
          factors: where it is.
        """

    def solver(self) -> diffrax.AbstractSolver:
        """The solver that is taken by default."""
        return diffrax.ShARK() if self.additive else diffrax.Euler()


class Langevin(AbstractNoise):
    r"""Langevin's equation: dW_j = -(d value / dW_j) dt + sqrt(2 temperature) dB_j.

    Where exp(-value / temperature) can be normalised, its factors come to be distributed so. At a
    quadratic minimum with the curvature h that is a variance of temperature / h. Along directions
    in which the value is flat, they diffuse without end.

    Args:
      temperature: above 0, in the unit of the value.

    Raises:
      ValueError: if it is not.

    Example:
      >>> Langevin(temperature=0.1).additive
      True
    """

    temperature: Float[Array, ""] = eqx.field(
        converter=lambda x: jnp.asarray(positive_or_traced("temperature", x))
    )
    name: ClassVar[str] = "langevin"
    additive: ClassVar[bool] = True

    def check(self, objective: Objective) -> None:
        del objective

    def motions(self, objective: Objective, factors: Factors) -> Any:
        del objective
        return jax.tree.map(lambda f: jax.ShapeDtypeStruct(f.shape, f.dtype), factors)

    def operator(self, objective: Objective, factors: Factors) -> lx.AbstractLinearOperator:
        del objective
        root = jnp.sqrt(2 * self.temperature)
        return lx.DiagonalLinearOperator(
            jax.tree.map(lambda f: jnp.full(f.shape, root, f.dtype), factors)
        )


class MinibatchNoise(AbstractNoise):
    r"""The diffusion that gradient descent on minibatches tends to: time is rate times iteration.

        dW = -(d value / dW) dt + sqrt(rate) S(W)^(1/2) dB

    with the covariance S of a batch's gradient, over all factors at once. For the gradients g_i of
    n observations, and a batch of b of them that counts n/b times,

        S = (n/b) f sum_i (g_i - g)(g_i - g)^T,    g their mean,

    with f = 1 for independent draws and (n - b) / (n - 1) for subsets. Noise of the variance
    delta^2 on labels adds (n/b) delta^2 sum_i a_i a_i^T, where a_i is the derivative of g_i by the
    label. Neither S nor a root of it is formed: sum_i (g_i - g) dB_i, with n Brownian motions B_i,
    has this covariance, and is one gradient with weights. The penalty has no noise.

    The equation is the first-order model: over a fixed time, means of smooth functions of the
    factors are those of the descent up to O(rate).

    Args:
      rate: the learning rate, above 0.
      batch: how many observations are drawn; None for all, where labels are noisy.
      draw: "subset", without replacement, or "independent", with it.
      label_noise: the standard deviation of the noise on labels, at least 0.

    Raises:
      ValueError: if a value is out of range, or there is neither a batch nor noise.

    Example:
      >>> import gradflow as gf, jax
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> noise = MinibatchNoise(rate=0.01, batch=1)
      >>> noise.motions(objective, objective.factorization.identity(0.5))["draws"].shape
      (3,)

    References:
      Li, Tai and E 2017, Stochastic Modified Equations; Mandt, Hoffman and Blei 2017.
    """

    rate: Float[Array, ""]
    batch: int | None = eqx.field(static=True)
    draw: Literal["subset", "independent"] = eqx.field(static=True)
    label_noise: Float[Array, ""] | None
    name: ClassVar[str] = "minibatches"

    def __init__(
        self,
        rate: Checked[float],
        batch: Checked[int | None] = None,
        draw: Checked[Literal["subset", "independent"]] = "subset",
        label_noise: Checked[float] = 0.0,
    ):
        self.rate = jnp.asarray(positive("rate", rate))
        self.batch = None if batch is None else whole("batch", batch)
        self.label_noise = noise_of(label_noise)
        if draw not in ("subset", "independent"):
            raise ValueError(
                f"draw must be 'subset' or 'independent', but it is {draw!r}: orders of whole "
                "epochs have no diffusion of their own at this order."
            )
        self.draw = draw
        if self.batch is None and draw == "subset" and self.label_noise is None:
            raise ValueError(
                "There is no noise in the gradient of all observations; give a batch, or "
                "label_noise, or solve gradient flow."
            )

    def check(self, objective: Objective) -> None:
        see_observations(objective, self.batch)

    def motions(self, objective: Objective, factors: Factors) -> Any:
        shape, dtype = quadratic(objective).label_shape, factors[0].dtype
        found = {"draws": jax.ShapeDtypeStruct(shape[:1], dtype)}
        if self.label_noise is not None:
            found["labels"] = jax.ShapeDtypeStruct(shape, dtype)
        return found

    def operator(self, objective: Objective, factors: Factors) -> lx.AbstractLinearOperator:
        n = quadratic(objective).label_shape[0]
        size = n if self.batch is None else self.batch
        left = 1.0 if self.draw == "independent" else (n - size) / max(n - 1, 1)
        rate = self.rate.astype(factors[0].dtype)
        of_draws, of_labels = jnp.sqrt(rate * (n / size) * left), jnp.sqrt(rate * (n / size))
        # The penalty has no noise.
        bare = Objective(objective.problem, objective.factorization, path=objective.path)

        def apply(moved: dict[str, Array]) -> Factors:
            draws = moved["draws"]
            noise = self.label_noise
            pushes = None if noise is None else of_labels * noise * moved["labels"]
            drawn = Drawn(jnp.arange(n), of_draws * (draws - jnp.mean(draws)), pushes)
            return sampled(bare, factors, drawn)[1]

        structure = self.motions(objective, factors)
        return lx.FunctionLinearOperator(apply, structure)
