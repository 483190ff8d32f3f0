"""Completion with other losses of an entry than the square: Huber's and the logistic one."""

import abc
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import positive
from gradflow.problems.base import checked_convention, convention_weight
from gradflow.problems.completion import AbstractCompletion

EntrywiseConvention = Literal["sum", "mean"]


class AbstractEntrywiseCompletion(AbstractCompletion):
    """Completion with a loss c * sum_observed phi(W_i, b_i), c = 1 ("sum") or 1/n ("mean").

    A subclass gives phi and its derivative in W_i for all entries at once, observed or not.
    """

    convention: eqx.AbstractVar[EntrywiseConvention]

    @abc.abstractmethod
    def entry_losses(self, w: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """The losses phi(W_i, b_i), observed or not."""

    @abc.abstractmethod
    def entry_slopes(self, w: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """Their derivatives in W_i."""

    @property
    def weight(self) -> float:
        """The factor c of the loss convention."""
        return convention_weight(self.convention, self.observations)

    def loss(self, w: Float[AnyArray, "*shape"]) -> Float[Array, ""]:
        """The loss c * sum_observed phi(W_i, b_i) at W."""
        return self.weight * jnp.sum(self.mask * self.entry_losses(w))

    def gradient(self, w: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """The closed-form gradient c * phi'(W_i, b_i), 0 where nothing is observed."""
        return self.weight * self.mask * self.entry_slopes(w)

    def details(self) -> dict[str, Any]:
        return {"observations": self.observations, "loss_convention": self.convention}


class HuberCompletion(AbstractEntrywiseCompletion):
    r"""Fit observed entries of a matrix or tensor robustly: loss c * sum_observed h(W_i - b_i).

    h(r) = r^2 / 2 for |r| <= delta, and delta (|r| - delta / 2) beyond: a gross error pulls with
    the force delta at most. The second derivative of h jumps at |r| = delta.

    Args:
      shape: the lengths of the axes, two or more.
      indices: (n, order) integers, counted from 0, none repeated; or a tuple of arrays, one an
        axis, as `numpy.nonzero` gives it.
      values: n finite numbers b_i.
      delta: where the loss turns from quadratic to linear, above 0.
      loss: "sum" (c = 1; the default, since for a large delta it is the default loss of
        `MatrixCompletion`, half the sum of squares) or "mean" (c = 1/n; razin2021).
      truth: the array to recover, if it is known.

    Raises:
      ValueError: as for `MatrixCompletion`, and if delta is not finite and above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = HuberCompletion((2, 2), [[0, 1], [1, 0]], [0.5, 3.0], delta=1.0)
      >>> float(problem.loss(jnp.zeros((2, 2))))  # 1/8 + (3 - 1/2)
      2.625
      >>> problem.gradient(jnp.zeros((2, 2))).tolist()
      [[0.0, -0.5], [-1.0, 0.0]]

    References:
      Huber 1964, Robust Estimation of a Location Parameter; razin2021 (for tensors).
    """

    indices: Int[Array, "n order"]
    values: Float[Array, " n"]
    mask: Float[Array, "..."]
    target: Float[Array, "..."]
    delta: Float[Array, ""]
    truth: Float[Array, "..."] | None
    convention: EntrywiseConvention = eqx.field(static=True)

    def __init__(
        self,
        shape: Checked[Sequence[int]],
        indices: Checked[ArrayLike],
        values: Checked[ArrayLike],
        *,
        delta: Checked[float] = 1.0,
        loss: Checked[EntrywiseConvention] = "sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        self._observe(shape, None, indices, values, truth)
        self.delta = jnp.asarray(positive("delta", delta), self.values.dtype)
        self.convention = checked_convention(loss, EntrywiseConvention)

    @property
    def twice_differentiable(self) -> bool:
        return False

    def entry_losses(self, w: AnyArray) -> Array:
        return huber(w - self.target, self.delta)

    def entry_slopes(self, w: AnyArray) -> Array:
        return huber_slope(w - self.target, self.delta)

    def details(self) -> dict[str, Any]:
        return super().details() | {"delta": float(self.delta)}


def huber(residual: AnyArray, delta: Array) -> Array:
    """Huber's loss, residual by residual."""
    near = huber_slope(residual, delta)
    return near * (residual - near / 2)


def huber_slope(residual: AnyArray, delta: Array) -> Array:
    """Its derivative."""
    return jnp.clip(residual, -delta, delta)


class LogisticCompletion(AbstractEntrywiseCompletion):
    r"""One-bit completion: c * sum_observed log(1 + exp(-b_i W_i / scale)), signs b_i = -1, +1.

    With c = 1 this is the negative log-likelihood of signs that are +1 with the probability
    1 / (1 + exp(-W_i / scale)). If all signs can be met, the loss has no minimiser: W grows without
    end, and the loss falls towards 0. It is evaluated without over- or underflow for any W.

    Args:
      shape: the lengths of the axes, two or more.
      indices: (n, order) integers, counted from 0, none repeated; or a tuple of arrays, one an
        axis, as `numpy.nonzero` gives it.
      signs: n numbers -1 or +1, what is observed of W_i.
      scale: the width of the logistic function, above 0.
      loss: "sum" (c = 1, the negative log-likelihood and so the default) or "mean" (c = 1/n).
      truth: the array W behind the signs, if it is known.

    Raises:
      ValueError: as for `MatrixCompletion`, if a sign is neither -1 nor 1, and if scale is not
        finite and above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = LogisticCompletion((2, 2), [[0, 0], [1, 1]], [1, -1])
      >>> round(float(problem.loss(jnp.zeros((2, 2)))), 6)  # 2 log 2
      1.386294
      >>> problem.gradient(jnp.zeros((2, 2))).tolist()
      [[-0.5, 0.0], [0.0, 0.5]]

    References:
      Davenport, Plan, van den Berg and Wootters 2014, 1-Bit Matrix Completion.
    """

    indices: Int[Array, "n order"]
    values: Float[Array, " n"]
    mask: Float[Array, "..."]
    target: Float[Array, "..."]
    scale: Float[Array, ""]
    truth: Float[Array, "..."] | None
    convention: EntrywiseConvention = eqx.field(static=True)

    def __init__(
        self,
        shape: Checked[Sequence[int]],
        indices: Checked[ArrayLike],
        signs: Checked[ArrayLike],
        *,
        scale: Checked[float] = 1.0,
        loss: Checked[EntrywiseConvention] = "sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        self._observe(shape, None, indices, signs, truth)
        wrong = np.flatnonzero(np.abs(np.asarray(self.values)) != 1)
        if wrong.size:
            raise ValueError(
                f"signs must be -1 or +1, but signs[{wrong[0]}] is {self.values[wrong[0]]}; turn "
                "0 and 1 into signs by 2 * x - 1."
            )
        self.scale = jnp.asarray(positive("scale", scale), self.values.dtype)
        self.convention = checked_convention(loss, EntrywiseConvention)

    def entry_losses(self, w: AnyArray) -> Array:
        return jax.nn.softplus(-self.target * w / self.scale)

    def entry_slopes(self, w: AnyArray) -> Array:
        return -self.target / self.scale * jax.nn.sigmoid(-self.target * w / self.scale)

    def details(self) -> dict[str, Any]:
        return super().details() | {"scale": float(self.scale)}
