r"""What a claim is, what a check gives back, and how that becomes a verdict.

A claim is a function that yields cases. Each case proves that the printed hypotheses are met, and
gives a residual (identity: should be 0) or a slack (inequality: should not be negative), each with
its numerical floor: how far the number itself may be off, found by recomputing more accurately. The
rules:

* holds: every residual is within its floor, no slack is below minus its floor, and each floor is
  small enough.
* fails: somewhere the violation is more than `FAR` floors; the smallest counterexample is confirmed
  outside floating point. Without that confirmation the verdict is inconclusive: until then it may
  be our bug.
* inconclusive: anything between, or a floor too high to say.
* approximates: for what a paper states as an approximation. The residuals are relative errors, and
  those of all cases that count are at most the claim's `accuracy`; it fails where one is more than
  `FAR_OFF` times that, and that is confirmed.
* unreachable: no case meets the hypotheses in float64, and each says what would be needed.

The negative control is the same function with a constant, sign or exponent broken; it must come out
as fails.
"""

import dataclasses
import enum
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from theory_checks.order import place

FAR = 100.0
"""How many floors a violation must exceed to refute."""

FAR_OFF = 3.0
"""How many times its accuracy an approximation must miss to be refuted."""

Kind = Literal[
    "identity", "inequality", "limit", "probability", "conservation", "algebra", "approximation"
]


class Verdict(enum.StrEnum):
    """What a check found; see the module's docstring."""

    HOLDS = "holds"
    FAILS = "fails"
    APPROXIMATES = "approximates"
    UNREACHABLE = "unreachable"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Settings:
    """How hard to check.

    Attributes:
      full: larger and more cases.
      seed: for every random choice.
    """

    full: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Confirmation:
    """A violation recomputed outside floating point.

    Attributes:
      violated: whether it is violated there too.
      text: the computation in plain numbers, so that a reader can redo it.
    """

    violated: bool
    text: str


@dataclass(frozen=True)
class Case:
    """One case of a claim, over any number of times or instances.

    Give exactly one of `residual`, `slack` and `unreachable`. The first two should be relative (to
    the size of the two sides), so that floors compare.

    Attributes:
      name: what the case is.
      residual: |left - right| of an identity, or the distance from a limit.
      slack: the larger minus the smaller side of an inequality.
      floor: the uncertainty of each number, a scalar or one for each.
      hypotheses: each printed hypothesis and whether this case was found to meet it.
      size: what "smallest counterexample" compares, for instance the number of matrix entries.
      witness: from an index into the values to plain numbers that show the case there.
      confirm: from an index to a recomputation with at least 50 digits, or exactly.
      notes: what a reader should know, for instance the measured sharpness.
      counts: False for a case that is shown and not judged, such as an approximation where nobody
        claims that it is good.
      unreachable: why float64 has no case like this one, in numbers.
    """

    name: str
    residual: Any = None
    slack: Any = None
    floor: Any = 0.0
    hypotheses: Mapping[str, bool] = field(default_factory=dict)
    size: float = 0.0
    witness: Callable[[int], Mapping[str, Any]] | None = None
    confirm: Callable[[int], Confirmation] | None = None
    notes: str = ""
    counts: bool = True
    unreachable: str = ""

    def __post_init__(self) -> None:
        given = (self.residual is not None) + (self.slack is not None) + bool(self.unreachable)
        if given != 1:
            raise ValueError(
                f"Case {self.name!r} needs exactly one of residual, slack and unreachable."
            )
        if not self.hypotheses:
            raise ValueError(f"Case {self.name!r} shows no hypothesis; name what it meets.")

    @property
    def violation(self) -> np.ndarray:
        """How far each number is on the wrong side of zero; 0 where it is not."""
        if self.residual is not None:
            return np.atleast_1d(np.abs(np.asarray(self.residual, float)))
        return np.atleast_1d(np.maximum(-np.asarray(self.slack, float), 0.0))

    @property
    def floors(self) -> np.ndarray:
        """The floor of each number."""
        return np.broadcast_to(np.asarray(self.floor, float), self.violation.shape)


CheckFunction = Callable[..., Iterator[Case]]


@dataclass(frozen=True)
class Claim:
    """A printed statement and how it is checked.

    Attributes:
      id: as in the ledger, `paper.label`.
      kind: how it is checked.
      statement: the statement, in LaTeX.
      where: its place in the paper.
      function: yields cases; takes `Settings` and the parameters that the control changes.
      control: the parameters of the negative control.
      control_text: what the control breaks, in words.
      resolution: the largest floor that still says something.
      accuracy: of an approximation, the relative error up to which it is one.
      corrects: for a corrected statement, the id of the one that fails.
      corrected: the id of the corrected statement, where the printed one fails.
      flaw: for a statement that fails, where the printed argument breaks, in a sentence.
    """

    id: str
    kind: Kind
    statement: str
    where: str
    function: CheckFunction
    control: Mapping[str, Any]
    control_text: str
    resolution: float = 1e-6
    accuracy: float = 0.1
    corrects: str | None = None
    corrected: str | None = None
    flaw: str = ""

    def cases(self, settings: Settings, broken: bool = False) -> Iterator[Case]:
        """The cases, of the claim as printed or of its negative control."""
        return self.function(settings, **(self.control if broken else {}))


@dataclass(frozen=True)
class Finding:
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


def judge(
    cases: list[Case],
    kind: Kind,
    resolution: float,
    *,
    must_confirm: bool,
    accuracy: float = 0.1,
) -> Finding:
    """Apply the rules of the module's docstring.

    Args:
      cases: at least one that counts; all must meet their hypotheses, but for unreachable ones.
      kind: the claim's kind.
      resolution: floors above this are too high to say anything.
      accuracy: of an approximation.
      must_confirm: whether `fails` needs a confirmation outside floating point.

    Returns:
      The finding.

    Raises:
      ValueError: if there is no case, or one does not meet its hypotheses: then the check is wrong.
    """
    everything = cases
    for case in cases:
        unmet = [name for name, met in case.hypotheses.items() if not met]
        if unmet and not case.unreachable:
            raise ValueError(f"Case {case.name!r} does not meet its hypothesis {unmet[0]!r}.")
    cases = [case for case in everything if case.counts and not case.unreachable]
    if not cases:
        return _out_of_reach(everything)
    far, top_floor = FAR, max(_open_floor(case) for case in cases)
    if kind == "approximation":
        far, resolution = FAR_OFF, accuracy / FAR_OFF
        cases = [dataclasses.replace(case, floor=case.floors + accuracy) for case in cases]
    worst = max(cases, key=_excess)
    at = int(np.argmax(_excesses(worst)))
    violation, floor = float(worst.violation[at]), float(worst.floors[at])
    slacks = [float(np.min(case.slack)) for case in cases if case.slack is not None]
    counterexample = None
    if not math.isfinite(violation):
        verdict, reason = Verdict.INCONCLUSIVE, f"{worst.name}: the value is not a finite number"
    elif _excess(worst) > far:
        verdict, reason, counterexample = _refute(cases, far, must_confirm)
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
    return Finding(
        verdict=verdict,
        residual=violation,
        floor=floor if violation > 0 else top_floor,
        slack=min(slacks) if slacks else None,
        cases=len(cases),
        points=sum(case.violation.size for case in cases),
        reason=reason,
        counterexample=counterexample,
        notes=_notes(everything),
        hypotheses=tuple(dict.fromkeys(name for case in cases for name in case.hypotheses)),
    )


def _out_of_reach(cases: list[Case]) -> Finding:
    """The finding where no case meets the hypotheses."""
    reasons = [f"{case.name}: {case.unreachable}" for case in cases if case.unreachable]
    if not reasons:
        raise ValueError("The check yielded no case that counts; a verdict needs at least one.")
    return Finding(
        verdict=Verdict.UNREACHABLE,
        residual=math.nan,
        floor=math.nan,
        slack=None,
        cases=0,
        points=0,
        reason="; ".join(reasons),
        counterexample=None,
        notes=_notes(cases),
        hypotheses=tuple(dict.fromkeys(name for case in cases for name in case.hypotheses)),
    )


def _notes(cases: list[Case]) -> tuple[str, ...]:
    return tuple(f"{case.name}: {case.notes}" for case in cases if case.notes)


def _open_floor(case: Case) -> float:
    """The largest floor that matters: not one under a slack that exceeds it."""
    floors = case.floors
    if case.slack is not None:
        floors = np.where(np.atleast_1d(np.asarray(case.slack, float)) > floors, 0.0, floors)
    return float(np.max(floors))


def _excesses(case: Case) -> np.ndarray:
    violation, floors = case.violation, case.floors
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(violation > 0, violation / floors, 0.0)
    return np.where(np.isfinite(violation) & ~np.isnan(ratio), ratio, np.inf)


def _excess(case: Case) -> float:
    return float(np.max(_excesses(case)))


def _refute(
    cases: list[Case], far: float, must_confirm: bool
) -> tuple[Verdict, str, Mapping[str, Any] | None]:
    """Take the smallest violating case, and confirm it."""
    violating = [case for case in cases if _excess(case) > far]
    case = min(violating, key=lambda c: (c.confirm is None, c.size))
    excess = _excesses(case)
    at = int(np.argmax(np.where(np.isfinite(case.violation), excess, -1.0)))
    found: dict[str, Any] = {
        "case": case.name,
        "violation": float(case.violation[at]),
        "floor": float(case.floors[at]),
    }
    if case.witness is not None:
        found |= dict(case.witness(at))
    if case.confirm is None:
        found["confirmed"] = False
        if must_confirm:
            return (
                Verdict.INCONCLUSIVE,
                f"{case.name}: violated by {excess[at]:.1e} floors, but not confirmed outside "
                "floating point",
                found,
            )
        return Verdict.FAILS, f"{case.name}: violated by {excess[at]:.1e} floors", found
    confirmation = case.confirm(at)
    found["confirmed"] = confirmation.violated
    found["confirmation"] = confirmation.text
    if not confirmation.violated:
        return (
            Verdict.INCONCLUSIVE,
            f"{case.name}: violated in float64 but not in high precision",
            found,
        )
    return (
        Verdict.FAILS,
        f"{case.name}: violated by {excess[at]:.1e} floors, confirmed with 50 digits",
        found,
    )


_REGISTRY: dict[str, Claim] = {}


def claim(
    id: str,
    *,
    kind: Kind,
    statement: str,
    where: str,
    control: Mapping[str, Any],
    control_text: str = "",
    resolution: float = 1e-6,
    accuracy: float = 0.1,
    corrects: str | None = None,
    corrected: str | None = None,
    flaw: str = "",
) -> Callable[[CheckFunction], Claim]:
    """Turn a function that yields cases into a claim, and register it under its id.

    Args:
      id: `paper.label`; must be new.
      kind: identity, inequality, limit, ....
      statement: the statement in LaTeX.
      where: its place.
      control: keyword arguments of the function that break the statement on purpose.
      control_text: what they break, in words.
      resolution: the largest floor that still says something.
      accuracy: of an approximation, the relative error up to which it is one.
      corrects: the id of the printed statement that this one corrects.
      corrected: the id of the corrected statement.
      flaw: for a statement that fails, where the printed argument breaks, in a sentence.

    Raises:
      ValueError: if the id is taken or there is no control.
    """

    def register(function: CheckFunction) -> Claim:
        if id in _REGISTRY:
            raise ValueError(f"There is a claim {id!r} already; choose another id.")
        if not control:
            raise ValueError(f"Claim {id!r} has no negative control; give one.")
        made = Claim(
            id=id,
            kind=kind,
            statement=statement,
            where=where,
            function=function,
            control=dict(control),
            control_text=control_text or ", ".join(f"{k} = {v}" for k, v in control.items()),
            resolution=resolution,
            accuracy=accuracy,
            corrects=corrects,
            corrected=corrected,
            flaw=flaw,
        )
        _REGISTRY[id] = made
        return made

    return register


def registered() -> dict[str, Claim]:
    """All claims so far, in the ledger's order, then in that of their definition."""
    return dict(sorted(_REGISTRY.items(), key=lambda item: place(item[0])))


def select(patterns: list[str]) -> list[Claim]:
    """Claims by id or prefix (`razin2020`, `razin2020.thm1`), in the ledger's order; all if empty.

    Raises:
      ValueError: if a pattern matches nothing; it lists what there is.
    """
    known = registered()
    for pattern in patterns:
        if not any(_matches(id, pattern) for id in known):
            raise ValueError(f"No claim {pattern!r}; known are {', '.join(known)}.")
    return [
        made
        for id, made in known.items()
        if not patterns or any(_matches(id, pattern) for pattern in patterns)
    ]


def _matches(id: str, pattern: str) -> bool:
    return id == pattern or id.startswith(pattern.rstrip(".") + ".")
