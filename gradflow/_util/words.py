"""What someone may have meant."""

import difflib
from collections.abc import Iterable


def beginnings(ids: Iterable[str]) -> list[str]:
    """Ids with all that they begin with, up to a dot.

    Example:
      >>> beginnings(["a.thm1.norm", "a.thm1.rank"])
      ['a', 'a.thm1', 'a.thm1.norm', 'a.thm1.rank']
    """
    parts = [id.split(".") for id in ids]
    return list(dict.fromkeys(".".join(p[:k]) for p in parts for k in range(1, len(p) + 1)))


def meant(word: str, known: Iterable[str], most: int = 1) -> str:
    """A question that ends a sentence, or its full stop.

    Args:
      word: that is not known.
      known: those that are.
      most: names to offer.

    Example:
      >>> meant("chek", ["check", "cite"]), meant("x", ["check"])
      ('; did you mean check?', '.')
    """
    near = difflib.get_close_matches(word, list(known), n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else "."
