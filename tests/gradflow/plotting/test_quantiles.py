"""Mean and quantiles over seeds: the numbers drawn; misuse."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from gradflow import plotting
from gradflow.trajectory import Outcome, Trajectory
from tests.helpers import refuses

TIMES = np.array([0.0, 1.0, 2.0, 4.0])
VALUES = np.random.default_rng(0).uniform(0.1, 2.0, size=(9, 4))


def run(values, times=TIMES):
    return Trajectory(
        times=times, observables={"loss": values, "pair": np.stack([values, 2 * values], axis=1)},
        final={}, initial={}, outcome=Outcome.REACHED_HORIZON, stats={},
        config={"kind": "stochastic flow"},
    )  # fmt: skip


RUNS = [run(values) for values in VALUES]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def edges(ax, k=0):
    """The corners of a band, by time and value."""
    return {tuple(np.round(v, 12)) for v in ax.collections[k].get_paths()[0].vertices}


@pytest.mark.parametrize("xscale", ["linear", "log"])
def test_the_mean_and_two_quantiles_are_drawn(xscale):
    ax = plotting.plot_quantiles(RUNS, levels=(0.25, 0.75), xscale=xscale)
    kept = slice(1 if xscale == "log" else 0, None)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), VALUES.mean(axis=0)[kept])
    for level in (0.25, 0.75):
        wanted = zip(TIMES[kept], np.quantile(VALUES, level, axis=0)[kept], strict=True)
        assert {tuple(np.round(v, 12)) for v in wanted} <= edges(ax)
    assert ax.get_xlabel() == "time $t$"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["mean of 9", "25% to 75%"]


def test_several_kinds_have_a_band_and_a_colour_each():
    ax = plotting.plot_quantiles({"a": RUNS, "b": RUNS[:3]}, "pair", component=1, yscale="log")
    assert [line.get_label() for line in ax.lines] == ["a, mean of 9", "b, mean of 3"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 2 * VALUES[:3, 1:].mean(axis=0))
    assert len(ax.collections) == 2
    assert len({line.get_color() for line in ax.lines}) == 2


def test_misuse_is_refused_by_value_and_remedy():
    draw = plotting.plot_quantiles
    refuses(lambda: draw(RUNS[0]), "runs has 1", "give a list")
    refuses(lambda: draw({"a": RUNS[:1]}), "'a' has 1", "give a list")
    refuses(lambda: draw(RUNS, levels=(0.9, 0.1)), "(0.9, 0.1)", "such as (0.1, 0.9)")
    refuses(lambda: draw(RUNS, "rank"), "'rank' was not recorded", "observe=")
    refuses(lambda: draw(RUNS, "pair"), "'pair' has shape (2,)", "by its position")
    short = run(VALUES[0][:3], TIMES[:3])
    refuses(lambda: draw([*RUNS, short]), "Run 9 of runs", "no stop_loss")
