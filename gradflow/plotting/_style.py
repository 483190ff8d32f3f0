"""The style of the pictures, and how they are written to files."""

from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow._util.files import whole_file

# Okabe and Ito's colours, which nearly all readers can tell apart, without the pale yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARK_COLOURS = ("#56B4E9", "#F07B3F", "#2FBF97", "#DD9BC4", "#F0B23D", "#7FA8FF", "#F2F2F2")
"""The same in the same order for dark pages: lighter, and white for black."""
_FORMATS = ("pdf", "svg", "png")


def paper_style() -> AbstractContextManager[None]:
    """The style of these pictures, as a context; outside of it matplotlib's settings stay.

    It is the style sheet "gradflow.plotting.paper", which `plt.style.use` takes too, for a column
    of 3.25 in.

    Example:
      >>> import matplotlib
      >>> with paper_style():
      ...     matplotlib.rcParams["legend.frameon"], matplotlib.rcParams["pdf.fonttype"]
      (False, 42)
    """
    return matplotlib.style.context("gradflow.plotting.paper")


def save_figure(picture: Axes | Figure, path: str | Path) -> Path:
    """Write a picture, whole or not at all; text in vector files stays text.

    Args:
      picture: axes, whose whole figure is written, or a figure.
      path: ends in .pdf, .svg or .png (300 dots an inch).

    Returns:
      The path.

    Raises:
      ValueError: if the path ends otherwise.
      FileNotFoundError: if its folder does not exist.

    Example:
      >>> import pathlib, tempfile
      >>> import numpy as np
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), horizon=9.0)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = save_figure(gf.plotting.plot_loss(flow), pathlib.Path(folder) / "loss.svg")
      ...     "</text>" in file.read_text()
      True
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in _FORMATS:
        raise ValueError(f"The path must end in .pdf, .svg or .png, but it is {str(path)!r}.")
    figure = picture.get_figure(root=True) if isinstance(picture, Axes) else picture
    assert figure is not None
    with paper_style(), whole_file(path) as temporary:
        figure.savefig(temporary, format=kind)
    return path
