"""Which solver a flow is given: by the number and kind of its coordinates."""

from typing import Any, NamedTuple

import diffrax
import jax

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.ldu import DENSE
from gradflow.dynamics.base import AbstractDynamics
from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation
from gradflow.ode.switching import StiffnessSwitch

_FAR_FROM_NORMAL = 200
"""Unknowns up to which a dense Jacobian is worth its cost where stabilised steps do not go."""


class Choice(NamedTuple):
    """A solver, or coordinates, and why."""

    value: Any
    reason: str


def choose_solver(coordinates: AbstractCoordinates, dynamics: AbstractDynamics, y: Any) -> Choice:
    """A solver for the flow in these coordinates, by their number and kind.

    Args:
      coordinates: those of the flow.
      dynamics: what the parameters obey.
      y: the start.
    """
    unknowns = sum(leaf.size for leaf in jax.tree.leaves(y))
    if coordinates.stiff_components is not None and unknowns > DENSE:
        return _solver_of_components(coordinates)
    if coordinates.logarithmic_clock:
        return Choice(
            LinearlyImplicitExtrapolation(), "few stiff structural coordinates: linearly implicit"
        )
    if not coordinates.real_rates or not dynamics.real_rates:
        return Choice(
            diffrax.Tsit5(),
            f"{coordinates.name} coordinates, {dynamics.name} dynamics: what turns is explicit",
        )
    smooth = coordinates.problem.twice_differentiable
    if not coordinates.near_normal and unknowns > DENSE:
        if smooth and unknowns <= _FAR_FROM_NORMAL:
            return Choice(
                LinearlyImplicitExtrapolation(),
                f"{unknowns} unknowns, a Jacobian far from normal: linearly implicit",
            )
        return Choice(diffrax.Tsit5(), "a Jacobian far from normal: explicit")
    if not smooth:
        return Choice(
            StiffnessSwitch(), "the loss's second derivatives jump: explicit in the rises"
        )
    if unknowns <= DENSE:
        return Choice(
            LinearlyImplicitExtrapolation(),
            f"{unknowns} unknowns, at most {DENSE}: linearly implicit with a dense Jacobian",
        )
    return Choice(
        StiffnessSwitch(),
        f"{unknowns} unknowns, above {DENSE}: explicit in the rises, stabilised in the tails",
    )


def _solver_of_components(coordinates: AbstractCoordinates) -> Choice:
    """Where structural coordinates are too many for a Jacobian of all."""
    count = coordinates.stiff_components
    if not coordinates.problem.twice_differentiable:
        return Choice(
            StiffnessSwitch(), "the loss's second derivatives jump: explicit in the rises"
        )
    if count == 0:
        return Choice(
            StiffnessSwitch(),
            "a Jacobian of one component would be dear: explicit in the rises, stabilised in the "
            "tails",
        )
    return Choice(
        LinearlyImplicitExtrapolation(),
        f"linearly implicit in the {count} largest components, explicit in idle ones",
    )
