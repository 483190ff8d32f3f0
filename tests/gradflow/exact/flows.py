"""Integrated flows to compare closed forms with."""

from typing import Any

import numpy as np

import gradflow as gf

TIMES = np.geomspace(0.02, 20.0, 12)
SEEN = ("loss", "gradient_norm", "singular_values", "effective_rank", "test_error", "product")


def all_entries(target: Any, loss: Any = "half_sum") -> Any:
    indices = list(np.ndindex(target.shape))
    return gf.MatrixCompletion(target.shape, indices, target.ravel(), loss=loss, truth=target)


def integrated(objective, start, times, observe, rtol=3e-13):
    return gf.solve_flow(
        objective, start, times=times, horizon=float(times[-1]), rtol=rtol,
        coordinates="factors", observe=observe,
    )  # fmt: skip


def agree(run, flow, rtol=1e-9):
    """All that both recorded, to rtol, or of the size of round-off in the product."""
    np.testing.assert_allclose(run.times, flow.times, rtol=1e-15)
    for name in flow.observables:
        top = np.max(np.abs(flow[name][np.isfinite(flow[name])]))
        floor = {"loss": 1e-16, "test_error": 1e-16, "gradient_norm": 1e-11}.get(name, 1e-13)
        np.testing.assert_allclose(run[name], flow[name], rtol=rtol, atol=floor * top, err_msg=name)
