"""Products of matrices of any sizes, as words: what holds of them holds of all matrices."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from numbers import Rational
from typing import Any

Letter = tuple[str, bool]
"""A matrix by name, and whether it is transposed."""


class Words:
    """A sum of products of named matrices and their transposes, with rational coefficients.

    Args:
      terms: from products (tuples of letters) to coefficients.

    Raises:
      TypeError: if a coefficient is not rational.

    Example:
      >>> x, y = Words.named("x", "y")
      >>> ((x @ y).T - y.T @ x.T).terms
      {}
    """

    def __init__(self, terms: Mapping[tuple[Letter, ...], Fraction]):
        self.terms = {word: _exact(c) for word, c in terms.items() if c}

    @staticmethod
    def named(*names: str) -> list["Words"]:
        """One matrix for each name."""
        return [Words({((name, False),): Fraction(1)}) for name in names]

    @staticmethod
    def identity() -> "Words":
        """The empty product."""
        return Words({(): Fraction(1)})

    @property
    def T(self) -> "Words":
        """The transpose."""
        return Words({
            tuple((name, not flip) for name, flip in reversed(word)): c
            for word, c in self.terms.items()
        })  # fmt: skip

    def __add__(self, other: "Words") -> "Words":
        terms = dict(self.terms)
        for word, c in other.terms.items():
            terms[word] = terms.get(word, Fraction(0)) + c
        return Words(terms)

    def __rmul__(self, number: int | Fraction) -> "Words":
        return Words({word: number * c for word, c in self.terms.items()})

    def __neg__(self) -> "Words":
        return -1 * self

    def __sub__(self, other: "Words") -> "Words":
        return self + -other

    def __matmul__(self, other: "Words") -> "Words":
        terms: dict[tuple[Letter, ...], Fraction] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                terms[left + right] = terms.get(left + right, Fraction(0)) + a * b
        return Words(terms)

    def power(self, n: int) -> "Words":
        """The product of so many.

        Raises:
          ValueError: if the number is negative, for words have no inverses.
        """
        if n < 0:
            raise ValueError(f"No power {n}: give the inverse a name and rules.")
        result = Words.identity()
        for _ in range(n):
            result = result @ self
        return result

    def derivative(self, rates: Mapping[str, "Words"]) -> "Words":
        """By the product rule; matrices without a rate stand still."""
        total = Words({})
        for word, c in self.terms.items():
            for k, (name, flip) in enumerate(word):
                if name in rates:
                    rate = rates[name].T if flip else rates[name]
                    before, after = Words({word[:k]: c}), Words({word[k + 1 :]: Fraction(1)})
                    total = total + before @ rate @ after
        return total

    def rewrite(self, rules: Sequence[tuple["Words", "Words"]]) -> "Words":
        """Replace products (single words) by others until none is left, leftmost first.

        Rules must come to an end, as those do that move a letter one way.
        """
        now = self
        while True:
            changed = _once(now, rules)
            if changed is None:
                return now
            now = changed


def _exact(c: Any) -> Fraction:
    if not isinstance(c, Rational):
        raise TypeError(f"{c!r} is not exact: give coefficients as Fraction.")
    return Fraction(int(c.numerator), int(c.denominator))  # not in numpy's integers, which wrap


def _once(total: Words, rules: Sequence[tuple[Words, Words]]) -> Words | None:
    """One replacement; None if no rule fits."""
    for word, c in total.terms.items():
        for old, new in rules:
            ((pattern, weight),) = old.terms.items()
            for k in range(len(word) - len(pattern) + 1):
                end = k + len(pattern)
                if word[k:end] == pattern:
                    before = Words({word[:k]: c / weight})
                    after = Words({word[end:]: Fraction(1)})
                    rest = Words({w: x for w, x in total.terms.items() if w != word})
                    return rest + before @ new @ after
    return None
