"""Names of a package that are imported when they are first used."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_first_use(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: it imports what is asked for from the package's modules.

    Args:
      package: its `__name__`.
      names: module within the package -> its names, with blanks between them.

    Example:
      >>> on_first_use("gradflow._util", {"words": "meant"})("meant").__name__
      'meant'
    """
    where = {name: module for module, all in names.items() for name in all.split()}

    def get(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{where[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
