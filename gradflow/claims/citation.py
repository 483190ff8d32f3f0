"""What to cite for a claim: the paper's statement, and the check of it."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gradflow.claims.definition import Claim
from gradflow.claims.registry import load_papers


def citation(claim: Claim) -> list[str]:
    """What to cite, a sentence each: the paper, whose form it is if not the printed one, the check.

    Args:
      claim: of a paper of ours or of one's own.
    """
    paper = load_papers().get(claim.id.partition(".")[0])
    source = f"{paper.authors}: {paper.title}. " if paper else ""
    parts = [f"{source}{claim.where}."]
    if claim.corrects:
        parts.append(f"The form is gradflow's: the printed {claim.corrects} fails.")
    if claim.sharpens:
        parts.append(f"The constants are gradflow's, better than the printed {claim.sharpens}.")
    parts.append(
        f"Checked by gradflow {_version()} (The gradflow developers), claim {claim.id}: "
        f"`gradflow check {claim.id}`."
    )
    return parts


@cache
def _version() -> str:
    try:
        return version("gradflow")
    except PackageNotFoundError:
        return "of unknown version"


def verdict_in_words(row: Mapping[str, Any]) -> str:
    """The verdict of a ledger's row: with its severity, its evidence, and what stands."""
    text = f"Verdict: {row['verdict']}"
    if row["verdict"] == "fails":
        text += f" ({row.get('severity') or 'unclassified'})"
    if row.get("grade"):
        text += f"; evidence: {row['grade']}"
    text += f"; negative control: {row['control']}."
    if row["verdict"] == "fails" and row.get("survives"):
        text += f" What stands: {row['survives']}"
    return text
