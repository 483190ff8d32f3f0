"""The library's path of a diagonal network, for what the checks compare with it."""

import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow.claims import roundings
from gradflow.saddles.diagonal import diagonal_walk
from gradflow.saddles.diagonal_path import regression_of

from ._diagonal import Network

FLOOR = roundings(1e-10, "active sets by nonnegative least squares")


def library_taus(net: Network, jumps: int) -> np.ndarray:
    """When the library jumps, in units of the clock of depth and start; at most so many times."""
    objective = gf.Objective(
        gf.LeastSquares(net.x, net.y), gf.DiagonalNetwork(net.x.shape[1], net.depth)
    )
    regression = regression_of(objective, (jnp.asarray(net.plus), jnp.asarray(net.minus)))
    walk = diagonal_walk(regression, most=jumps, tie=1e-9, constants=False)
    return np.array([jump.tau for jump in walk.jumps])
