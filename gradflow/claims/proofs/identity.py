"""Identities, by algebra: of numbers (sympy), or of products of matrices of any sizes (words)."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from gradflow.claims.proofs.proof import Proof
from gradflow.claims.proofs.words import Words

_TRIALS = (2, -3, 5, 7, -1, 4, 9, -6, 3, 8)


def prove_identity(
    statement: str,
    left: Any,
    right: Any = 0,
    *,
    rules: Sequence[tuple[Words, Words]] = (),
    cites: tuple[str, ...] = (),
) -> Proof:
    r"""Prove that two sides are the same, or find numbers where they are not.

    Args:
      statement: what is proved, for the reader.
      left: an expression or matrix of sympy's, rational in its symbols (which may be powers or
        roots with names of their own), or `Words`.
      right: likewise.
      rules: of words, what is known of the matrices, as `Words.rewrite` takes it. Where sides
        differ under rules the statement is open: it may follow from them in another order.
      cites: facts that are taken from elsewhere.

    Example:
      >>> import sympy
      >>> from gradflow.claims.proofs import prove_identity
      >>> a, b = sympy.symbols("a b")
      >>> prove_identity("a square", (a + b) ** 2, a**2 + 2 * a * b + b**2).outcome
      'proved'
      >>> prove_identity("no square", (a + b) ** 2, a**2 + b**2).witness
      {'a': '2', 'b': '-3', 'left - right': '-12'}
    """
    if isinstance(left, Words):
        gap = (left - (right if isinstance(right, Words) else Words({}))).rewrite(rules)
        if not gap.terms:
            return Proof(statement, "proved", ("products of matrices of any sizes",), cites)
        witness = None if rules else _unequal_matrices(gap)
        if witness is None:
            return Proof(statement, "open", ("the words differ; no matrices are seen to",))
        return Proof(statement, "refuted", witness=witness)
    if not isinstance(left, sympy.MatrixBase):
        left, right = sympy.Matrix([[left]]), sympy.Matrix([[right]])
    gap = (left - right).applyfunc(lambda x: sympy.cancel(sympy.together(sympy.expand(x))))
    if gap == sympy.zeros(*gap.shape):
        names = sorted(str(x) for x in (left.free_symbols | right.free_symbols))
        return Proof(statement, "proved", (f"expanded in {', '.join(names) or 'numbers'}",), cites)
    symbols = sorted(gap.free_symbols, key=str)
    for shift in range(len(_TRIALS)):
        drawn = {x: _TRIALS[(k + shift) % len(_TRIALS)] for k, x in enumerate(symbols)}
        at = {x: abs(v) if x.is_positive else v for x, v in drawn.items()}
        value = next((v for x in gap if (v := x.subs(at)) != 0 and v.is_finite), None)
        if value is not None and value.is_Rational:
            shown = {str(x): str(v) for x, v in at.items()}
            return Proof(statement, "refuted", witness=shown | {"left - right": str(value)})
    return Proof(statement, "open", ("neither zero nor seen to differ",))


def _unequal_matrices(gap: Words) -> dict[str, Any] | None:
    """2x2 matrices of whole numbers at which a sum of words is not zero; None if these are none."""
    names = sorted({name for word in gap.terms for name, _ in word})
    numbers = itertools.cycle((1, 2, -1, 3, 0, -2, 5, 1, 4))
    at = {
        name: np.array([[Fraction(next(numbers)) for _ in range(2)] for _ in range(2)])
        for name in names
    }
    total = np.array([[Fraction(0)] * 2] * 2)
    for word, c in gap.terms.items():
        term = np.array([[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]])
        for name, flip in word:
            term = term @ (at[name].T if flip else at[name])
        total = total + c * term
    if not np.any(total):
        return None
    shown = {name: str([[str(x) for x in row] for row in w]) for name, w in at.items()}
    return shown | {"left - right": str([[str(x) for x in row] for row in total])}
