r"""How cases become a verdict.

* holds: every residual is within its floor, no slack is below minus its floor, and each floor is
  small enough.
* fails: somewhere the violation is more than `FAR` floors; the smallest counterexample is confirmed
  outside floating point, or is exact itself (fractions without a floor). Without that the verdict
  is inconclusive: until then it may be our bug.
* inconclusive: anything between, or a floor too high to say.
* approximates: for what a paper states as an approximation. The residuals are relative errors, and
  those of all cases that count are at most the claim's `accuracy`; it fails where one is more than
  `FAR_OFF` times that, and that is confirmed.
* unreachable: no case meets the hypotheses in float64, and each says what would be needed.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from gradflow.claims.definition import Case, Kind, Verdict
from gradflow.claims.evidence import (
    Grade,
    floats,
    grade_of,
    grade_of_cases,
    grade_of_refutation,
    leaves,
)
from gradflow.claims.floors import Convention
from gradflow.claims.hypotheses import summed_up
from gradflow.claims.outline import outline

FAR = 100.0
"""How many floors a violation must exceed to refute."""

FAR_OFF = 3.0
"""How many times its accuracy an approximation must miss to be refuted."""

_EXACT = (Fraction, sympy.Basic)
"""Numbers that nobody computes in floating point by accident."""


@dataclass(frozen=True)
class Judgement:
    """What judging the cases gave.

    Attributes:
      verdict: see the module's docstring.
      residual: the largest violation (0 for an inequality that is kept everywhere).
      floor: the floor there (the largest floor, if nothing is violated).
      slack: the smallest slack of an inequality, else None.
      cases: how many cases were judged.
      points: how many numbers in all.
      reason: why, in a sentence.
      counterexample: for a violation, plain numbers and the confirmation.
      notes: the cases' notes.
      hypotheses: all hypotheses that were checked.
      conventions: what floors that nobody measured allow for.
      grade: what the verdict rests on; None if there is none.
      evidence: how many cases there are of each grade.
      proofs: what was checked in proofs, and what they cite.
      outline: of each case the numbers that a picture shows.
    """

    verdict: Verdict
    residual: float
    floor: float
    slack: float | None
    cases: int
    points: int
    reason: str
    counterexample: Mapping[str, Any] | None
    notes: tuple[str, ...]
    hypotheses: tuple[str, ...]
    conventions: tuple[str, ...] = ()
    grade: Grade | None = None
    evidence: Mapping[str, int] = field(default_factory=dict)
    proofs: tuple[str, ...] = ()
    outline: tuple[Mapping[str, Any], ...] = ()


def judge(
    cases: list[Case],
    kind: Kind,
    resolution: float,
    *,
    must_confirm: bool,
    accuracy: float = 0.1,
) -> Judgement:
    """Apply the rules of the module's docstring.

    Args:
      cases: at least one that counts; all must meet their hypotheses, but for unreachable ones.
      kind: the claim's kind.
      resolution: floors above this are too high to say anything.
      must_confirm: whether `fails` needs a confirmation outside floating point.
      accuracy: of an approximation.

    Returns:
      The judgement.

    Raises:
      ValueError: if there is no case, or one does not meet its hypotheses: then the check is wrong.
    """
    everything = cases
    for name, value in (("resolution", resolution), ("accuracy", accuracy)):
        if not 0 < value < 1:
            raise ValueError(f"{name} = {value}: numbers are relative; give one above 0, below 1.")
    for case in cases:
        _see(case)
    cases = [case for case in everything if case.counts and not case.unreachable]
    if not cases:
        return _out_of_reach(everything)
    far, top_floor = FAR, max(_open_floor(case) for case in cases)
    grade, evidence = grade_of_cases(cases)
    if kind == "approximation":
        far, resolution = FAR_OFF, accuracy / FAR_OFF
        cases = [_allowing(case, accuracy) for case in cases]
    worst = max(cases, key=_excess)
    at = int(np.argmax(_excesses(worst)))
    violation, floor = float(worst.violation[at]), float(worst.floors[at])
    slacks = [float(np.min(floats(case.slack))) for case in cases if case.slack is not None]
    counterexample = None
    if not math.isfinite(violation):
        verdict, reason = Verdict.INCONCLUSIVE, f"{worst.name}: the value is not a finite number"
    elif _excess(worst) > far:
        verdict, reason, counterexample, grade = _refute(cases, far, must_confirm, kind)
    elif top_floor > resolution:
        high = max(cases, key=_open_floor)
        verdict = Verdict.INCONCLUSIVE
        reason = f"{high.name}: floor {top_floor:.1e} exceeds the resolution {resolution:.0e}"
    elif _excess(worst) > 1:
        verdict = Verdict.INCONCLUSIVE
        reason = (
            f"{worst.name}: violation {violation:.1e} is {_excess(worst):.1f} times its floor, "
            f"neither within it nor above {far:g} times"
        )
    elif kind == "approximation":
        verdict = Verdict.APPROXIMATES
        reason = (
            f"{worst.name}: relative error {violation:.1e}, the largest, is within {accuracy:g}"
        )
    else:
        verdict, reason = Verdict.HOLDS, "within the floor everywhere"
    return Judgement(
        verdict=verdict,
        residual=violation,
        floor=floor if violation > 0 else top_floor,
        slack=min(slacks) if slacks else None,
        cases=len(cases),
        points=sum(case.violation.size for case in cases),
        reason=reason,
        counterexample=counterexample,
        notes=_notes(everything),
        hypotheses=summed_up(case.hypotheses for case in cases),
        conventions=_conventions(cases),
        grade=None if verdict is Verdict.INCONCLUSIVE else grade,
        evidence=evidence,
        proofs=_proofs(cases),
        outline=outline(everything),
    )


def _see(case: Case) -> None:
    """See that a case meets its hypotheses, and has numbers with floors to judge.

    Raises:
      ValueError: if it does not, has no numbers, or a floor is negative or not a number.
    """
    if case.unreachable:
        return
    unmet = [name for name, met in case.conditions.items() if not met]
    if unmet:
        raise ValueError(f"Case {case.name!r} does not meet its hypothesis {unmet[0]!r}.")
    if not case.violation.size:
        raise ValueError(f"Case {case.name!r} has no numbers: leave it out, or give at least one.")
    if not np.all(case.floors >= 0):
        raise ValueError(
            f"Case {case.name!r} has the floor {np.min(case.floors):g}; give numbers from 0 on."
        )


def spared(cases: list[Case], kind: Kind, accuracy: float) -> set[str]:
    """Names of the cases that count and on which a statement is not violated.

    Where a printed statement fails, its control says something on these alone: the printed
    counterexamples refute the control, too.

    Args:
      cases: of the statement as printed.
      kind: the claim's kind.
      accuracy: of an approximation.
    """
    kept: set[str] = set()
    violated: set[str] = set()
    for case in cases:
        if not case.counts or case.unreachable:
            continue
        allowed = _allowing(case, accuracy) if kind == "approximation" else case
        (kept if _excess(allowed) <= 1 else violated).add(case.name)
    return kept - violated


def _allowing(case: Case, accuracy: float) -> Case:
    return dataclasses.replace(case, floor=case.floors + accuracy)


def _out_of_reach(cases: list[Case]) -> Judgement:
    """The judgement where no case meets the hypotheses."""
    reasons = [f"{case.name}: {case.unreachable}" for case in cases if case.unreachable]
    if not reasons:
        raise ValueError("The check yielded no case that counts; a verdict needs at least one.")
    return Judgement(
        verdict=Verdict.UNREACHABLE,
        residual=math.nan,
        floor=math.nan,
        slack=None,
        cases=0,
        points=0,
        reason="; ".join(reasons),
        counterexample=None,
        notes=_notes(cases),
        hypotheses=summed_up(case.hypotheses for case in cases),
    )


def _conventions(cases: list[Case]) -> tuple[str, ...]:
    """The floors that are conventions, each once, with the number of cases that have it."""
    found = [
        f"{np.max(case.floor.value):.0e}: {case.floor.reason}"
        for case in cases
        if isinstance(case.floor, Convention)
    ]
    counts = {text: found.count(text) for text in found}
    return tuple(f"{text}; {n} case{'s' * (n != 1)}" for text, n in counts.items())


def _proofs(cases: list[Case]) -> tuple[str, ...]:
    """What proofs checked, step by step, and the facts that they cite."""
    found = []
    for case in cases:
        if case.proof is not None:
            found += [f"{case.name}: {case.proof.statement} ({case.proof.outcome})"]
            found += [f"checked: {step}" for step in case.proof.steps]
            found += [f"cited: {fact}" for fact in case.proof.cites]
    return tuple(found)


def _notes(cases: list[Case]) -> tuple[str, ...]:
    return tuple(f"{case.name}: {case.notes}" for case in cases if case.notes)


def _open_floor(case: Case) -> float:
    """The largest floor that matters: not one under a slack that exceeds it."""
    floors = case.floors
    if case.slack is not None:
        floors = np.where(np.atleast_1d(floats(case.slack)) > floors, 0.0, floors)
    return float(np.max(floors))


def _excesses(case: Case) -> np.ndarray:
    violation, floors = case.violation, case.floors
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(violation > 0, violation / floors, 0.0)
    return np.where(np.isfinite(violation) & ~np.isnan(ratio), ratio, np.inf)


def _excess(case: Case) -> float:
    return float(np.max(_excesses(case)))


def _refute(
    cases: list[Case], far: float, must_confirm: bool, kind: Kind
) -> tuple[Verdict, str, Mapping[str, Any] | None, Grade | None]:
    """Take the smallest violating case, and confirm it."""
    violating = [case for case in cases if _excess(case) > far]
    case = min(violating, key=lambda c: (_trust(c), c.size))
    excess = _excesses(case)
    at = int(np.argmax(np.where(np.isfinite(case.violation), excess, -1.0)))
    found: dict[str, Any] = {
        "case": case.name,
        "violation": float(case.violation[at]),
        "floor": float(case.floors[at]),
    }
    if case.witness is not None:
        found |= dict(case.witness(at))
    if case.proof is not None:
        found |= {"confirmed": True, **case.proof.witness}
        return Verdict.FAILS, f"{case.name}: refuted by an exact point", found, "proved"
    if case.confirm is None and _trust(case) == 1:
        reason = f"{case.name}: violated in exact arithmetic"
        return Verdict.FAILS, reason, found | {"confirmed": True}, "proved"
    if case.confirm is None:
        found["confirmed"] = False
        if must_confirm:
            return (
                Verdict.INCONCLUSIVE,
                f"{case.name}: violated, {times(excess[at])} its floor, but not confirmed outside "
                "floating point; give the case a confirm=, or a smaller one in fractions",
                found,
                None,
            )
        reason = f"{case.name}: violated, {times(excess[at])} its floor"
        return Verdict.FAILS, reason, found, grade_of(case)
    confirmation = case.confirm(at)
    found["confirmed"] = confirmation.violated
    found["confirmation"] = confirmation.text
    if not confirmation.violated:
        return (
            Verdict.INCONCLUSIVE,
            f"{case.name}: violated in float64 but not in high precision",
            found,
            None,
        )
    grade = grade_of_refutation(confirmation, kind)
    how = {"proved": "by one exact point", "exact": "in exact arithmetic"}.get(grade, f"in {grade}")
    reason = f"{case.name}: violated, {times(excess[at])} its floor, confirmed {how}"
    return Verdict.FAILS, reason, found, grade


def _trust(case: Case) -> int:
    """Whether a violation is confirmed (0), needs no confirmation as it is exact (1), or has none.

    Whole numbers alone do not count: they may have been counted in floating point.
    """
    if case.confirm is not None or case.proof is not None:
        return 0
    values = case.residual if case.residual is not None else case.slack
    exact = grade_of(case) == "exact" and all(isinstance(x, _EXACT) for x in leaves(values))
    return 1 if exact else 2


def times(ratio: float) -> str:
    """How many floors a violation is, in words where the number says nothing more.

    Example:
      >>> times(2.5), times(1234.5), times(3e40)
      ('2.5 times', '1234 times', 'far above')
    """
    if not ratio < 1e4:
        return "far above"
    return f"{ratio:.3g} times" if ratio < 999.5 else f"{ratio:.0f} times"
