"""LaTeX formulas as MathML, and as text where they cannot be."""

import html
import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element

_LONGEST = 20_000  # characters; no printed statement has a tenth of that
_TAGS = frozenset((
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "ms", "mfrac", "msqrt", "mroot", "mstyle",
    "merror", "mpadded", "mphantom", "mfenced", "menclose", "msub", "msup", "msubsup", "munder",
    "mover", "munderover", "mmultiscripts", "mprescripts", "none", "mtable", "mtr", "mtd",
    "mlabeledtr",
))  # fmt: skip
_REFUSED = frozenset(("href", "style", "class", "id", "src", "xref"))


def formula(statement: str) -> str:
    r"""A LaTeX formula as MathML, which browsers draw without any script or network.

    What is no formula, such as one with a brace too many, is shown as the text that it is. Texts
    in it stay texts, and what could do something (links, styles) is left out.

    Args:
      statement: in LaTeX.

    Returns:
      HTML.

    Example:
      >>> formula(r"\left(")
      '<pre class="formula">\\left(</pre>'
    """
    try:
        if len(statement) > _LONGEST:
            raise ValueError("too long")
        drawn = _written(convert_to_element(statement, display="block"))
    except Exception:  # the converter raises many kinds, an IndexError among them
        return f'<pre class="formula">{html.escape(statement)}</pre>'
    return f'<div class="formula">{drawn}</div>'


def _written(element: Element) -> str:
    """An element as HTML; the converter writes some characters of its texts as entities."""
    tag: str = element.tag
    if tag not in _TAGS:
        raise ValueError(f"{tag} is no tag of MathML")
    attributes = "".join(
        f' {name}="{_escaped(value)}"'
        for name, value in element.attrib.items()
        if re.fullmatch("[a-z]+", name) and name not in _REFUSED and not name.startswith("on")
    )
    inside = _escaped(element.text or "")
    for child in element:
        inside += _written(child) + _escaped(child.tail or "")
    return f"<{tag}{attributes}>{inside}</{tag}>" if inside else f"<{tag}{attributes} />"


def _escaped(text: str) -> str:
    return html.escape(html.unescape(text))
