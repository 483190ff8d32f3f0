"""Films: which records a frame shows, how long it stays, and what is refused."""

import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.animation import FFMpegWriter
from PIL import Image

from gradflow import Outcome, Trajectory
from gradflow.plotting import animation
from gradflow.plotting.animation import animate

TIMES = np.array([0.0, 0.01, 0.1, 1.0, 10.0])


def trajectory(*names, times=TIMES, kind="flow"):
    """A made-up run that recorded these besides the loss."""
    own = {
        "singular_values": np.stack([1 + times, np.full_like(times, 0.5)], axis=1),
        "product": times[:, None, None] * np.array([[1.0, -2.0, 0.0], [0.5, 0.0, 1.0]]),
    }
    return Trajectory(
        times=times,
        observables={"loss": 1 / (1 + times), **{name: own[name] for name in names}},
        final={},
        initial={},
        outcome=Outcome.REACHED_HORIZON,
        stats={},
        config={"kind": kind},
    )


def film(path, run=None, **options):
    return animate(
        run or trajectory(), path, **{"frames": 4, "progress": False, "dots": 40} | options
    )


def frames_of(path):
    with Image.open(path) as picture:
        found = []
        for k in range(picture.n_frames):
            picture.seek(k)
            found.append((np.asarray(picture.convert("RGB")), picture.info["duration"]))
        return found


def test_a_film_has_its_frames_and_lasts_its_seconds(tmp_path):
    path = film(tmp_path / "a.gif", seconds=1.0)
    found = frames_of(path)
    assert len(found) == 4 and sum(duration for _, duration in found) == 1000
    shapes = {picture.shape for picture, _ in found}
    assert shapes == {(88, 96, 3)}  # 2.2 x 2.4 inches at 40 dots
    for (before, _), (after, _) in zip(found, found[1:], strict=False):
        assert np.any(before != after)
    assert all(tuple(picture[0, 0]) == (255, 255, 255) for picture, _ in found)


def test_rounded_durations_add_up(tmp_path):
    found = frames_of(film(tmp_path / "a.gif", frames=3, seconds=0.5))
    assert [duration for _, duration in found] == [170, 160, 170]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ((), ["loss"]),
        (("singular_values",), ["singular values", "loss"]),
        (("singular_values", "product"), ["singular values", "loss", "row"]),
        (("product",), ["loss", "row"]),
    ],
)
def test_panels_are_what_was_recorded(names, labels):
    figure, _ = animation._film(trajectory(*names), 5, 40)
    shown = [ax.get_ylabel() for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert len(shown) == len(labels)
    assert all(label in own for label, own in zip(labels, shown, strict=True))


def test_a_frame_shows_the_records_up_to_its_time():
    run = trajectory("singular_values", "product")
    figure, show = animation._film(run, 5, 40)
    spectrum, loss = figure.axes[:2]
    limits = loss.get_xlim(), loss.get_ylim(), spectrum.get_ylim()
    for moment, count in ((0.01, 2), (0.5, 3), (1.0, 4), (10.0, 5)):
        show(moment)
        line, dot = loss.lines[0], loss.lines[2]
        np.testing.assert_array_equal(line.get_xdata(), run.times[1:count])
        np.testing.assert_array_equal(line.get_ydata(), run["loss"][1:count])
        assert dot.get_xdata() == run.times[count - 1] and dot.get_ydata() == run["loss"][count - 1]
        np.testing.assert_array_equal(spectrum.lines[0].get_xdata(), run.times[1:count])
        (image,) = (image for ax in figure.axes for image in ax.images)
        np.testing.assert_array_equal(image.get_array(), run["product"][count - 1])
        assert image.get_clim() == (-20.0, 20.0)  # of the whole run
        assert figure.get_suptitle().startswith(f"$t$ = {run.times[count - 1]:.3g}")
        assert (loss.get_xlim(), loss.get_ylim(), spectrum.get_ylim()) == limits


def test_frames_are_spaced_on_the_logarithmic_clock(tmp_path, monkeypatch):
    moments = []
    monkeypatch.setattr(
        animation, "track", lambda values, *_, **__: moments.extend(values) or values
    )
    film(tmp_path / "a.gif", frames=7)
    np.testing.assert_allclose(moments, np.geomspace(0.01, 10.0, 7), rtol=1e-14)
    assert moments[-1] == 10.0


def test_a_descent_counts_iterations_and_a_dataset_will_do():
    run = trajectory(kind="descent")
    figure, _ = animation._film(animation.as_trajectory(run.to_xarray()), 5, 40)
    assert figure.get_suptitle().startswith("iteration 10")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.avi", {}, r"end in \.gif or \.mp4.*a\.avi"),
        ("a.gif", {"frames": 0}, "frames must be a whole number"),
        ("a.gif", {"seconds": -1.0}, "seconds must be"),
        (
            "a.gif",
            {"run": trajectory(times=TIMES[:2])},
            "two records after time 0, but there are 1",
        ),
    ],
)
def test_refuses(name, options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        film(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="create it first"):
        film(tmp_path / "none" / "a.gif")


def test_a_film_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    path.write_text("before")
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        film(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"] and path.read_text() == "before"


def test_without_ffmpeg_an_mp4_names_the_remedy(tmp_path):
    with (
        matplotlib.rc_context({"animation.ffmpeg_path": str(tmp_path / "none")}),
        pytest.raises(RuntimeError, match=r"apt install ffmpeg.*or write a\.gif"),
    ):
        film(tmp_path / "a.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for ffmpeg")
def test_frames_are_piped_to_ffmpeg(tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor last; do :; done\ncat > "$last"\n')
    program.chmod(0o755)
    with matplotlib.rc_context({"animation.ffmpeg_path": str(program)}):
        path = film(tmp_path / "a.mp4", seconds=2.0)
    assert path.stat().st_size == 4 * 88 * 96 * 4  # frames x height x width x RGBA


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="needs ffmpeg")
def test_an_mp4_is_one(tmp_path):
    assert b"ftyp" in film(tmp_path / "a.mp4").read_bytes()[:16]
