r"""What a claim is: cases that meet its hypotheses, a statement, a negative control.

A claim is a function that yields cases. Each case shows that the printed hypotheses are met
(`Measured` on it, or `ByConstruction`), and gives a residual (identity: should be 0) or a slack
(inequality: should not be negative), each with its numerical floor: how far the number itself may
be off, found by recomputing more accurately or by an error model, or a `Convention` that says so.
How that becomes a verdict is in `judging`. The negative control is the same function with
a constant, sign or exponent broken; it must come out as fails. Where the printed statement fails,
the same function also yields the cases of what is true instead (`Corrected`).
"""

import enum
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradflow._util.validate import seed_of
from gradflow.claims.constants import Best
from gradflow.claims.evidence import floats
from gradflow.claims.floors import Convention
from gradflow.claims.hypotheses import Met, named, see_met
from gradflow.claims.proofs.proof import Proof
from gradflow.claims.severity import Severity, see_severity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Kind = Literal[
    "identity", "inequality", "limit", "probability", "conservation", "algebra", "approximation"
]


class Verdict(enum.StrEnum):
    """What a check found; the rules are in `gradflow.claims.judging`."""

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
      seed: for every random choice, from 0 to 2^31 - 1.
      quick: without the cases that take minutes.

    Raises:
      ValueError: if the seed is out of range.
    """

    full: bool = False
    seed: int = 0
    quick: bool = False

    def __post_init__(self) -> None:
        seed_of("seed", self.seed)


@dataclass(frozen=True)
class Confirmation:
    """A violation recomputed outside floating point.

    Attributes:
      violated: whether it is violated there too.
      text: the computation in plain numbers, so that a reader can redo it.
      compared: the numbers that decide. Their types say in what arithmetic: whole numbers,
        fractions and sympy's are exact, intervals of mpmath enclose; without them, and for `mpf`,
        50 digits are taken for granted.
    """

    violated: bool
    text: str
    compared: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Case:
    """One case of a claim, over any number of times or instances.

    Give exactly one of `residual`, `slack`, `proof` and `unreachable`. The first two should be
    relative (to the size of the two sides), so that floors compare; fractions, and slacks that
    are intervals of mpmath, need no floor.

    Attributes:
      name: what the case is.
      residual: |left - right| of an identity, or the distance from a limit.
      slack: the larger minus the smaller side of an inequality.
      floor: the uncertainty of each number, a scalar or one for each, as measured; or a
        `Convention`.
      hypotheses: each printed hypothesis and whether this case was found to meet it: `Measured`
        where one number decides that, or `ByConstruction`.
      size: what "smallest counterexample" compares, for instance the number of matrix entries.
      witness: from an index into the values to plain numbers that show the case there.
      confirm: from an index to a recomputation with at least 50 digits, or exactly.
      notes: what a reader should know, for instance the measured sharpness.
      counts: False for a case that is shown and not judged, such as an approximation where nobody
        claims that it is good.
      unreachable: why float64 has no case like this one, in numbers.
      proof: of the statement, or of a part of it.
      whole: whether `proof` covers everything that the statement speaks of; to be said of each.
      along: what the numbers are listed along, and its value at each, for the picture:
        `("time", times)`.
    """

    name: str
    residual: Any = None
    slack: Any = None
    floor: Any = 0.0
    hypotheses: Mapping[str, Met] = field(default_factory=dict)
    size: float = 0.0
    witness: Callable[[int], Mapping[str, Any]] | None = None
    confirm: Callable[[int], Confirmation] | None = None
    notes: str = ""
    counts: bool = True
    unreachable: str = ""
    proof: Proof | None = None
    whole: bool | None = None
    along: tuple[str, Any] | None = None

    def __post_init__(self) -> None:
        parts = (self.residual, self.slack, self.proof, self.unreachable or None)
        if sum(part is not None for part in parts) != 1:
            raise ValueError(
                f"Case {self.name!r} needs exactly one of residual, slack, proof and unreachable."
            )
        if self.proof is not None and self.whole is None:
            raise ValueError(
                f"Case {self.name!r} has a proof; say whole=True if it covers everything that the "
                "statement speaks of, whole=False if a part."
            )
        if self.proof is None and self.whole is not None:
            raise ValueError(
                f"Case {self.name!r} has whole={self.whole}, but no proof; leave it away."
            )
        if not self.hypotheses:
            raise ValueError(f"Case {self.name!r} shows no hypothesis; name what it meets.")
        for name, met in self.hypotheses.items():
            see_met(f"Case {self.name!r}, hypothesis {name!r}", met)
        if self.along is not None and np.size(self.along[1]) != self.violation.size:
            raise ValueError(
                f"Case {self.name!r} lists {self.violation.size} numbers along "
                f"{np.size(self.along[1])} values; give one for each."
            )

    @property
    def violation(self) -> np.ndarray:
        """How far each number is on the wrong side of zero; 0 where it is not, or proved.

        An infinite slack is no number: something overflowed.
        """
        if self.proof is not None:
            return np.array([{"proved": 0.0, "refuted": 1.0, "open": np.nan}[self.proof.outcome]])
        if self.residual is not None:
            return np.atleast_1d(np.abs(floats(self.residual)))
        slack = np.atleast_1d(floats(self.slack))
        return np.where(slack == np.inf, np.nan, np.maximum(-slack, 0.0))

    @property
    def floors(self) -> np.ndarray:
        """The floor of each number."""
        floor = self.floor.value if isinstance(self.floor, Convention) else self.floor
        return np.broadcast_to(np.asarray(floor, float), self.violation.shape)

    @property
    def conditions(self) -> dict[str, bool]:
        """The hypotheses as a report says them, and whether each is met."""
        return {named(name, met): bool(met) for name, met in self.hypotheses.items()}


CheckFunction = Callable[..., Iterator[Case]]


@dataclass(frozen=True)
class Claim:
    """A printed statement and how it is checked.

    Attributes:
      id: as in the ledger, `paper.label`.
      kind: how it is checked.
      statement: the statement, in LaTeX.
      where: its place in the paper.
      function: yields cases; takes `Settings`, where there is a corrected form the keyword
        `corrected`, and the parameters that the control changes.
      control: the parameters of the negative control.
      control_text: what the control breaks, in words.
      resolution: the largest floor that still says something.
      accuracy: of an approximation, the relative error up to which it is one.
      corrects: for a corrected statement, the id of the one that fails.
      corrected: the id of the corrected statement, where the printed one fails.
      flaw: for a statement that fails, where the printed argument breaks, in a sentence.
      severity: for a statement that fails, how grave that is, by the paper's own use of it.
      survives: for a statement that fails, what of the paper's conclusion stands, in a sentence.
      readings: where the verdict hangs on how the statement is read, what is true of each reading.
      best: of an inequality, for each of its constants which is the best one.
      picture: draws a figure; a function that several claims share is called once.
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
    severity: Severity | None = None
    survives: str = ""
    readings: Mapping[str, str] = field(default_factory=dict)
    best: tuple[Best, ...] = ()
    picture: "Callable[[], Figure] | None" = None

    @property
    def sharpens(self) -> str | None:
        """For a claim with better constants than are printed, `id.sharp`, that of the printed."""
        return self.id.removesuffix(".sharp") if self.id.endswith(".sharp") else None

    @property
    def script(self) -> str:
        """The counterexample as a script that needs numpy at most; empty if there is none.

        It stands beside the claim's module, as `counterexamples/label.py`, with _ for dots.
        """
        home = getattr(sys.modules.get(self.function.__module__), "__file__", None)
        label = self.id.partition(".")[2].replace(".", "_")
        file = Path(home or "").parent / "counterexamples" / f"{label}.py"
        return file.read_text(encoding="utf-8") if home and file.is_file() else ""

    def cases(self, settings: Settings, broken: bool = False) -> Iterator[Case]:
        """The cases, of the claim itself or of its negative control."""
        two_forms = self.corrects is not None or self.corrected is not None
        form = {"corrected": self.corrects is not None} if two_forms else {}
        return self.function(settings, **form | dict(self.control if broken else {}))


@dataclass(frozen=True)
class Corrected:
    """What is true where the printed statement fails; what is left out is as printed.

    Attributes:
      statement: the corrected statement, in LaTeX.
      where: its place in the paper.
      control: the parameters of its negative control; `{"corrected": False}` is the printed form
        with its cases.
      control_text: what the control breaks, in words.
      kind: how it is checked.
      resolution: the largest floor that still says something.
      best: of an inequality, for each of its constants which is the best one.
    """

    statement: str
    where: str | None = None
    control: Mapping[str, Any] | None = None
    control_text: str | None = None
    kind: Kind | None = None
    resolution: float | None = None
    best: tuple[Best, ...] = ()


_REGISTRY: dict[str, Claim] = {}


def _place(function: CheckFunction) -> tuple[str, str]:
    return function.__module__, function.__qualname__


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
    flaw: str = "",
    severity: Severity | None = None,
    survives: str = "",
    readings: Mapping[str, str] | None = None,
    best: tuple[Best, ...] = (),
    corrected: Corrected | None = None,
    picture: "Callable[[], Figure] | None" = None,
) -> Callable[[CheckFunction], Claim]:
    r"""Turn a function that yields cases into a claim, and register it under its id.

    With `corrected` a second claim, `id.corrected`, is registered. Both are the one function, which
    is called with `corrected=False` for the printed form and `corrected=True` for the other.

    Args:
      id: `paper.label`; must be new, unless the same function is defined once more, as when a
        cell of a notebook is run again.
      kind: identity, inequality, limit, ....
      statement: the statement in LaTeX.
      where: its place.
      control: keyword arguments of the function that break the statement on purpose.
      control_text: what they break, in words.
      resolution: the largest floor that still says something.
      accuracy: of an approximation, the relative error up to which it is one.
      flaw: for a statement that fails, where the printed argument breaks, in a sentence.
      severity: of a statement that fails: a key of `gradflow.claims.severity.MEANINGS`.
      survives: for a statement that fails, what of the paper's conclusion stands, in a sentence.
      readings: where the verdict hangs on how the statement is read, what is true of each reading.
      best: of an inequality, for each of its constants which is the best one.
      corrected: for a statement that fails, what is true instead.
      picture: draws a figure of the claim.

    Returns:
      The decorator; it returns the claim as printed.

    Raises:
      ValueError: if an id is taken, or a control, a `flaw`, `severity` or `survives` is missing.

    Example:
      >>> import numpy as np
      >>> from gradflow.claims import Case, Corrected, check, claim, registered
      >>> @claim(
      ...     "mine.root",
      ...     kind="identity",
      ...     statement=r"\sqrt{x^2} = x",
      ...     where="my notes",
      ...     control={"factor": 2.0},
      ...     flaw="A root is not negative.",
      ...     severity="missing hypothesis",
      ...     survives="All of it: lengths, which are not negative, are what it is used for.",
      ...     corrected=Corrected(r"\sqrt{x^2} = |x|"),
      ... )
      ... def root(settings, corrected, factor=1.0):
      ...     x = np.random.default_rng(settings.seed).normal(size=100)
      ...     right = np.abs(x) if corrected else x
      ...     gap = np.sqrt(x**2) - factor * right
      ...     yield Case("normal", residual=gap, floor=1e-15, hypotheses={"x is real": True})
      >>> check(registered()["mine.root.corrected"]).verdict
      'holds'
    """
    if corrected is not None or flaw or severity is not None or survives:
        see_severity(id, severity, flaw, survives)

    fields: dict[str, Any] = {
        "id": id, "kind": kind, "statement": statement, "where": where, "control": dict(control),
        "control_text": control_text or _in_words(control), "resolution": resolution,
        "accuracy": accuracy, "flaw": flaw, "severity": severity, "survives": survives,
        "readings": dict(readings or {}), "best": best, "picture": picture,
        "corrected": None if corrected is None else f"{id}.corrected",
    }  # fmt: skip
    return lambda function: _register(Claim(function=function, **fields), corrected)


def _register(made: Claim, corrected: Corrected | None) -> Claim:
    """Register a claim and its corrected form."""
    forms = [made] if corrected is None else [made, _second_form(made, corrected)]
    for form in forms:
        known = _REGISTRY.get(form.id)
        if known is not None and _place(known.function) != _place(made.function):
            raise ValueError(f"There is a claim {form.id!r} already; choose another id.")
        if not form.control:
            raise ValueError(f"Claim {form.id!r} has no negative control; give one.")
    _REGISTRY.update((form.id, form) for form in forms)
    return made


def _in_words(control: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in control.items())


def _second_form(made: Claim, corrected: Corrected) -> Claim:
    """The corrected form of a printed claim."""
    changes = {name: value for name, value in vars(corrected).items() if value is not None}
    if corrected.control is not None:
        changes.setdefault("control_text", _in_words(corrected.control))
    return replace(
        made, id=f"{made.id}.corrected", corrects=made.id, corrected=None, flaw="", severity=None,
        survives="", readings={}, **changes,
    )  # fmt: skip


def defined() -> dict[str, Claim]:
    """All claims so far, by id, in the order of their definition."""
    return dict(_REGISTRY)
