"""Polynomial inequalities in real unknowns, decided by z3: a second witness that shares no code."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import sympy

from gradflow.claims.proofs.proof import Proof


def decide_polynomials(
    statement: str, claim: Any, given: Sequence[Any] = (), *, seconds: float = 20.0
) -> Proof:
    r"""Prove that a relation follows from others for all real unknowns, or find where it does not.

    z3 looks for reals that fulfil what is given and not the claim; by its decision procedure for
    real closed fields there are none, or some. Divisors are taken as not zero. A refutation is
    checked anew in sympy, where z3's point is rational. Square roots and logarithms are refused:
    give a root a name and what its square is.

    Args:
      statement: what is proved, for the reader.
      claim: a relation (>=, >, <=, <, Eq, Ne) of sympy expressions in symbols that stand for reals,
        from + - * / and whole powers, with whole numbers and fractions.
      given: relations that hold.
      seconds: when to give up; six unknowns may be too many, and one step in between enough.

    Returns:
      "proved", "refuted" with a point, or "open" where z3 does not know.

    Raises:
      ImportError: if z3 is not there.
      TypeError: if something is not polynomial, or a number is rounded.
      ValueError: if nothing fulfils what is given, or only where a divisor is zero.

    Example:
      >>> import sympy
      >>> x, y = sympy.symbols("x y")
      >>> decide_polynomials("means", x * y <= (x**2 + y**2) / 2).outcome  # doctest: +SKIP
      'proved'

    References:
      Jovanovic and de Moura 2012, Solving Non-linear Arithmetic.
    """
    try:
        import z3  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("This needs z3: pip install 'gradflow[z3]'.") from error
    translator = _Translator(z3)
    known = [translator.relation(one) for one in given]
    denied = z3.Not(translator.relation(claim))
    known += [divisor != 0 for divisor in translator.divisors]
    solver = _solver(z3, seconds, [*known, denied])
    answer = solver.check()
    by = f"z3 {z3.get_version_string()}"
    if answer == z3.unsat and known and _solver(z3, seconds, known).check() == z3.unsat:
        raise ValueError(f"{statement!r}: no reals fulfil what is given, so it says nothing.")
    if answer == z3.unsat:
        return Proof(statement, "proved", (f"{by}: no reals fulfil what is given and not this",))
    if answer == z3.unknown:
        return Proof(statement, "open", (f"{by}: {solver.reason_unknown()}",))
    model = solver.model()
    point = {
        name: model.eval(unknown, model_completion=True)
        for name, unknown in translator.unknowns.items()
    }
    exact = {s: sympy.Rational(str(v)) for s, v in point.items() if z3.is_rational_value(v)}
    if len(exact) < len(point):
        step = f"{by}: a point with irrational coordinates, which was not checked anew"
        witness = {str(symbol): str(value) for symbol, value in point.items()}
        return Proof(statement, "refuted", (step,), witness=witness)
    if not all(bool(one.subs(exact)) for one in given) or bool(claim.subs(exact)):
        return Proof(statement, "open", (f"{by}: its point is none",))
    return Proof(statement, "refuted", witness={str(s): str(v) for s, v in exact.items()})


def _solver(z3: Any, seconds: float, relations: list[Any]) -> Any:
    solver = z3.Solver()
    solver.set("timeout", max(1, int(1000 * seconds)))
    solver.add(*relations)
    return solver


class _Translator:
    """From sympy to z3.

    Attributes:
      unknowns: z3's, by sympy's symbols.
      divisors: what was divided by.
    """

    def __init__(self, z3: Any):
        self.z3 = z3
        self.unknowns: dict[sympy.Symbol, Any] = {}
        self.divisors: list[Any] = []

    def relation(self, given: Any) -> Any:
        """A relation of z3's."""
        if given in (sympy.true, sympy.false):
            return self.z3.BoolVal(bool(given))
        if not isinstance(given, sympy.core.relational.Relational):
            raise TypeError(f"{given!r} is no relation: give one such as x <= y or sympy.Eq(x, y).")
        left, right = self.number(given.lhs), self.number(given.rhs)
        kinds = {
            sympy.Ge: left >= right,
            sympy.Gt: left > right,
            sympy.Le: left <= right,
            sympy.Lt: left < right,
            sympy.Eq: left == right,
            sympy.Ne: left != right,
        }
        return kinds[type(given)]

    def number(self, given: Any) -> Any:
        """A real of z3's."""
        if isinstance(given, sympy.Symbol):
            # Symbols of one name and other assumptions are others.
            return self.unknowns.setdefault(given, self.z3.Real(f"{given}_{len(self.unknowns)}"))
        if isinstance(given, sympy.Rational):
            return self.z3.RealVal(str(given))
        if isinstance(given, sympy.Add | sympy.Mul):
            parts = [self.number(part) for part in given.args]
            add = isinstance(given, sympy.Add)
            return reduce((lambda a, b: a + b) if add else (lambda a, b: a * b), parts)
        if isinstance(given, sympy.Pow) and isinstance(given.exp, sympy.Integer):
            base, count = self.number(given.base), int(given.exp)
            power = reduce(lambda a, b: a * b, [base] * abs(count), self.z3.RealVal(1))
            if count >= 0:
                return power
            self.divisors.append(base)
            return 1 / power
        raise TypeError(
            f"{given} is no polynomial of reals with fractions: name a root by a symbol, give what "
            "its square is, and write rounded numbers as sympy.Rational."
        )
