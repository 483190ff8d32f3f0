"""Arrays in files: NumPy's, SciPy's sparse ones, Matrix Market's, pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from gradflow._util.annotations import Checked

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
_GREY = (0.299, 0.587, 0.114)


def read_array(
    path: Checked[str | Path], key: Checked[str | None] = None, in_grey: bool = False
) -> Any:
    """The array in a file, by the file's ending.

    Args:
      path: .npy, .npz (of NumPy, or a sparse one of SciPy), .mtx or .mtx.gz, or a picture.
      key: the array's name, where an .npz file has several.
      in_grey: of a coloured picture, its brightness alone.

    Returns:
      An array, or a sparse one.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is of another kind, or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    name = path.name.lower()
    if key is not None and not name.endswith(".npz"):
        raise ValueError(f"Only an .npz file has names, so key={key!r} says nothing of {path}.")
    try:
        if name.endswith(".npz"):
            return _of_npz(path, key)
        if name.endswith(".npy"):
            return np.load(path, allow_pickle=False)
        if name.endswith((".mtx", ".mtx.gz")):
            import scipy.io

            return scipy.io.mmread(path)
        if name.endswith(PICTURES):
            return _grey_of(read_picture(path)) if in_grey else read_picture(path)
    except _Unclear:
        raise
    except Exception as error:  # readers of damaged files raise almost anything
        raise ValueError(f"{path} cannot be read ({error}); write it anew.") from error
    raise ValueError(
        f"{path} is none of .npy, .npz, .mtx and pictures ({', '.join(PICTURES)}); read a table of "
        "ratings by gradflow.read_ratings, anything else into an array of your own."
    )


class _Unclear(ValueError):
    """A file that is whole, but of which more must be said."""


def _of_npz(path: Path, key: Checked[str | None]) -> Any:
    with np.load(path, allow_pickle=False) as file:
        names = list(file.files)
        if key is None and {"format", "shape", "data"} <= set(names):
            import scipy.sparse

            return scipy.sparse.load_npz(path)
        if key is None and len(names) != 1:
            raise _Unclear(f"{path} holds {', '.join(names)}; say which by key=.")
        if key is not None and key not in names:
            raise _Unclear(f"{path} has no array {key!r}; it holds {', '.join(names)}.")
        return file[key or names[0]]


def read_picture(path: str | Path) -> np.ndarray:
    """A picture's brightness, rows from the top, by matplotlib: black is 0, white is 1.

    Args:
      path: of a picture that `matplotlib.image.imread` reads.

    Returns:
      (height, width) numbers, or (height, width, 3) of a coloured one; NaN where it is fully
      transparent.

    Raises:
      ValueError: if the file holds several pictures, or numbers of which none is known as white.
    """
    import matplotlib.image
    from PIL import Image

    with Image.open(path) as picture:
        mode, count = picture.mode, getattr(picture, "n_frames", 1)
    if count > 1:
        raise _Unclear(
            f"{path} holds {count} pictures; save the one that is wanted, or give an array of them "
            "all to from_array."
        )
    if mode in ("I", "F") and Path(path).suffix.lower() != ".png":
        raise _Unclear(
            f"The numbers in {path} are of 32 bits (mode {mode!r}), and which of them is white is "
            "not said; read them by PIL.Image and give from_array an array."
        )
    raw = np.asarray(matplotlib.image.imread(path))
    largest = 1.0 if raw.dtype.kind == "f" else float(np.iinfo(raw.dtype).max)
    values = raw.astype(float) / largest
    if values.ndim == 3 and values.shape[-1] in (2, 4):
        values = np.where(values[..., -1:] == 0, np.nan, values[..., :-1])
    if values.ndim == 3 and (values.shape[-1] == 1 or _is_grey(values)):
        values = values[..., 0]
    return values


def _is_grey(values: np.ndarray) -> bool:
    return bool(np.array_equal(values, np.repeat(values[..., :1], values.shape[-1], -1), True))


def _grey_of(picture: np.ndarray) -> np.ndarray:
    """The brightness of a coloured picture, 0.299 R + 0.587 G + 0.114 B."""
    return picture @ np.array(_GREY) if picture.ndim == 3 else picture
