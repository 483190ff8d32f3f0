"""The style of pictures, and how they are saved."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from gradflow import plotting
from tests.gradflow.plotting.runs import PLOTS, trajectory


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("plot", PLOTS)
def test_changes_no_global_setting_and_can_be_saved(plot, flow, tmp_path):
    before = dict(matplotlib.rcParams)
    plot({"flow": flow}).figure.savefig(tmp_path / "picture.png")
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_importing_does_not_import_pyplot():
    """Nor anything slow that drawing and storing alone need, before they are asked for."""
    code = """
import sys, gradflow
slow = {"matplotlib", "pandas", "scipy.optimize", "xarray"} & sys.modules.keys()
gradflow.plotting
sys.exit(f"{slow}" if slow else "matplotlib.pyplot" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_style_sheet_fits_a_column_and_keeps_text():
    with plotting.paper_style():
        settings = matplotlib.rcParams
        assert settings["figure.figsize"][0] == 3.25
        assert (settings["pdf.fonttype"], settings["svg.fonttype"]) == (42, "none")
        cycle = ["#" + c.lstrip("#") for c in settings["axes.prop_cycle"].by_key()["color"]]
        assert tuple(cycle) == plotting.COLOURS
        assert plotting.plot_loss(trajectory()).figure.get_figwidth() == 3.25


def test_colours_differ_in_grey_or_hue_for_readers_who_lack_a_cone():
    """Vienot, Brettel and Mollon 1999: what a deuteranope sees, in linear RGB."""
    rgb = np.array([matplotlib.colors.to_rgb(c) for c in plotting.COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lost_green = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    seen = np.clip(linear @ lost_green.T, 0, 1) ** (1 / 2.2)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    assert apart.min() > 0.1
    red_and_green = np.clip(np.array([[0.5, 0, 0], [0.09, 0.19, 0]]) @ lost_green.T, 0, 1)
    assert np.linalg.norm(np.diff(red_and_green ** (1 / 2.2), axis=0)) < 0.1  # the test can fail


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_saved_figures_keep_text_as_text(kind, tmp_path):
    ax = plotting.plot_loss({"a label": trajectory()})
    path = plotting.save_figure(ax, tmp_path / f"a.{kind}")
    data = path.read_bytes()
    if kind == "svg":
        assert b">a label</text>" in data
    if kind == "pdf":
        assert b"/TrueType" in data or b"/CIDFontType2" in data
        assert b"/Type3" not in data
    if kind == "png":
        assert int.from_bytes(data[16:20], "big") == round(3.25 * 300)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_figure_is_saved_whole_from_any_of_its_axes(tmp_path):
    figure, axes = plt.subplots(1, 2)
    plotting.plot_loss({"left": trajectory()}, axes[0])
    plotting.plot_loss({"right": trajectory()}, axes[1])
    one = plotting.save_figure(axes[0], tmp_path / "one.svg").read_text()
    assert ">left</text>" in one and ">right</text>" in one
    assert ">left</text>" in plotting.save_figure(figure, tmp_path / "two.svg").read_text()


def test_refuses_an_unknown_kind_of_file(tmp_path):
    with pytest.raises(ValueError, match=r"\.pdf, \.svg or \.png.*a\.jpg"):
        plotting.save_figure(plotting.plot_loss(trajectory()), tmp_path / "a.jpg")
