"""Functions that take the fields of a dataclass as keywords, written down once, in that class."""

import dataclasses
import difflib
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

R = TypeVar("R")


def takes_options(
    kind: type, renamed: Mapping[str, str] | None = None
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a function take the fields of a dataclass as keywords.

    The function itself takes them as its parameter `options`. Its signature shows the fields, and
    its docstring is followed by theirs.

    Args:
      kind: a frozen dataclass whose docstring has a section `Attributes`.
      renamed: old keywords that still work, with a warning, and their new names.

    Example:
      >>> @dataclasses.dataclass(frozen=True, kw_only=True)
      ... class Options:
      ...     '''What can be asked.
      ...
      ...     Attributes:
      ...       steps: how many.
      ...     '''
      ...
      ...     steps: int = 3
      >>> @takes_options(Options)
      ... def walk(start, options):
      ...     '''Walk on.'''
      ...     return start + options.steps
      >>> walk(1, steps=2), walk(1)
      (3, 4)
      >>> str(inspect.signature(walk))
      '(start, *, steps: int = 3)'
    """
    fields = [field for field in dataclasses.fields(kind) if field.init]
    old = dict(renamed or {})

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        name = function.__name__

        @functools.wraps(function)
        def taking(*arguments: Any, **words: Any) -> R:
            own = {k: words.pop(k) for k in list(words) if k in positional}
            for word in [word for word in words if word in old]:
                new = old[word]
                if new in words:
                    raise TypeError(f"{name}() got both {word!r} and {new!r}, which are the same.")
                warnings.warn(
                    f"{name}(..., {word}=...) is now {new}=...", DeprecationWarning, stacklevel=2
                )
                words[new] = words.pop(word)
            _see_words(name, words, fields)
            return function(*arguments, options=kind(**words), **own)

        given = inspect.signature(function)
        kept = [p for p in given.parameters.values() if p.name != "options"]
        positional = {p.name for p in kept}
        empty = inspect.Parameter.empty
        more = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=empty if field.default is dataclasses.MISSING else field.default,
                annotation=field.type,
            )
            for field in fields
        ]
        shown = given.replace(parameters=[*kept, *more])
        taking.__signature__ = shown  # type: ignore[attr-defined]
        taking.__doc__ = f"{inspect.getdoc(function)}\n\n{_described(kind)}"
        return taking

    return decorate


def _see_words(name: str, words: Mapping[str, Any], fields: Sequence[Any]) -> None:
    """See that there are no other words than fields, and all that have no default.

    Raises:
      TypeError: with the function's name, and what may have been meant.
    """
    known, none = [field.name for field in fields], dataclasses.MISSING
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}."
            raise TypeError(f"{name}() has no option {word!r}; {hint}")
    needed = [field.name for field in fields if field.default is field.default_factory is none]
    if missing := [word for word in needed if word not in words]:
        raise TypeError(f"{name}() needs {', '.join(f'{word}=...' for word in missing)}")


def _described(kind: type) -> str:
    """The docstrings' sections `Attributes` of a dataclass and those it is made from."""
    lines = ["Keyword Args:"]
    for part in reversed(kind.__mro__):
        text = inspect.cleandoc(part.__dict__.get("__doc__") or "")
        _, found, section = text.partition("Attributes:\n")
        if found and dataclasses.is_dataclass(part):
            lines += section.split("\n\n")[0].splitlines()
    return "\n".join(lines)
