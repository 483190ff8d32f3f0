"""Texts in the cells of tables."""

import re


def in_a_cell(text: str) -> str:
    r"""A text that stays in its cell and stays a text.

    Example:
      >>> in_a_cell("a < b | c <script> d")
      'a < b \\| c &lt;script> d'
    """
    line = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", line)


def span(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
