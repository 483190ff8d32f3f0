r"""Flows of beta = w_+^2 - w_-^2 in their dual, which no start is too small for.

From w_+ = w_- = alpha^(1/2), beta = 2 alpha sinh(4 eta) with d eta/dt = -G, G the gradient of the
loss in beta.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

import gradflow as gf

LARGEST = 60.0
"""Logarithm of the largest beta: where steps that are tried and refused may come to."""


class Seen(NamedTuple):
    """What a flow does.

    Attributes:
      jumps: when the loss is half way between two saddles; NaN if it is not.
      times: of the records.
      beta: (records, d).
      loss: (records,).
      middles: (saddles, d) beta in the middle of each plateau; of the last, at the end.
    """

    jumps: np.ndarray
    times: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    middles: np.ndarray


def follow(
    problem: gf.LeastSquares, path: gf.SaddlePath, alpha: float, records: int, rtol: float
) -> Seen:
    """The flow from alpha until well after the last jump of a path."""
    x, y = np.asarray(problem.inputs), np.asarray(problem.targets)
    weight = float(problem.weight)
    log = np.log(2 * alpha)

    def beta_of(eta: np.ndarray) -> np.ndarray:
        size = np.abs(4 * eta)  # 2 alpha sinh, without loss of digits
        large = np.exp(np.minimum(log + size - np.log(2), LARGEST)) * -np.expm1(-2 * size)
        return np.sign(eta) * large

    def slope_of(eta: np.ndarray) -> np.ndarray:
        size = np.abs(4 * eta)
        grown = np.exp(np.minimum(log + size - np.log(2), LARGEST))
        return 4 * grown * (1 + np.exp(-2 * size))

    def field(_: float, eta: np.ndarray) -> np.ndarray:
        return 2 * weight * x.T @ (y - x @ beta_of(eta))

    def jacobian(_: float, eta: np.ndarray) -> np.ndarray:
        return -2 * weight * (x.T @ x) * slope_of(eta)

    def loss_of(eta: np.ndarray) -> float:
        return float(weight * np.sum((x @ beta_of(eta) - y) ** 2))

    events: list[Any] = [
        lambda _, eta, goal=goal: loss_of(eta) - goal
        for goal in (path.losses[1:] + path.losses[:-1]) / 2
    ]
    expected = path.times(alpha)
    end = 1.3 * expected[-1]
    found: Any = solve_ivp(
        field, (0.0, end), np.zeros(x.shape[1]), "Radau", rtol=rtol, atol=1e-9, jac=jacobian,
        events=events, dense_output=True,
    )  # fmt: skip
    if not found.success:
        raise ValueError(f"The flow from {alpha:g} was not followed to the end: {found.message}")
    jumps = np.array([at[0] if len(at) else np.nan for at in found.t_events])
    edges = np.concatenate([[0.0], expected, [2 * end - expected[-1]]])
    halves = (edges[1:] + edges[:-1]) / 2
    times = np.linspace(0, end, records + 1)[1:]
    etas = found.sol(times).T
    return Seen(
        jumps,
        times,
        np.array([beta_of(eta) for eta in etas]),
        np.array([loss_of(eta) for eta in etas]),
        np.array([beta_of(eta) for eta in found.sol(halves).T]),
    )
