"""The gallery: the docstring example of each public picture, run and shown.

    python docs/make_gallery.py

Writes docs/gallery/index.md and one picture a function.
"""

import doctest
import inspect
import io
import os
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from gradflow import plotting
from gradflow.plotting import animation

FOLDER = Path(__file__).resolve().parent / "gallery"
HEAD = """---
hide: [navigation]
---

# Gallery

Every picture of `gradflow.plotting` and its film, each drawn by the example in its docstring.
Functions take `ax=`, so that several make one figure: see [pictures and films](../pictures.md).
"""


def pictures() -> dict[str, Any]:
    """The public functions that draw, by their full names."""
    drawing = {
        f"gradflow.plotting.{name}": getattr(plotting, name)
        for name in plotting.__all__
        if name.startswith("plot_")
    }
    return drawing | {"gradflow.plotting.animate": animation.animate}


def run(name: str, function: Any, folder: Path = FOLDER) -> tuple[str, list[str]]:
    """Run a function's example and save what it draws.

    Args:
      name: full name.
      function: it.
      folder: where the pictures go.

    Returns:
      The example's code, and the names of the pictures.

    Raises:
      ValueError: if there is no example, or it draws nothing.
    """
    source = inspect.getdoc(function) or ""
    examples = doctest.DocTestParser().get_examples(source)
    module: ModuleType = inspect.getmodule(function) or plotting
    scope = {"__name__": name, **vars(module)}
    short = name.rpartition(".")[2]
    files: list[str] = []
    if function is animation.animate:  # a longer film than the example's, kept

        def film(own: Any, path: Path, **options: Any) -> Path:
            files.append(f"{short}{path.suffix}")
            options |= {"frames": 60, "seconds": 5.0}
            return animation.animate(own, folder / files[-1], **options)

        scope[short] = film
    others = plt.get_fignums()
    with plotting.paper_style(), redirect_stdout(io.StringIO()):
        for example in examples:
            exec(compile(example.source, name, "single"), scope)
        for k, number in enumerate(n for n in plt.get_fignums() if n not in others):
            figure = plt.figure(number)
            drawn = f"{short}-{k + 1}.png" if k else f"{short}.png"
            figure.savefig(folder / drawn, dpi=200)
            files.append(drawn)
            plt.close(figure)
    if not examples or not files:
        raise ValueError(f"{name} has no example that draws; give its docstring one.")
    return "".join(example.source for example in examples), files


def entry(name: str, function: Any, code: str, files: list[str]) -> str:
    """A function's part of the page."""
    short = name.rpartition(".")[2]
    line = (inspect.getdoc(function) or "").split("\n")[0].replace("*", r"\*")
    shown = "\n".join(
        f"![What the example of {short} draws]({file})"
        + "{ width=420 }" * file.endswith(".png")  # a column of 3.25 in, somewhat enlarged
        for file in files
    )
    imports = "import numpy as np\n" * ("np." in code)
    imports += f"from {name.rpartition('.')[0]} import {short}\n"
    names = ", ".join(inspect.signature(function).parameters)
    return (
        f"## {short}\n\n[`{short}({names})`][{name}]\n\n{line}\n\n{shown}\n\n"
        f"```python\n{imports}{code.strip()}\n```\n"
    )


def main() -> None:
    """Write the page and its pictures."""
    FOLDER.mkdir(exist_ok=True)
    parts = []
    for name, function in pictures().items():
        parts.append(entry(name, function, *run(name, function)))
        print(f"gallery: {name}")
    (FOLDER / "index.md").write_text("\n".join([HEAD, *parts]), encoding="utf-8")


if __name__ == "__main__":
    main()
