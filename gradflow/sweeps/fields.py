"""Values for the fields of a grid, as the command line would make them: a cell is known by them."""

import dataclasses
import types
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def changed(grid: Any, values: Mapping[str, Any]) -> Any:
    """A grid with other values, each of its field's type.

    A cell is found by its values, and 1 is another name than 1.0: whole numbers become floats where
    the field is one, lists, ranges and arrays become tuples, NumPy's scalars Python's.

    Args:
      grid: a frozen dataclass.
      values: by field.

    Raises:
      ValueError: if a value does not fit its field's annotation; it says what does.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Grid:
      ...     rates: tuple[float, ...] = (0.1,)
      ...     size: int = 10
      >>> changed(Grid(), {"rates": [1, 2]})
      Grid(rates=(1.0, 2.0), size=10)
    """
    hints = get_type_hints(type(grid))
    return dataclasses.replace(
        grid, **{name: _fitted(name, hints.get(name, Any), value) for name, value in values.items()}
    )


def _fitted(name: str, hint: Any, value: Any) -> Any:
    """A value as a type has it."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is tuple:
        return _several(name, parts, value)
    if origin in (Union, types.UnionType):
        return _one_of(name, hint, parts, value)
    if origin is Literal:
        if value not in parts:
            raise _refused(name, f"one of {', '.join(map(repr, parts))}", value)
        return value
    number = isinstance(value, Real) and not isinstance(value, bool)
    if hint is float:
        if not number:
            raise _refused(name, "a number", value)
        return float(value)
    if hint is int:
        if not number or not isinstance(value, Integral):
            raise _refused(name, "a whole number", value)
        return int(value)
    if hint in (str, bool) and not isinstance(value, hint):
        raise _refused(name, "a text" if hint is str else "True or False", value)
    return value


def _several(name: str, parts: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _refused(name, f"several values, such as ({value!r},)", value)
    values = tuple(value)
    if len(parts) == 2 and parts[1] is ...:
        parts = (parts[0],) * len(values)
    if len(parts) != len(values):
        raise _refused(name, f"{len(parts)} values", value)
    return tuple(_fitted(name, part, one) for part, one in zip(parts, values, strict=True))


def _one_of(name: str, hint: Any, parts: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in parts:
        return None
    for part in (part for part in parts if part is not type(None)):
        try:
            return _fitted(name, part, value)
        except ValueError:
            continue
    raise _refused(name, str(hint), value)


def _refused(name: str, meant: str, value: Any) -> ValueError:
    return ValueError(f"{name} must be {meant}, but it is {value!r}.")
