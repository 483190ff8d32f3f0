"""The gallery: the docstring example of each public picture, run and shown.

    python docs/make_gallery.py

Writes docs/gallery/index.md, one picture a function, and explorer.html: a family of flows.
"""

import doctest
import inspect
import io
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from gradflow import MatrixProduct, Objective, Trajectory, plotting, solve_flows
from gradflow.plotting import animation
from gradflow.synthetic import norm_blowup

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
    code = snippet(name, function)
    short = name.rpartition(".")[2]
    files: list[str] = []

    def film(own: Any, path: Path, **options: Any) -> Path:
        """A longer one than the example's, kept."""
        files.append(f"{short}{path.suffix}")
        longer: dict[str, Any] = {"frames": 60, "seconds": 5.0}
        return animation.animate(own, folder / files[-1], **(options | longer))

    others = plt.get_fignums()
    plotting.animate, kept = film, plotting.animate
    try:
        with plotting.paper_style(), redirect_stdout(io.StringIO()):
            exec(compile(code, name, "exec"), {})
    finally:
        plotting.animate = kept
    for k, number in enumerate(n for n in plt.get_fignums() if n not in others):
        figure = plt.figure(number)
        drawn = f"{short}-{k + 1}.png" if k else f"{short}.png"
        figure.savefig(folder / drawn, dpi=200)
        files.append(drawn)
        plt.close(figure)
    if not files:
        raise ValueError(f"{name} has no example that draws; give its docstring one.")
    return code, files


def snippet(name: str, function: Any) -> str:
    """A function's example as it can be pasted into an empty file, or a notebook.

    Raises:
      ValueError: if there is no example.
    """
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(function) or "")
    if not examples:
        raise ValueError(f"{name} has no example; give its docstring one.")
    module, _, short = name.rpartition(".")
    # What has a value is a check of the docstring's; what draws has a name.
    body = "".join(example.source for example in examples if not example.want)
    used = {
        "import tempfile": "tempfile.",
        "from pathlib import Path": "Path(",
        "import jax": "",
        "import matplotlib.pyplot as plt": "",
        "import numpy as np": "np.",
        "import gradflow as gf": "",
        f"from {module} import {short}": "",
    }
    first = [line for line, sign in used.items() if sign in body]
    body = "".join(line for line in body.splitlines(keepends=True) if line.strip() not in used)
    last = "" if short == "animate" else "\nplt.show()"
    return "\n".join(
        [*first, "", 'jax.config.update("jax_enable_x64", True)', f"{body.strip()}{last}"]
    )


def entry(name: str, function: Any, code: str, files: list[str]) -> str:
    """A function's part of the page."""
    short = name.rpartition(".")[2]
    line = (inspect.getdoc(function) or "").split("\n")[0].replace("*", r"\*")
    shown = "\n".join(
        f"![What the example of {short} draws]({file})"
        + "{ width=420 }" * file.endswith(".png")  # a column of 3.25 in, somewhat enlarged
        for file in files
    )
    names = ", ".join(inspect.signature(function).parameters)
    return (
        f"## {short}\n\n[`{short}({names})`][{name}]\n\n{line}\n\n{shown}\n\n"
        f"```python\n{code.strip()}\n```\n"
    )


def family() -> dict[tuple[int, float], Trajectory]:
    """The norm blow-up from alpha I by depth and alpha, for the explorer."""
    runs, scales = {}, (0.1, 0.01)
    for depth in (2, 3, 4):
        objective = Objective(norm_blowup(), MatrixProduct.of((2, 2), depth))
        starts = [objective.factorization.identity(scale) for scale in scales]
        flows = solve_flows(objective, starts, stop_loss=1e-4, observe=plotting.OBSERVE)
        runs |= {(depth, scale): flow for scale, flow in zip(scales, flows, strict=True)}
    return runs


def main() -> None:
    """Write the pages and the pictures."""
    FOLDER.mkdir(exist_ok=True)
    parts = []
    for name, function in pictures().items():
        parts.append(entry(name, function, *run(name, function)))
        print(f"gallery: {name}")
    title = "Norms rise, rank falls: 2x2 completion by depth and scale of the start"
    plotting.save_html(family(), FOLDER / "explorer.html", title=title)
    (FOLDER / "index.md").write_text("\n".join([HEAD, *parts]), encoding="utf-8")


if __name__ == "__main__":
    main()
