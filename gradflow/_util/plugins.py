"""Papers and files of a user's own: found where they stand, run as modules."""

import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

import gradflow

Kind = Literal["theory_checks", "experiments"]
VARIABLE = "GRADFLOW_PAPERS"
"""Environment variable: further folders with `theory_checks/` or `experiments/` in them."""


def papers(kind: Kind) -> list[ModuleType]:
    """Import the papers: each package in the folder `theory_checks` or `experiments`.

    The two folders stand inside the installed package, or beside it in a checkout; more papers may
    stand in folders of the same names under those that `GRADFLOW_PAPERS` lists.

    Args:
      kind: which of the two.

    Returns:
      The papers' packages, by year.
    """
    parent = _folder(kind)
    found = [m.name for m in pkgutil.iter_modules(parent.__path__) if m.ispkg]
    return [importlib.import_module(f"{parent.__name__}.{name}") for name in sorted(found, key=age)]


def age(paper: str) -> tuple[int, str]:
    """What to sort papers by: the year in the name, then the name."""
    year = re.search(r"\d{4}", paper)
    return int(year.group()) if year else 9999, paper


def run_module(path: Path, name: str) -> None:
    """Run a Python file as the module `name`; a second time does nothing.

    Args:
      path: the file.
      name: under which it stays in `sys.modules`.

    Raises:
      ValueError: if it does not exist or is not a Python file.
    """
    path = Path(path)
    if name in sys.modules and sys.modules[name].__file__ == str(path.resolve()):
        return
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    _run(path.resolve(), name)


def _folder(kind: Kind) -> ModuleType:
    """The package that holds the papers' packages; its path has the user's folders, too."""
    package = Path(gradflow.__file__).resolve().parent
    installed = package / "papers" / kind
    home = installed if installed.is_dir() else package.parent / kind
    name = f"gradflow.papers.{kind}" if home == installed else kind
    if name in sys.modules and not _stands_in(sys.modules[name], home):
        name = f"gradflow.papers.{kind}"  # someone else's package has the plain name
    if name not in sys.modules:
        _run(home / "__init__.py", name, home)
    module = sys.modules[name]
    for root in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        more = str(Path(root).resolve() / kind)
        if more not in module.__path__ and Path(more).is_dir():
            module.__path__.append(more)
    return module


def _stands_in(module: ModuleType, folder: Path) -> bool:
    return str(folder) in {str(Path(path).resolve()) for path in getattr(module, "__path__", ())}


def _run(path: Path, name: str, package: Path | None = None) -> None:
    inside = None if package is None else [str(package)]
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
