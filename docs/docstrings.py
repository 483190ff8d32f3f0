"""Our docstrings as mkdocstrings wants them: its section is "Examples", and a star is a star."""

import re
from typing import Any

import griffe


class OurDocstrings(griffe.Extension):
    """Names sections as griffe knows them, and keeps formulas from being read as Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was found."""
        if obj.docstring is None:
            return
        text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
        obj.docstring.value = plain(text)


def plain(text: str) -> str:
    """A docstring whose stars, subscripts and angle brackets Markdown leaves alone.

    Doctests and formulas on lines of their own, which Markdown takes for code, stay as they are.
    """
    lines, before, code, doctest = [], "", False, False
    for line in text.split("\n"):
        indented = line.startswith("    ")
        code = (indented and (code or not before)) or (code and not line)
        doctest = bool(line) and (doctest or line.lstrip().startswith(">>>"))
        lines.append(line if code or doctest else _escaped(line))
        before = line
    return "\n".join(lines)


def _escaped(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    for k in range(0, len(parts), 2):
        part = re.sub(r"\*|(?<!\w)_", r"\\\g<0>", parts[k])
        parts[k] = re.sub(r"<(?=[A-Za-z/])", "&lt;", part)
    return "".join(parts)
