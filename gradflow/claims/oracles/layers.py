"""Layers of a product W_N ... W_1 of matrices: gradients, imbalances and flows, by NumPy and SciPy.

Nothing here is the library's. Without flows, entries may be of any arithmetic, as fractions are.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Literal, no_type_check

import numpy as np
from scipy.integrate import solve_ivp

Layers = Sequence[np.ndarray]
"""W_1, ..., W_N."""
Gradient = Callable[[np.ndarray], np.ndarray]
"""From the product to the loss's gradient in it."""


@no_type_check  # called at every stage of a flow
def slopes(layers: Layers, gradient: Gradient) -> list[np.ndarray]:
    """The gradient in each layer, by the chain rule.

    Args:
      layers: W_1, ..., W_N.
      gradient: of the loss, in the product.
    """
    below = [layers[0]]
    for w in layers[1:]:
        below.append(w @ below[-1])
    pulled, found = gradient(below[-1]), []
    for j in range(len(layers) - 1, 0, -1):
        found.append(pulled @ below[j - 1].T)
        pulled = layers[j].T @ pulled
    return [pulled, *reversed(found)]


def multiplied(layers: Layers) -> np.ndarray:
    """W_N ... W_1."""
    return reduce(lambda below, w: w @ below, layers)


def imbalances(layers: Layers) -> list[np.ndarray]:
    """W_(j+1)^T W_(j+1) - W_j W_j^T of all j."""
    return [y.T @ y - x @ x.T for x, y in zip(layers, layers[1:], strict=False)]


def followed(
    layers: Layers,
    gradient: Gradient,
    times: np.ndarray,
    rtol: float,
    decay: float = 0.0,
    method: Literal["DOP853", "LSODA"] = "DOP853",
) -> list[list[np.ndarray]]:
    """The gradient flow of all layers by SciPy: at the start, and at some times.

    Args:
      layers: where it starts.
      gradient: of the loss, in the product.
      times: rising, above 0.
      rtol: relative tolerance; the absolute one is a thousandth of it.
      decay: mu, of mu/2 times the sum of all squared entries beside the loss.
      method: SciPy's; LSODA for late times.
    """
    shapes = [w.shape for w in layers]
    cuts = np.cumsum([w.size for w in layers])[:-1]
    start = np.concatenate([w.ravel() for w in layers])

    @no_type_check
    def split(state):
        return [w.reshape(s) for w, s in zip(np.split(state, cuts), shapes, strict=True)]

    @no_type_check
    def field(_, state):
        return -np.concatenate([g.ravel() for g in slopes(split(state), gradient)]) - decay * state

    found = solve_ivp(
        field, (0, times[-1]), start, method, t_eval=times, rtol=rtol, atol=1e-3 * rtol
    ).y.T
    return [split(state) for state in (start, *found)]
