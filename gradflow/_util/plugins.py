"""Papers and files of a user's own: found where they stand, run as modules."""

import importlib
import importlib.util
import io
import os
import pickle
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

Kind = Literal["theory_checks", "experiments"]
VARIABLE = "GRADFLOW_PAPERS"
"""Environment variable: further folders with `theory_checks/` or `experiments/` in them."""

_KINDS: tuple[Kind, ...] = get_args(Kind)
_LIBRARY = Path(__file__).resolve().parents[1]
_INSTALLED = "gradflow.papers"


def papers(kind: Kind) -> list[ModuleType]:
    """Import the papers: each package in the folder `theory_checks` or `experiments`.

    The two folders stand inside the installed package, or beside it in a checkout; more papers may
    stand in folders of the same names under those that `GRADFLOW_PAPERS` lists.

    Args:
      kind: which of the two.

    Returns:
      The papers' packages, by year.

    Raises:
      ValueError: if `GRADFLOW_PAPERS` names what is no folder of papers, two papers have a name, or
        one raises an error.
    """
    parent = _folder(kind)
    found = []
    for name in _names(parent):
        try:
            found.append(importlib.import_module(f"{parent.__name__}.{name}"))
        except (Exception, SystemExit) as error:
            folder = _home(parent, name)
            raise ValueError(f"{folder} cannot be run: {_described(error, folder)}") from error
    return found


def sources(kind: Kind) -> list[Path]:
    """The Python files of the papers, which are not imported.

    Raises:
      ValueError: as in `papers`, but for errors of their own.
    """
    parent = _folder(kind)
    homes = [_home(parent, name) for name in _names(parent)]
    return [path for home in homes for path in sorted(home.rglob("*.py"))]


def age(paper: str) -> tuple[int, str]:
    """What to sort papers by: the year in the name, then the name."""
    year = re.search(r"\d{4}", paper)
    return int(year.group()) if year else 9999, paper


def run_module(path: Path | str, kind: str) -> None:
    """Run a Python file as the module `<kind>_of_<its name>`; a second time does nothing.

    Args:
      path: the file.
      kind: begins the name under which it stays in `sys.modules`.

    Raises:
      ValueError: if it does not exist, is not a Python file or raises an error.
    """
    path = Path(path)
    name = f"{kind}_of_{path.stem}"
    if name in sys.modules and sys.modules[name].__file__ == str(path.resolve()):
        return
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    try:
        _run(path.resolve(), name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path} cannot be run: {_described(error, path.parent)}") from error


def unpickle(data: bytes) -> Any:
    """Undo `pickle.dumps`, where the papers may have another name than where that was called.

    A worker of a cluster may stand in another folder, or have the installed package instead of a
    checkout.
    """
    return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        head, _, rest = module_name.removeprefix(f"{_INSTALLED}.").partition(".")
        for kind in _KINDS:
            if head == kind and rest.partition(".")[0] in _names(_folder(kind)):
                module_name = f"{_folder(kind).__name__}.{rest}"
        return super().find_class(module_name, global_name)


def _folder(kind: Kind) -> ModuleType:
    """The package that holds the papers' packages; its path has the user's folders, too.

    In a checkout it is called as `import` calls it there, unless someone else's package has that
    name.
    """
    inside = _LIBRARY / "papers" / kind
    home = inside if inside.is_dir() else _LIBRARY.parent / kind
    name = f"{_INSTALLED}.{kind}"
    if name not in sys.modules and home != inside and _place(kind) == home:
        name = kind
        importlib.import_module(name)
    elif name not in sys.modules:
        _run(home / "__init__.py", name, home)
    module = sys.modules[name]
    for root in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        if not any((Path(root) / each).is_dir() for each in _KINDS):
            raise ValueError(
                f"{VARIABLE} names {root}, which has no folder {' or '.join(_KINDS)}; "
                "mend the path, or unset the variable."
            )
        more = str(Path(root).resolve() / kind)
        if more not in module.__path__ and Path(more).is_dir():
            module.__path__.append(more)
    return module


def _home(parent: ModuleType, name: str) -> Path:
    """The folder of a paper."""
    return next(Path(folder) / name for folder in parent.__path__ if (Path(folder) / name).is_dir())


def _described(error: BaseException, folder: Path) -> str:
    """An error in one line, with the last line of a file below a folder that led to it."""
    place = ""
    if isinstance(error, SyntaxError) and error.lineno:
        place = f"{Path(error.filename or '').name}, line {error.lineno}: "
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if folder.resolve() in Path(frame.filename).parents:
                place = f"{Path(frame.filename).name}, line {frame.lineno}: "
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{place}{type(error).__name__}: {' '.join(str(what).split())}"


def _place(name: str) -> Path | None:
    """The folder of the package that `import name` gives."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that was made by hand
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve().parent


def _names(parent: ModuleType) -> list[str]:
    """The packages in a package's folders, by year."""
    places: dict[str, str] = {}
    for folder in parent.__path__:
        for found in pkgutil.iter_modules([folder]):
            if found.ispkg and folder != places.setdefault(found.name, folder):
                raise ValueError(
                    f"there are two papers {found.name}, in {places[found.name]} and in {folder}; "
                    "give one another name."
                )
    return sorted(places, key=age)


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
