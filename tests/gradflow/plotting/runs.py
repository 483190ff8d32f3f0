"""Runs to be drawn."""

import numpy as np

from gradflow import Outcome, Trajectory, plotting

PLOTS = (
    plotting.plot_loss,
    plotting.plot_spectrum,
    plotting.plot_effective_rank,
    plotting.plot_unobserved_entry,
)


def trajectory(kind="flow", times=(0.0, 1.0, 10.0), observables=None, **config):
    """A made-up run."""
    times = np.asarray(times)
    return Trajectory(
        times=times,
        observables={"loss": 1 / (1 + times), **(observables or {})},
        final={},
        initial={},
        outcome=Outcome.REACHED_HORIZON,
        stats={},
        config={"kind": kind, **config},
    )
