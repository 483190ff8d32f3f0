"""The product of balanced factors alone."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow._util.validate import finite_array
from gradflow.coordinates.base import AbstractCoordinates, expected_norm, growth_of_errors
from gradflow.dynamics.base import AbstractDynamics
from gradflow.dynamics.gradient import GradientFlow
from gradflow.factorizations.balance import measured_unbalancedness
from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.factorizations.preconditioners import end_to_end
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem
from gradflow.state import AbstractView, FactorsView

_WATCHED = 20
"""Singular values up to which the smallest is watched."""
_SINGULAR = 1e-12
"""Smallest share of the largest singular value that a start of depth 3 or more may have."""
_BALANCED = 1e-13
"""Relative unbalancedness that is rounding: at most 5e-15 in what makes balanced factors, up to
300 x 300. What is more decides, sooner or later, whether a small singular value vanishes."""


class ProductCoordinates(AbstractCoordinates):
    """y = W: the flow of the product of balanced factors, dW/dt = -P_W[gradient].

    Attributes:
      fitted: the problem.
      depth: N.
      goal: None, or the expected norm of the product at the end.
      sign: None, or the sign of the start's determinant (1 if it is not square); see `margin`.

    References:
      arora2019, Lemma 3.
    """

    fitted: AbstractProblem
    depth: int = eqx.field(static=True)
    goal: Float[Array, ""] | None = None
    sign: Float[Array, ""] | None = None
    name: ClassVar[str] = "product"
    mark: ClassVar[str] = "W"
    takes_as_balanced: ClassVar[bool] = True
    resolution: ClassVar[float] = 1e-6

    @property
    def problem(self) -> AbstractProblem:
        return self.fitted

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        reason = refusal_of_product(objective, dynamics, factors)
        if reason is not None or len(factors) < 3:
            return reason
        s = np.linalg.svd(product_of(objective, factors), compute_uv=False)
        if s[-1] > _SINGULAR * s[0]:
            return None
        return (
            f"At depth {len(factors)} the product's own velocity grows like a power below 1 of "
            f"singular values near 0, and the start has {s[-1]:.3g} beside {s[0]:.3g}: errors "
            "would grow with it; use coordinates='factors'."
        )

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, Float[Array, "*shape"]]:
        sign = sign_to_keep(objective, dynamics, factors)
        return cls(objective.problem, len(factors), sign=sign), objective.product(factors)

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, Float[Array, "*shape"]]:
        w = jnp.asarray(finite_array("W", named["W"]))
        made = cls(objective.problem, depth_of(objective, dynamics))
        return dataclasses.replace(made, sign=_sign_of(made, w, made.depth)), w

    def velocity(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return -end_to_end(y, self.fitted.gradient(y), self.depth)

    def named(self, y: Float[Array, "*shape"]) -> dict[str, Array]:
        return {"W": y}

    def product(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return y

    def with_tolerance(self, tolerance: Any) -> Self:
        del tolerance
        return dataclasses.replace(self, goal=expected_norm(self.fitted))

    def amplification(self, y: Float[Array, "*shape"]) -> Float[Array, ""]:
        return growth_of_errors(self.goal, y, self.depth)

    def growth(self, y: Float[Array, "*shape"]) -> Float[Array, ""]:
        return growth_of_errors(self.goal, y, self.depth, jnp.inf)

    def margin(self, y: Float[Array, "*shape"]) -> Float[Array, ""] | None:
        return None if self.sign is None else self.sign * signed_share(self, y)

    def squared_gradient_norm(self, y: Float[Array, "*shape"]) -> Float[Array, ""]:
        gradient = self.fitted.gradient(y)
        return jnp.sum(gradient * end_to_end(y, gradient, self.depth))


def refusal_of_product(
    objective: Objective, dynamics: AbstractDynamics, factors: Factors | None
) -> str | None:
    """Why the product alone does not tell where a flow goes; None if it does.

    It does for the gradient flow of a matrix product without a penalty that is balanced and whose
    hidden sizes do not limit its rank.

    Args:
      objective: the problem, its factorisation and its penalty.
      dynamics: what the parameters obey.
      factors: the start; None to leave its balance out.
    """
    model = objective.factorization
    if not isinstance(dynamics, GradientFlow):
        return (
            f"the dynamics {dynamics.name!r} is not that of the product alone; "
            "use coordinates='factors'."
        )
    if objective.penalty is not None:
        return (
            f"The objective has a penalty, {type(objective.penalty).__name__}, and coordinates "
            "other than 'factors' have none; use coordinates='factors'."
        )
    if not isinstance(model, MatrixProduct):
        return (
            f"{type(model).__name__} has no flow of the product alone; use coordinates='factors'."
        )
    found = 0.0 if factors is None else measured_unbalancedness(factors)
    if found > _BALANCED:
        return (
            f"The factors are not balanced (relative unbalancedness {found:.3g}), so the product "
            "alone does not determine the flow; use coordinates='factors', or start from "
            "the factorisation's balanced(W)."
        )
    if len(model.sizes) > 2 and min(model.sizes[1:-1]) < min(model.shape):
        return (
            f"Hidden size {min(model.sizes[1:-1])} limits the rank of a {model.shape} product; "
            "its flow needs coordinates='factors'."
        )
    return None


def sign_to_keep(
    objective: Objective, dynamics: AbstractDynamics, factors: Factors
) -> Float[Array, ""] | None:
    """The sign of the start's determinant, where the flow keeps it; 1 if the product is not square.

    None where the rank of the product may change, is not full from the start (up to round-off), or
    would be dear to watch.

    Args:
      objective: the problem, its factorisation and its penalty.
      dynamics: what the parameters obey.
      factors: the start.
    """
    if refusal_of_product(objective, dynamics, factors) is not None:
        return None
    if objective.by_observations:
        return _sign_of(FactorsView(objective), factors, len(factors))
    shape = objective.problem.shape
    if len(shape) != 2 or min(shape) > _WATCHED or len(factors) < 2:
        return None
    s = np.linalg.svd(product_of(objective, factors), compute_uv=False)
    sign = slogdet_of(objective, factors)[0] if shape[0] == shape[1] else 1.0
    share = sign * s[-1] / (s[0] if s[0] > 0 else 1.0)
    return jnp.asarray(np.sign(share)) if abs(share) > _SINGULAR else None


def product_of(objective: Objective, factors: Factors) -> np.ndarray:
    """The product of a start, on the host: its checks are many small operations.

    Args:
      objective: the problem and its factorisation.
      factors: the start.
    """
    if isinstance(objective.factorization, MatrixProduct):
        return functools.reduce(lambda w, f: np.asarray(f) @ w, factors[1:], np.asarray(factors[0]))
    return np.asarray(objective.product(factors))


def slogdet_of(objective: Objective, factors: Factors) -> tuple[float, float]:
    """Sign and logarithm of the absolute value of the determinant of a start's square product.

    Args:
      objective: the problem and its factorisation.
      factors: the start.
    """
    square = all(f.ndim == 2 and f.shape[0] == f.shape[1] for f in factors)
    if not (square and isinstance(objective.factorization, MatrixProduct)):
        sign, log = np.linalg.slogdet(product_of(objective, factors))
        return float(sign), float(log)
    parts = [np.linalg.slogdet(np.asarray(f)) for f in factors]
    return float(np.prod([p[0] for p in parts])), float(sum(p[1] for p in parts))


def _sign_of(view: AbstractView, y: Any, depth: int) -> Float[Array, ""] | None:
    """The same, where the product alone tells the flow."""
    shape = view.problem.shape
    if len(shape) != 2 or min(shape) > _WATCHED or depth < 2:
        return None
    share = signed_share(view, y)
    return jnp.sign(share) if abs(float(share)) > _SINGULAR else None


def signed_share(view: AbstractView, y: Any) -> Float[Array, ""]:
    """The smallest singular value as a share of the largest, with the determinant's sign."""
    s = view.singular_values(y)
    rows, columns = view.problem.shape
    sign = view.slogdet(y)[0] if rows == columns else 1.0
    return sign * s[-1] / jnp.where(s[0] > 0, s[0], 1.0)


def refusal_of_signs(
    objective: Objective, dynamics: AbstractDynamics, factors: Factors | None, name: str
) -> str | None:
    """Why coordinates that keep singular values' signs cannot follow a flow; None if they can.

    Args:
      objective: the problem, its factorisation and its penalty.
      dynamics: what the parameters obey.
      factors: the start; None to leave its balance out.
      name: of the coordinates.
    """
    reason = refusal_of_product(objective, dynamics, factors)
    if reason is None and (depth := depth_of(objective, dynamics)) < 2:
        return (
            f"At depth {depth} singular values do change sign, so coordinates={name!r} cannot "
            "follow the flow; use coordinates='factors'."
        )
    return reason


def depth_of(objective: Objective, dynamics: AbstractDynamics) -> int:
    """The depth of a matrix product whose flow is told by the product alone.

    Raises:
      ValueError: if it is not.
    """
    reason = refusal_of_product(objective, dynamics, None)
    if reason is not None or not isinstance(objective.factorization, MatrixProduct):
        raise ValueError(reason)
    return objective.factorization.depth
