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

    Returns:
      The proof. An identity of fractions holds where no denominator of either side is zero: its
      step names these, unless the symbols' assumptions exclude it. What sympy cancels by itself,
      before it is given here (x/x is 1), is not seen.

    Raises:
      TypeError: if a number is rounded (a float), or the sides are not of one kind.
      ValueError: if the sides are matrices without entries.

    Example:
      >>> import sympy
      >>> from gradflow.claims.proofs import prove_identity
      >>> a, b = sympy.symbols("a b")
      >>> prove_identity("a square", (a + b) ** 2, a**2 + 2 * a * b + b**2).outcome
      'proved'
      >>> prove_identity("no square", (a + b) ** 2, a**2 + b**2).witness
      {'a': '2', 'b': '-3', 'left - right': '-12'}
    """
    if isinstance(left, Words) or isinstance(right, Words):
        return _of_words(statement, left, right, rules, cites)
    left, right = _matrices(left, right)
    if not left.shape[0] * left.shape[1]:
        raise ValueError(f"{statement!r} has sides of shape {left.shape}, so nothing to prove.")
    rounded = left.atoms(sympy.Float) | right.atoms(sympy.Float)
    if rounded:
        raise TypeError(
            f"{', '.join(map(str, rounded))} is rounded, and no identity is proved with it: give "
            "a sympy.Rational."
        )
    gap = (left - right).applyfunc(lambda x: sympy.cancel(sympy.together(sympy.expand(x))))
    divisors = _divisors(left) | _divisors(right)
    if gap == sympy.zeros(*gap.shape):
        names = sorted(str(x) for x in (left.free_symbols | right.free_symbols))
        where = sorted(str(x) for x in divisors)
        step = f"expanded in {', '.join(names) or 'numbers'}"
        step += f", for all that are not zeros of {', '.join(where)}" if where else ""
        return Proof(statement, "proved", (step,), cites)
    symbols = sorted(gap.free_symbols | {y for x in divisors for y in x.free_symbols}, key=str)
    for shift in range(len(_TRIALS)):
        drawn = {x: _TRIALS[(k + shift) % len(_TRIALS)] for k, x in enumerate(symbols)}
        at = {x: _allowed(x, value) for x, value in drawn.items()}
        if None in at.values() or any(x.subs(at).is_zero is not False for x in divisors):
            continue
        value = next((v for x in gap if (v := x.subs(at)) != 0 and v.is_finite), None)
        if value is not None and value.is_Rational:
            shown = {str(x): str(v) for x, v in at.items()}
            return Proof(statement, "refuted", witness=shown | {"left - right": str(value)})
    return Proof(statement, "open", ("neither zero nor seen to differ",))


def _of_words(
    statement: str, left: Any, right: Any, rules: Sequence[tuple[Words, Words]],
    cites: tuple[str, ...],
) -> Proof:  # fmt: skip
    """An identity of products of matrices; 0 is the empty sum."""
    sides = [Words({}) if not isinstance(x, Words) and x == 0 else x for x in (left, right)]
    if not all(isinstance(x, Words) for x in sides):
        raise TypeError(f"{left!r} or {right!r} is no sum of words: write c * Words.identity().")
    gap = (sides[0] - sides[1]).rewrite(rules)
    if not gap.terms:
        return Proof(statement, "proved", ("products of matrices of any sizes",), cites)
    witness = None if rules else _unequal_matrices(gap)
    if witness is None:
        return Proof(statement, "open", ("the words differ; no matrices are seen to",))
    return Proof(statement, "refuted", witness=witness)


def _matrices(left: Any, right: Any) -> list[sympy.MatrixBase]:
    """Both sides as matrices of one shape; 0 is that of any shape."""
    shapes = [x.shape for x in (left, right) if isinstance(x, sympy.MatrixBase)]
    zero = sympy.zeros(*shapes[0]) if shapes else sympy.zeros(1, 1)
    found = [
        x if isinstance(x, sympy.MatrixBase) else zero if x == 0 else sympy.Matrix([[x]])
        for x in (left, right)
    ]
    if found[0].shape != found[1].shape:
        raise TypeError(f"The sides have shapes {found[0].shape} and {found[1].shape}.")
    return found


def _divisors(side: sympy.MatrixBase) -> set[sympy.Expr]:
    """What is divided by, unless the assumptions of its symbols keep it from zero."""
    powers = [x.as_base_exp() for x in side.atoms(sympy.Pow)]
    return {x for x, exponent in powers if not exponent.is_nonnegative and x.is_zero is not False}


def _allowed(symbol: sympy.Symbol, value: int) -> sympy.Integer | None:
    """The number or minus it, whichever meets the symbol's assumptions; None if neither does."""
    for tried in (sympy.Integer(value), sympy.Integer(-value)):
        known = symbol.assumptions0.items()
        if all(getattr(tried, f"is_{name}", held) in (held, None) for name, held in known):
            return tried
    return None


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
