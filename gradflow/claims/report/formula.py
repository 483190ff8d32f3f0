"""LaTeX formulas as MathML, and as text where they cannot be; two of them with what differs."""

import html
import re
from collections.abc import Iterator
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
_PLACES = frozenset(("mfrac", "mroot", "msub", "msup", "msubsup", "munder", "mover", "munderover"))
"""Where what a sign stands for depends on which child of its parent it is in."""
_ALIKE = 0.3
"""Below this share of common signs two formulas are two statements, and nothing is marked."""
_MOST = 500
"""Signs of a formula beyond which nothing is compared."""
_RELATIONS = frozenset("=≤≥<>≈⇒→≠∈⟹⇐⇔")
"""Signs before which a formula may go on in a new line."""
_TERMS = frozenset("+−-")
"""The same, if enough stands before them."""
_OPENS, _CLOSES = frozenset("([{⟨"), frozenset(")]}⟩")

Sign = tuple[str, str, tuple[str, ...]]
"""A sign of a formula: its tag, its text, and where in fractions and exponents it stands."""


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
    return _drawn(statement, _converted(statement), set())


def compared(printed: str, other: str) -> tuple[str, str]:
    """Two formulas, with what differs marked by the class `differs`.

    Args:
      printed: in LaTeX.
      other: in LaTeX.

    Returns:
      HTML of both. Nothing is marked where they have little in common.
    """
    first, second = _converted(printed), _converted(other)
    marked: set[int] = set()
    if first is not None and second is not None:
        marked = _differing(first, second)
    return _drawn(printed, first, marked), _drawn(other, second, marked)


def _differing(first: Element, second: Element) -> set[int]:
    """The signs, by identity, that one formula has and the other does not have there."""
    ours, theirs = list(_signs(first)), list(_signs(second))
    if max(len(ours), len(theirs)) > _MOST:
        return set()
    common = _common([sign for _, sign in ours], [sign for _, sign in theirs])
    if 2 * len(common) < _ALIKE * (len(ours) + len(theirs)):
        return set()
    kept = {id(ours[a][0]) for a, _ in common} | {id(theirs[b][0]) for _, b in common}
    return {id(element) for element, _ in (*ours, *theirs)} - kept


def _common(ours: list[Sign], theirs: list[Sign]) -> list[tuple[int, int]]:
    """The places of a longest common subsequence, as early as it can be."""
    longest = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for a in reversed(range(len(ours))):
        for b in reversed(range(len(theirs))):
            longest[a][b] = (
                longest[a + 1][b + 1] + 1
                if ours[a] == theirs[b]
                else max(longest[a + 1][b], longest[a][b + 1])
            )
    found, a, b = [], 0, 0
    while a < len(ours) and b < len(theirs):
        if ours[a] == theirs[b]:
            found.append((a, b))
            a, b = a + 1, b + 1
        elif longest[a + 1][b] >= longest[a][b + 1]:
            a += 1
        else:
            b += 1
    return found


def _signs(element: Element, place: tuple[str, ...] = ()) -> Iterator[tuple[Element, Sign]]:
    """The signs of a formula in their order, without spaces."""
    if len(element) == 0:
        text = html.unescape(element.text or "").strip()
        if text:
            yield element, (element.tag, text, place)
        return
    for k, child in enumerate(element):
        inner = (*place, f"{element.tag} {k}") if element.tag in _PLACES and k else place
        yield from _signs(child, inner)


def _converted(statement: str) -> Element | None:
    """A statement as MathML; None if it is none."""
    try:
        if len(statement) > _LONGEST:
            raise ValueError("too long")
        return convert_to_element(statement, display="block")
    except Exception:  # the converter raises many kinds, an IndexError among them
        return None


def _drawn(statement: str, element: Element | None, marked: set[int]) -> str:
    """A formula, or its text."""
    try:
        if element is not None:
            parts = " ".join(_written(part, marked) for part in _parts(element))
            return f'<div class="formula">{parts}</div>'
    except (ValueError, RecursionError):
        pass
    return f'<pre class="formula">{html.escape(statement)}</pre>'


def _parts(whole: Element) -> Iterator[Element]:
    """A formula cut where a line may end: before relations and terms, after , and ;."""
    row = whole[0] if len(whole) == 1 and whole[0].tag == "mrow" else whole
    if whole.tag != "math" or len(row) < 2:
        yield whole
        return
    attributes = dict(whole.attrib) | {"display": "inline", "displaystyle": "true"}
    part, depth = Element("math", attributes), 0
    for child in row:
        text = _base(child)
        depth += (text in _OPENS) - (text in _CLOSES)
        ends = text in _RELATIONS or (text in _TERMS and len(part) > 3)
        if ends and depth == 0 and len(part):
            yield part
            part = Element("math", attributes)
            child.set("form", "infix")
        part.append(child)
        if (text == "," or child.text == ";") and depth == 0:  # which the converter has as a letter
            yield part
            part = Element("math", attributes)
    if len(part):
        yield part


def _base(element: Element) -> str:
    """The operator that an element is, without its scripts; nothing if it is something else."""
    while len(element) and element.tag in _PLACES:
        element = element[0]
    text = html.unescape(element.text or "").strip() if element.tag == "mo" else ""
    return text if len(text) == 1 else " "


def _written(element: Element, marked: set[int]) -> str:
    """An element as HTML; the converter writes some characters of its texts as entities."""
    tag: str = element.tag
    if tag not in _TAGS:
        raise ValueError(f"{tag} is no tag of MathML")
    attributes = "".join(
        f' {name}="{_escaped(value)}"'
        for name, value in element.attrib.items()
        if re.fullmatch("[a-z]+", name) and name not in _REFUSED and not name.startswith("on")
    )
    if id(element) in marked:
        attributes += ' class="differs"'
    inside = _escaped(element.text or "")
    for child in element:
        inside += _written(child, marked) + _escaped(child.tail or "")
    return f"<{tag}{attributes}>{inside}</{tag}>" if inside else f"<{tag}{attributes} />"


def _escaped(text: str) -> str:
    return html.escape(html.unescape(text))
