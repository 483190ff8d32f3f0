"""A trajectory as a moving picture: spectrum, loss and product on the log clock."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FFMpegWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from rich.progress import track

from gradflow._util.annotations import Checked
from gradflow._util.files import whole_file
from gradflow._util.progress import console
from gradflow._util.validate import positive, whole
from gradflow.plotting._axes import Run, as_trajectory, recorded
from gradflow.plotting._style import paper_style
from gradflow.plotting.static import plot_loss, plot_matrix, plot_spectrum

_FORMATS = (".gif", ".mp4")


def animate(
    run: Run,
    path: str | Path,
    *,
    frames: Checked[int] = 120,
    seconds: Checked[float] = 8.0,
    top: Checked[int] = 5,
    dots: Checked[int] = 110,
    progress: bool = True,
) -> Path:
    """Write a run as a GIF or MP4: each frame shows the records up to its time.

    The times of the frames are equally spaced on a log clock, from the first positive record to the
    last. The panels are the singular values, the loss and the product W, as far as they were
    recorded; axes and colours stay as the whole run needs them.

    Args:
      run: a trajectory. "product" must be among its observables for the panel of W.
      path: ends in .gif or .mp4, which needs the program ffmpeg.
      frames: how many.
      seconds: that the film lasts.
      top: how many singular values, from the largest on.
      dots: an inch; a panel is 2.4 in wide.
      progress: show a bar while frames are drawn.

    Returns:
      The path; a film that fails half-way leaves what was there before.

    Raises:
      ValueError: if the path ends otherwise, a number is not positive, or fewer than two records
        have a positive time.
      FileNotFoundError: if the path's folder does not exist.
      RuntimeError: for an MP4, if there is no ffmpeg.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import jax
      >>> import gradflow as gf
      >>> problem = gf.synthetic.matrix_completion(
      ...     jax.random.key(0), (12, 9), rank=2, observations=80
      ... )
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=3))
      >>> start = objective.factorization.random_balanced(jax.random.key(1), std=0.01)
      >>> shown = ("singular_values", "product")
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-4, observe=shown)
      >>> film = Path(tempfile.mkdtemp()) / "flow.gif"
      >>> path = animate(flow, film, frames=5, progress=False)
      >>> Image.open(path).n_frames
      5
    """
    path = Path(path)
    run = as_trajectory(run)
    frames, dots, top = (
        whole(name, value) for name, value in (("frames", frames), ("dots", dots), ("top", top))
    )
    pause = positive("seconds", seconds) / frames
    kind = path.suffix.lower()
    if kind not in _FORMATS:
        raise ValueError(f"The path must end in .gif or .mp4, but it is {str(path)!r}.")
    if kind == ".mp4" and not FFMpegWriter.isAvailable():
        raise RuntimeError(
            "An MP4 needs the program ffmpeg, which is not on the path; install it (Debian and "
            f"Ubuntu: apt install ffmpeg; conda: conda install ffmpeg), or write {path.stem}.gif."
        )
    clock = run.times[run.times > 0]
    if len(clock) < 2:
        raise ValueError(
            f"A film needs two records after time 0, but there are {len(clock)}; record more."
        )
    moments = np.geomspace(clock[0], clock[-1], frames)
    moments[-1] = clock[-1]
    with paper_style(), whole_file(path) as temporary:
        figure, show = _film(run, top, dots)
        writer = _gif if kind == ".gif" else _mp4
        with writer(figure, temporary, pause) as grab:
            for moment in track(moments, "frames", disable=not progress, console=console()):
                show(moment)
                grab()
    return path


def _film(run: Any, top: int, dots: int) -> tuple[Figure, Callable[[float], None]]:
    """The figure of the whole run, and a function that turns it to a time."""
    panels = [
        name
        for name, shown in (
            ("singular_values", "singular_values" in run.observables),
            ("loss", True),
            ("product", "product" in run.observables and run["product"].ndim == 3),
        )
        if shown
    ]
    figure = Figure(figsize=(2.4 * len(panels), 2.2), dpi=dots, layout="constrained")
    FigureCanvasAgg(figure)
    axes = dict(zip(panels, np.atleast_1d(figure.subplots(1, len(panels))), strict=True))
    image = None
    if "singular_values" in axes:
        plot_spectrum(run, axes["singular_values"], top=top)
    plot_loss(run, axes["loss"])
    if "product" in axes:
        limit = float(np.abs(recorded(run, "product")).max()) or 1.0
        image = plot_matrix(run, -1, ax=axes["product"], limit=limit).images[0]
        axes["product"].set_title("")
    moving = []
    for name in [name for name in panels if name != "product"]:
        ax = axes[name]
        ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())
        for line in list(ax.lines):
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            ax.plot(x, y, color=line.get_color(), alpha=0.2, linewidth=0.8)
            (dot,) = ax.plot([], [], "o", color=line.get_color(), markersize=3)
            moving.append((x, y, line, dot))
    heading = figure.suptitle(" ", fontsize=8)
    clock = "iteration" if run.config.get("kind") == "descent" else "$t$ ="

    def show(moment: float) -> None:
        count = int(np.searchsorted(run.times, moment * (1 + 1e-12), side="right"))
        for x, y, line, dot in moving:
            past = int(np.searchsorted(x, moment * (1 + 1e-12), side="right"))
            line.set_data(x[:past], y[:past])
            dot.set_data(x[past - 1 : past], y[past - 1 : past])
        if image is not None:
            image.set_data(run["product"][count - 1])
        heading.set_text(f"{clock} {run.times[count - 1]:.3g}, loss {run['loss'][count - 1]:.2e}")

    # The layout is found once: it would tremble with the digits of the heading.
    show(run.times[-1])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure, show


@contextmanager
def _gif(figure: Figure, path: Path, pause: float) -> Iterator[Callable[[], None]]:
    """Write the frames grabbed as a GIF, all in one palette, so that colours do not flicker."""
    grabbed: list[np.ndarray] = []

    def grab() -> None:
        canvas: Any = figure.canvas
        canvas.draw()
        grabbed.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    yield grab
    sample = np.stack([grabbed[k] for k in np.linspace(0, len(grabbed) - 1, 5).astype(int)])
    colours = np.unique(sample.reshape(-1, 3), axis=0)  # each once: white would take the palette
    palette = Image.fromarray(colours[None]).quantize(255).getpalette() or []
    shared = np.array([*palette[: 3 * 255], 255, 255, 255], np.uint8).reshape(-1, 3)
    pictures = [_indexed(picture, shared) for picture in grabbed]
    # A GIF counts in hundredths of a second; the rounding is made up for by the next frame.
    ends = np.round(np.arange(len(pictures) + 1) * pause * 100) * 10
    durations = np.maximum(np.diff(ends), 20).astype(int).tolist()
    pictures[0].save(
        path, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )


def _indexed(picture: np.ndarray, palette: np.ndarray) -> Image.Image:
    """A picture in the nearest colours of a palette; Pillow's own search is only about nearest."""
    colours, where = np.unique(picture @ np.array([1 << 16, 1 << 8, 1]), return_inverse=True)
    parts = np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], axis=1)
    apart = np.sum((parts[:, None] - palette.astype(int)) ** 2, axis=2)
    indices = np.argmin(apart, axis=1).astype(np.uint8)[where.reshape(picture.shape[:2])]
    indexed = Image.fromarray(indices, mode="P")
    indexed.putpalette(palette.tobytes())
    return indexed


@contextmanager
def _mp4(figure: Figure, path: Path, pause: float) -> Iterator[Callable[[], None]]:
    """Pipe the frames grabbed to ffmpeg."""
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"  # H.264 halves the colours' resolution
    rate: Any = 1 / pause  # matplotlib says int, ffmpeg takes any
    writer = FFMpegWriter(
        fps=rate, codec="libx264",
        extra_args=["-f", "mp4", "-vf", even, "-pix_fmt", "yuv420p", "-movflags", "+faststart"],
    )  # fmt: skip
    saving: AbstractContextManager[Any] = writer.saving(figure, str(path), figure.dpi)
    with saving:
        yield writer.grab_frame
