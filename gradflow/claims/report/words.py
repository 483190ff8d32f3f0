"""What a claim is found by: its statement and its place in the words that a reader looks for."""

import re

from gradflow.claims.report.numbers import Row
from gradflow.claims.report.summary import authors, paper_of, title
from gradflow.claims.severity import severity_of

_LONGEST = 4000  # characters; what comes later is found by its LaTeX alone
_SPOKEN = (
    (r"\\mathrm\{erank\}", " effective rank "),
    (r"\\\|_(?:\*|\{\*\})", " nuclear norm "),
    (r"\\\|_F|_F\b", " Frobenius norm "),
    (r"L\^2", " L2 norm "),
    (r"\\\|", " norm "),
    (r"D\(.*?\\mathcal M_1\)|\\mathcal M_1", " infimal rank, distance from rank one "),
    (r"\\otimes", " Kronecker product "),
    (r"\\odot", " Hadamard product "),
    (r"\\mathrm\{vec\}", " vec vectorisation "),
    (r"\\mathrm\{(\w+)\}", r" \1 "),
    (r"\\det", " determinant det "),
    (r"\\sigma|\\dot\\sigma|\\Sigma", " singular value singular values sigma "),
    (r"\\ell|\\mathcal L", " loss "),
    (r"\\nabla", " gradient "),
    (r"\\lim|\\to\b", " limit "),
    (r"\\arg\\min|\\min", " minimum least "),
    (r"\\epsilon", " epsilon "),
    (r"\\(?:begin|end|left|right|big|Big|tfrac|frac|text|mathrm|mathcal|dot|tilde|hat|quad|;|,)",
     " "),
    (r"\\([A-Za-z]+)", r" \1 "),
)  # fmt: skip


def words(row: Row) -> str:
    """What a row is found by first: id, place, paper, verdict, and its statement in words.

    Args:
      row: of the ledger.

    Returns:
      A text in lower case.
    """
    paper = paper_of(row)
    parts = (
        row["id"], _places(row["where"]), authors(paper), title(paper), row["verdict"],
        severity_of(row), row.get("grade") or "", row["kind"], spoken(row["statement"]),
        row["statement"],
    )  # fmt: skip
    return " ".join(" | ".join(map(str, parts)).lower().split())


def spoken(statement: str) -> str:
    r"""A LaTeX statement in the words that it is looked for by.

    Example:
      >>> spoken(r"\mathrm{erank}(W) \le \|W\|_*")
      'effective rank (W) le norm W nuclear norm'
    """
    for pattern, said in _SPOKEN:
        statement = re.sub(pattern, said, statement[:_LONGEST])
    return " ".join(re.sub(r"[{}\\&]", " ", statement).split())


def _places(where: str) -> str:
    """A place with "Equation (n)" for each of the numbers that it names, also within a range."""
    numbers: list[int] = []
    for low, high in re.findall(r"\((\d{1,4})\)(?:\s*(?:-|–|to)\s*\((\d{1,4})\))?", where):
        last = int(high or low)
        numbers += range(int(low), last + 1) if 0 <= last - int(low) < 50 else (int(low), last)
    return f"{where} {' '.join(f'Equation ({n})' for n in dict.fromkeys(numbers))}"
