r"""A page on which norms rise and rank falls, computed live in the browser.

It integrates the gradient flow of 2x2 completion in the coordinates of
`gradflow.coordinates.LogDetCoordinates`, in plain JavaScript (playground_flow.js), and needs no
server and no network.
"""

from pathlib import Path

from gradflow._util.files import whole_file
from gradflow.plotting._packing import filled, properties, script
from gradflow.plotting._style import COLOURS, DARK_COLOURS

_SCRIPTS = {
    "flow": "playground_flow.js",
    "measures": "playground_measures.js",
    "chart": "chart.js",
    "draw": "playground_draw.js",
    "page": "playground.js",
}


def save_playground(path: str | Path) -> Path:
    """Write the playground as one file that works without a network.

    A 2x2 matrix is completed from three of its entries by exact gradient flow: drag the start,
    choose the depth and the observed values, and watch norms rise and the effective rank fall
    against the loss, with the bounds of the theorem beside. The page's address keeps what is set.

    Args:
      path: where to; its folder must exist.

    Returns:
      The path.

    Raises:
      FileNotFoundError: if the folder does not exist.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = save_playground(pathlib.Path(folder) / "playground.html")
      ...     file.stat().st_size < 60_000
      True

    References:
      razin2020, Theorems 1 and 2.
    """
    with whole_file(path) as temporary:
        temporary.write_text(playground_page(), encoding="utf-8")
    return Path(path)


def playground_page() -> str:
    """The page that `save_playground` writes, as HTML.

    Example:
      >>> playground_page().startswith("<!doctype html>")
      True
    """
    parts = {k: script(name) for k, name in _SCRIPTS.items()}
    parts |= {"light": properties(COLOURS), "dark": properties(DARK_COLOURS)}
    return filled("playground.html", parts)
