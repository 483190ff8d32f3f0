"""What a prover gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Rational
from typing import Any, Literal

import sympy

from gradflow.claims.proofs import outward

Outcome = Literal["proved", "refuted", "open"]


@dataclass(frozen=True)
class Proof:
    """A statement, what became of it, and what was checked on the way.

    Attributes:
      statement: what was to be proved, in words or in LaTeX.
      outcome: "proved", "refuted" by the witness, or "open".
      steps: what was checked by the machine, in order.
      cites: facts that are taken from elsewhere.
      witness: of a refutation, a point in plain numbers.
    """

    statement: str
    outcome: Outcome
    steps: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    witness: Mapping[str, Any] = field(default_factory=dict)

    @property
    def proved(self) -> bool:
        """Whether it is proved."""
        return self.outcome == "proved"


def counterexample(statement: str, excess: Any, witness: Mapping[str, Any]) -> Proof | None:
    """A refutation by one point, if what is claimed not to be above zero certainly is there.

    Args:
      statement: what is refuted, for the reader.
      excess: at the point, of whole numbers, fractions or intervals.
      witness: the point, in plain numbers.

    Returns:
      The refutation; None where the excess is not above zero, or an interval leaves it open.

    Raises:
      TypeError: if the excess is a rounded number, which decides nothing.

    Example:
      >>> counterexample("x <= 1 for all x", 2 - 1, {"x": "2"}).outcome
      'refuted'
      >>> counterexample("x <= 3 for all x", 2 - 3, {"x": "2"}) is None
      True
    """
    if not _certain(excess) > 0:
        return None
    return Proof(statement, "refuted", witness={**witness, "left - right": str(excess)})


def not_negative(statement: str, spare: Any) -> Proof:
    """A step that one number decides: proved if it is certainly not negative, else open.

    Args:
      statement: what follows if it is not negative, for the reader.
      spare: a whole number, fraction, interval or exact number of sympy's.

    Raises:
      TypeError: if it is a rounded number, which decides nothing, or True or False.

    Example:
      >>> not_negative("2 is at least 1", 2 - 1).outcome
      'proved'
      >>> not_negative("2 is at least 3", 2 - 3).outcome
      'open'
    """
    if _certain(spare) >= 0:
        return Proof(statement, "proved", (f"{spare} is not negative",))
    return Proof(statement, "open", (f"{spare} is not seen to be",))


def _certain(x: Any) -> Any:
    if isinstance(x, bool):
        raise TypeError(f"{x} says whether something is true: give the difference of both sides.")
    whole = isinstance(x, Rational | outward.INTERVAL)
    if whole or (isinstance(x, sympy.Expr) and not x.atoms(sympy.Float)):
        return x
    raise TypeError(
        f"{x!r} ({type(x).__name__}) may be rounded: give a Fraction, an interval or an exact "
        "number of sympy's."
    )


def settle(proof: Proof, broken: Proof | None, *, covered: bool = True) -> Proof:
    """What became of a statement with a parameter: a refutation goes before everything else.

    Args:
      proof: of the statement. It should take the parameter itself, so that it fails with a wrong
        one.
      broken: a counterexample, if one was found.
      covered: whether the parameter is one that the proof is about, where it cannot see that.

    Raises:
      ValueError: if there is a counterexample to what is proved.

    Example:
      >>> larger = not_negative("2 is at least 1", 2 - 1)
      >>> settle(larger, None).outcome, settle(larger, None, covered=False).outcome
      ('proved', 'open')
    """
    if broken is None:
        return proof if covered or not proof.proved else Proof(proof.statement, "open")
    if covered and proof.proved:
        raise ValueError(
            f"{proof.statement!r} is proved, and refuted by {dict(broken.witness)}; "
            "let a step of the proof take the parameter."
        )
    return broken


def chain(statement: str, *parts: Proof, cites: tuple[str, ...] = ()) -> Proof:
    """One proof of several: proved if all parts are, refuted if one is.

    Args:
      statement: what follows from all parts together.
      parts: the steps.
      cites: facts that are taken from elsewhere to join them.

    Raises:
      ValueError: if there are no parts.
    """
    if not parts:
        raise ValueError(f"Nothing proves {statement!r}: give its steps.")
    refuted = [part for part in parts if part.outcome == "refuted"]
    outcome: Outcome = "refuted" if refuted else "open"
    if all(part.proved for part in parts):
        outcome = "proved"
    return Proof(
        statement=statement,
        outcome=outcome,
        steps=tuple(f"{part.statement}: {step}" for part in parts for step in part.steps),
        cites=tuple(dict.fromkeys([*cites, *(fact for part in parts for fact in part.cites)])),
        witness=refuted[0].witness if refuted else {},
    )
