"""The table of constants, as Markdown: as stated, the best ones, and how that is known."""

from collections.abc import Iterable

from gradflow._util.tables import in_a_cell
from gradflow.claims.constants import MEANINGS
from gradflow.claims.definition import Claim


def constants_table(claims: Iterable[Claim]) -> str:
    r"""A line for each constant of an inequality.

    Args:
      claims: of which those without an answer are left out.

    Returns:
      Markdown, formulas between dollar signs.

    Example:
      >>> from gradflow.claims import select
      >>> table = constants_table(select(["razin2020.lem9"]))
      >>> print(table.splitlines()[0])
      | claim | as stated | best | how known | where |
    """
    lines = ["| claim | as stated | best | how known | where |", "| :-- | :-- | :-- | :-- | :-- |"]
    for made in claims:
        for one in made.best:
            shown = [_formula(one.printed), _formula(one.best)]
            if one.stands:
                shown[1] = "the same"
            cells = (f"`{made.id}`", *shown, MEANINGS[one.known], in_a_cell(one.why))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _formula(latex: str) -> str:
    """In dollars, with no sign that would end the cell."""
    text = latex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
    return f"${in_a_cell(text)}$" if latex else ""
