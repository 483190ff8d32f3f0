"""Texts in the cells of Markdown tables."""

import re


def in_a_cell(text: str) -> str:
    r"""A text that stays in its cell and stays a text.

    Example:
      >>> in_a_cell("a < b | c <script> d")
      'a < b \\| c &lt;script> d'
    """
    line = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", line)
