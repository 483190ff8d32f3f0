"""Pictures: what is drawn, where and how it is labelled; no pixels."""

import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import plotting
from tests.gradflow.plotting.runs import PLOTS, trajectory


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def descent(objective):
    start = gf.factorizations.identity_factors((2, 2, 2), 0.1)
    return gf.run_descent(objective, start, optax.sgd, learning_rate=0.05, max_steps=300)


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("plot", "name"),
    [(plotting.plot_loss, "loss"), (plotting.plot_effective_rank, "effective_rank")],
)
def test_lines_are_the_records_without_time_zero(plot, name, flow):
    (line,) = plot(flow).lines
    np.testing.assert_array_equal(line.get_xdata(), flow.times[1:])
    np.testing.assert_array_equal(line.get_ydata(), flow[name][1:])


def test_linear_time_axis_keeps_time_zero(flow):
    ax = plotting.plot_loss(flow, xscale="linear")
    assert ax.get_xscale() == "linear"
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), flow.times)


def test_scales(flow):
    assert (plotting.plot_loss(flow).get_xscale(), plotting.plot_loss(flow).get_yscale()) == (
        "log",
        "log",
    )
    assert plotting.plot_effective_rank(flow).get_yscale() == "linear"
    assert plotting.plot_spectrum(flow).get_yscale() == "log"
    assert plotting.plot_unobserved_entry(flow).get_yscale() == "log"
    assert plotting.plot_unobserved_entry(flow, yscale="linear").get_yscale() == "linear"


@pytest.mark.parametrize(
    "plot", [plotting.plot_loss, plotting.plot_spectrum, plotting.plot_effective_rank]
)
def test_clock_is_named_after_the_engine(plot, flow, descent):
    assert plot(flow).get_xlabel() == "time $t$"
    assert plot(descent).get_xlabel() == "iteration"


def test_flow_and_descent_share_a_clock(flow, descent):
    ax = plotting.plot_loss({"flow": flow, "descent": descent})
    solid, dashed = ax.lines
    assert "time" in ax.get_xlabel() and "learning rate" in ax.get_xlabel()
    np.testing.assert_array_equal(solid.get_xdata(), flow.times[1:])
    np.testing.assert_allclose(dashed.get_xdata(), descent.times[1:] * 0.05, rtol=1e-15)
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")


def test_descent_without_a_rate_cannot_share_a_clock(flow):
    adam = trajectory("descent", optimizer="adam", learning_rate=0.1)
    with pytest.raises(ValueError, match=r"'b' has no clock.*optax\.sgd.*against='loss'"):
        plotting.plot_loss({"a": flow, "b": adam})


@pytest.mark.parametrize("rule", ["gd", "sgd(momentum=0.9)", "momentum", "gd(weight_decay=0.1)"])
def test_the_own_gradient_descent_shares_a_clock_and_no_other_rule_does(rule, flow):
    run = trajectory("descent", optimizer=rule, learning_rate=0.1)
    if rule == "gd":
        assert "learning rate" in plotting.plot_loss({"a": flow, "b": run}).get_xlabel()
        return
    with pytest.raises(ValueError, match="has no clock"):
        plotting.plot_loss({"a": flow, "b": run})


def test_over_the_loss_any_runs_go_together(flow, objective):
    start = objective.factorization.identity(0.1)
    adam = gf.run_descent(objective, start, gf.optimizers.adam, learning_rate=0.01, max_steps=300)
    ax = plotting.plot_effective_rank({"flow": flow, "Adam": adam}, against="loss")
    assert ax.xaxis_inverted() and ax.get_xlabel() == plotting.plot_loss(flow).get_ylabel()
    for line, run in zip(ax.lines, (flow, adam), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), run["loss"])
        np.testing.assert_array_equal(line.get_ydata(), run["effective_rank"])
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]


def test_over_another_number_the_axis_is_not_turned_and_an_array_is_refused(flow):
    ax = plotting.plot_observable(flow, "loss", against="effective_rank", xscale="linear")
    assert not ax.xaxis_inverted()
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), flow["effective_rank"])
    with pytest.raises(ValueError, match="'nothing' was not recorded"):
        plotting.plot_observable(flow, "loss", against="nothing")
    with pytest.raises(ValueError, match="single number"):
        plotting.plot_observable(flow, "loss", against="singular_values")


def test_spectrum_draws_the_top_of_one_run(flow):
    ax = plotting.plot_spectrum(flow, top=1)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), flow["singular_values"][1:, 0])
    ax = plotting.plot_spectrum(flow)
    assert legend_texts(ax) == [r"$\sigma_{1}$", r"$\sigma_{2}$"]
    assert [line.get_color() for line in ax.lines] == list(plotting.COLOURS[:2])


def test_spectrum_of_several_runs_has_one_colour_and_one_entry_each(flow, descent):
    ax = plotting.plot_spectrum({"a": flow, "b": descent})
    assert legend_texts(ax) == ["a", "b"]
    assert [line.get_color() for line in ax.lines] == [
        c for c in plotting.COLOURS[:2] for _ in range(2)
    ]


def test_spectrum_of_many_values_names_the_first_seven():
    values = np.geomspace(1, 1e-3, 12) * np.ones((3, 1))
    ax = plotting.plot_spectrum(trajectory(observables={"singular_values": values}), top=12)
    assert len(ax.lines) == 12
    assert len(legend_texts(ax)) == len(plotting.COLOURS)


@pytest.mark.parametrize(("rank", "shown"), [(0, 5), (1, 5), (5, 7), (8, 10), (20, 12)])
def test_spectrum_shows_the_gap_below_the_rank(rank, shown):
    last = np.where(np.arange(20) < rank, 1.0, 1e-6 * (rank > 0))
    run = trajectory(observables={"singular_values": np.array([np.ones(20), np.ones(20), last])})
    assert len(plotting.plot_spectrum(run, yscale="linear").lines) == shown


def test_spectrum_leaves_out_zeros_and_what_is_16_digits_smaller():
    values = np.array([[1.0, 1.0, 0.0], [2.0, 1e-30, 0.0], [4.0, 0.0, 0.0]])
    ax = plotting.plot_spectrum(trajectory(observables={"singular_values": values}))
    largest, second = ax.lines
    np.testing.assert_array_equal(largest.get_ydata(), [2.0, 4.0])
    np.testing.assert_array_equal(second.get_ydata(), [1e-30, np.nan])
    np.testing.assert_allclose(ax.get_ylim(), (4e-16, 16), rtol=1e-12)


@pytest.mark.parametrize("top", [0, 1.5])
def test_spectrum_refuses_a_bad_number(top, flow):
    with pytest.raises(ValueError, match="top must be a whole number"):
        plotting.plot_spectrum(flow, top=top)


def test_unobserved_entry_against_a_falling_loss(flow):
    ax = plotting.plot_unobserved_entry(flow)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), flow["loss"])
    np.testing.assert_array_equal(line.get_ydata(), np.abs(flow["unobserved_entries"][:, 0]))
    left, right = ax.get_xlim()
    assert left > flow["loss"].max() > flow["loss"].min() > right
    assert ax.get_xscale() == "log"
    assert "loss" in ax.get_xlabel() and "unobserved" in ax.get_ylabel()


def test_drawing_twice_does_not_turn_the_loss_axis_back(flow):
    ax = plotting.plot_unobserved_entry({"a": flow})
    plotting.plot_unobserved_entry({"b": flow}, ax)
    assert ax.xaxis_inverted() and legend_texts(ax) == ["a", "b"]


def test_lower_bound_spans_the_losses_and_does_not_stretch_the_axis(flow):
    def bound(loss):
        return np.where(loss < 0.5, 1 / np.sqrt(2 * loss) - 2 + np.sqrt(2 * loss), np.nan)

    ax = plotting.plot_unobserved_entry({"flow": flow}, lower_bound=bound)
    curve = ax.lines[-1]
    assert legend_texts(ax) == ["flow", "lower bound"]
    x, y = curve.get_xdata(), curve.get_ydata()
    assert np.isclose(x.min(), flow["loss"].min()) and np.isclose(x.max(), flow["loss"].max())
    shown = ~np.isnan(y)
    np.testing.assert_array_equal(y[shown], bound(x)[shown])
    assert y[shown].min() >= np.abs(flow["unobserved_entries"]).min()
    # razin2020, Lemma 18: the recorded flow lies above it.
    valid = flow["loss"] < 0.5
    assert np.all(np.abs(flow["unobserved_entries"][valid, 0]) > bound(flow["loss"][valid]))


def test_colour_by_time_colours_each_record(flow, descent):
    ax = plotting.plot_unobserved_entry({"one": descent, "two": descent}, colour_by_time=True)
    assert [other.get_ylabel() for other in ax.figure.axes if other is not ax] == ["iteration"]
    points = [c for c in ax.collections if c.get_offsets().size]
    assert len(points) == 2 and legend_texts(ax) == ["one", "two"]
    for drawn in points:
        np.testing.assert_array_equal(drawn.get_array(), descent.times)
        np.testing.assert_array_equal(drawn.get_offsets()[:, 0], descent["loss"])
    assert points[0].norm is points[1].norm and points[0].norm.vmax == descent.times.max()


def test_one_of_several_unobserved_entries():
    entries = np.array([[1.0, -2.0], [3.0, -4.0], [5.0, -6.0]])
    run = trajectory(observables={"unobserved_entries": entries})
    with pytest.raises(ValueError, match=r"unobserved_entries.*choose one"):
        plotting.plot_unobserved_entry(run)
    (line,) = plotting.plot_unobserved_entry(run, entry=1).lines
    np.testing.assert_array_equal(line.get_ydata(), [2.0, 4.0, 6.0])


def test_observable_by_component():
    product = np.arange(18.0).reshape(3, 2, 3)
    run = trajectory(observables={"product": product, "one": product[:, :1, 0]})
    ax = plotting.plot_observable(run, "product", component=(1, 2), xscale="linear")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), product[:, 1, 2])
    assert ax.get_ylabel() == "product, entry (1, 2)"
    ax = plotting.plot_observable(run, "one", xscale="linear")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), product[:, 0, 0])
    for component in (None, 0, (2, 0), (0, 0, 0)):
        with pytest.raises(ValueError, match=r"shape \(2, 3\).*choose one entry"):
            plotting.plot_observable(run, "product", component=component)


@pytest.mark.parametrize("plot", PLOTS)
def test_draws_on_given_axes_and_makes_its_own_otherwise(plot, flow):
    figure, ax = plt.subplots()
    assert plot(flow, ax) is ax
    assert plt.get_fignums() == [figure.number]
    assert plot(flow) is not ax
    assert len(plt.get_fignums()) == 2


def test_composing_takes_new_colours_and_joins_labels(flow):
    ax = plotting.plot_loss({"loss": flow})
    plotting.plot_observable({"gradient": flow}, "gradient_norm", ax, yscale="log")
    assert [line.get_color() for line in ax.lines] == list(plotting.COLOURS[:2])
    assert legend_texts(ax) == ["loss", "gradient"]
    assert ax.get_ylabel() == r"loss $\ell(W)$, gradient norm"


def test_iterations_are_not_drawn_over_times(flow, descent):
    ax = plotting.plot_loss(flow)
    with pytest.raises(ValueError, match="iteration"):
        plotting.plot_loss(descent, ax)


@pytest.mark.parametrize("plot", PLOTS[1:])
def test_missing_observable_names_the_remedy(plot):
    with pytest.raises(
        ValueError, match=r"was not recorded; run again with observe=\('\w+', ...\)"
    ):
        plot(trajectory())
    assert not plt.get_fignums()


@pytest.mark.parametrize("runs", [{}, None, {"a": 1}, [1, 2]])
def test_refuses_what_is_no_trajectory(runs):
    with pytest.raises(ValueError, match="Give a Trajectory, or a dictionary"):
        plotting.plot_loss(runs)


def test_refuses_a_picture_without_a_point():
    with pytest.raises(ValueError, match="fits the scales"):
        plotting.plot_loss(trajectory(times=[0.0]))


def test_gaps_where_a_diverged_run_is_not_finite():
    run = trajectory(observables={"error": np.array([1.0, np.inf, 2.0])})
    (line,) = plotting.plot_observable(run, "error").lines
    np.testing.assert_array_equal(line.get_ydata(), [np.nan, 2.0])


def test_a_stored_run_is_drawn_as_the_run(flow):
    (stored,) = plotting.plot_loss(flow.to_xarray()).lines
    np.testing.assert_array_equal(stored.get_ydata(), flow["loss"][1:])
    both = plotting.plot_loss({"a": flow, "b": flow.to_xarray()})
    assert legend_texts(both) == ["a", "b"]


def test_spectrum_in_one_colour_on_a_linear_axis():
    values = np.array([[1.0, 0.5], [2.0, 0.0], [4.0, 0.25]])
    run = trajectory(observables={"top": values})
    ax = plotting.plot_spectrum(run, name="top", colour="#0072B2", yscale="linear")
    first, second = ax.lines
    assert ax.get_legend() is None and ax.get_yscale() == "linear"
    np.testing.assert_array_equal(second.get_ydata(), [0.0, 0.25])
    assert first.get_color() == second.get_color() and first.get_alpha() > second.get_alpha()


MEANS = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 0.5]])


def test_alignment_draws_means_and_their_deviations():
    ax = plotting.plot_alignment(trajectory(observables={"alignment": MEANS}))
    assert legend_texts(ax) == ["diagonal", "off the diagonal"] and not ax.collections
    for line, column in zip(ax.lines, MEANS.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), column[1:])
    four = np.stack([MEANS[:, 0], 0.5 * MEANS[:, 0], MEANS[:, 1], 2 * MEANS[:, 1]], axis=1)
    ax = plotting.plot_alignment({"run": trajectory(observables={"alignment": four})})
    assert legend_texts(ax) == ["run, diagonal", "run, off the diagonal"]
    for line, column in zip(ax.lines, MEANS.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), column[1:])
    on, off = (band.get_paths()[0].vertices[:, 1] for band in ax.collections)
    assert (on.min(), on.max()) == (1.0, 4.5)
    assert np.isclose(off.min(), 0.05) and off.max() == 3.0  # cut where the log axis has no value


def test_alignment_of_another_shape_is_refused():
    run = trajectory(observables={"alignment": np.ones((3, 3))})
    with pytest.raises(ValueError, match=r"shape \(3,\).*2 or 4"):
        plotting.plot_alignment(run)


def test_matrix_is_the_record_or_its_error():
    product = np.arange(18.0).reshape(3, 2, 3)
    run = trajectory(observables={"product": product})
    ax = plotting.plot_matrix(run, 1)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), product[1])
    assert image.get_clim() == (-11.0, 11.0) and ax.get_title() == "time 1"
    truth = np.full((2, 3), 10.0)
    (image,) = plotting.plot_matrix(run, -1, truth, limit=20).images
    np.testing.assert_array_equal(image.get_array(), product[2] - 10)
    assert image.get_clim() == (-20.0, 20.0)
    (image,) = plotting.plot_matrix(np.zeros((2, 2))).images
    assert image.get_clim() == (-1.0, 1.0)
    ax = plt.subplots()[1]
    assert plotting.plot_matrix(truth, ax=ax) is ax and ax.get_title() == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"index": 3}, "3 records, but the index is 3"),
        ({"truth": np.ones((3, 2))}, r"truth must have shape \(2, 3\)"),
        ({"limit": 0.0}, "limit must be"),
        ({"run": trajectory()}, "'product' was not recorded"),
        ({"run": np.ones(3)}, r"Only a matrix.*\(3,\)"),
    ],
)
def test_matrix_refuses(options, words):
    run = trajectory(observables={"product": np.ones((3, 2, 3))})
    with pytest.raises(ValueError, match=words):
        plotting.plot_matrix(**{"run": run} | options)
    assert not plt.get_fignums()
