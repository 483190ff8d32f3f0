"""A paper: its claims in its own order."""

from dataclasses import dataclass

from gradflow.claims.definition import Claim


@dataclass(frozen=True)
class Paper:
    """What a paper's package in `theory_checks` says of it, under the name `PAPER`.

    Attributes:
      key: what its claims' ids begin with, such as "razin2020"; the name of its package.
      authors: authors and year, as in a table.
      title: of the paper.
      claims: its printed claims, in its order; corrected ones follow what they correct. Claims of
        our own with better constants, `id.sharp`, are listed after what they sharpen.
    """

    key: str
    authors: str
    title: str
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        for made in self.claims:
            if not made.id.startswith(f"{self.key}."):
                raise ValueError(f"Claim {made.id!r} does not begin with {self.key!r}; rename it.")
