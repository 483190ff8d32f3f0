"""Run claims and their controls, and collect one entry of the ledger for each."""

import json
import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp

from gradflow.claims.citation import citation
from gradflow.claims.definition import Case, Claim, Settings, Verdict
from gradflow.claims.judging import Judgement, judge, spared


@dataclass(frozen=True)
class Entry:
    """A claim, what was found, and how its control came out.

    Attributes:
      claim: the claim.
      judgement: None if the check crashed.
      control: the judgement of the negative control, None if it crashed or was not run.
      error: the traceback of a crash.
      seconds: wall time of claim and control together.
      spared: for a statement that fails, on how many cases it is kept. The control is judged on
        these; if there are none, on all, where the printed counterexamples refute it, too.
      settings: how hard was checked.
    """

    claim: Claim
    judgement: Judgement | None
    control: Judgement | None
    error: str | None
    seconds: float
    spared: int | None = None
    settings: Settings = field(default_factory=Settings)

    def __repr__(self) -> str:
        reason = self.judgement.reason if self.judgement else "the check raised an error"
        return f"Entry({self.claim.id}: {self.verdict}, control {self.control_verdict}; {reason})"

    @property
    def verdict(self) -> str:
        """The verdict, or "crashed"."""
        return "crashed" if self.judgement is None else str(self.judgement.verdict)

    @property
    def control_verdict(self) -> str:
        """The control's own verdict; anything but "fails" discredits the claim's."""
        return "crashed" if self.control is None else str(self.control.verdict)

    @property
    def sound(self) -> bool:
        """Whether the check ran and its control failed, as it must."""
        return self.judgement is not None and self.control_verdict == Verdict.FAILS

    def as_json(self) -> dict[str, Any]:
        """The entry as plain values."""
        found = self.judgement
        return {
            "id": self.claim.id,
            "verdict": self.verdict,
            "kind": self.claim.kind,
            "statement": self.claim.statement,
            "where": self.claim.where,
            "cases": found.cases if found else 0,
            "points": found.points if found else 0,
            "residual": _finite(found.residual) if found else None,
            "floor": _finite(found.floor) if found else None,
            "slack": _finite(found.slack) if found else None,
            "reason": found.reason if found else (self.error or "").strip().split("\n")[-1],
            "hypotheses": list(found.hypotheses) if found else [],
            "conventions": list(found.conventions) if found else [],
            "grade": found.grade if found else None,
            "evidence": dict(found.evidence) if found else {},
            "proofs": list(found.proofs) if found else [],
            "outline": [dict(shown) for shown in found.outline] if found else [],
            "notes": list(found.notes) if found else [],
            "counterexample": _plain(found.counterexample) if found else None,
            "script": self.claim.script,
            "control": self.control_verdict,
            "control_text": self.claim.control_text,
            "spared": self.spared,
            "corrects": self.claim.corrects,
            "corrected": self.claim.corrected,
            "sharpens": self.claim.sharpens,
            "flaw": self.claim.flaw,
            "severity": self.claim.severity,
            "survives": self.claim.survives,
            "readings": dict(self.claim.readings),
            "best": [dict(vars(one)) for one in self.claim.best],
            "cite": citation(self.claim),
            "error": self.error,
            "control_reason": self.control.reason if self.control else None,
            "again": _again(self.claim, self.settings),
            "seconds": round(self.seconds, 3),
        }


def _again(claim: Claim, settings: Settings) -> str:
    """The command that checks a claim once more in the same way."""
    scale = " --full" if settings.full else " --quick" if settings.quick else ""
    return f"gradflow check {claim.id} --seed {settings.seed}{scale}"


def _plain(counterexample: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What JSON can hold: numbers, lists and texts; all else, such as a fraction, as its text."""
    if not counterexample:
        return None
    text = json.dumps(dict(counterexample), default=_as_plain)
    return json.loads(text, parse_constant=str)  # NaN and infinity, which are no numbers there


def _as_plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def check(claim: Claim, settings: Settings | None = None) -> Entry:
    r"""Check a claim and its negative control.

    Nothing is judged in float32: with `jax_enable_x64` off the verdict is inconclusive, for the
    flows that a verdict rests on would be wrong.

    Args:
      claim: what `@claim` made.
      settings: how hard to check.

    Returns:
      The entry. A crash is an entry too.

    Example:
      >>> import numpy as np
      >>> from gradflow.claims import Case, Claim, check
      >>> def square(settings, sign=1.0):
      ...     x = np.random.default_rng(settings.seed).normal(size=100)
      ...     yield Case("normal", slack=sign * x**2, floor=1e-15, hypotheses={"x is real": True})
      >>> mine = Claim(
      ...     "mine.square",
      ...     "inequality",
      ...     r"x^2 \ge 0",
      ...     "my notes",
      ...     square,
      ...     control={"sign": -1.0},
      ...     control_text="the sign",
      ... )
      >>> entry = check(mine)
      >>> entry.verdict, entry.control_verdict
      ('holds', 'fails')
    """
    settings = settings or Settings()
    began = time.perf_counter()
    judgement = control = error = kept = None
    try:
        if jnp.zeros(()).dtype != jnp.float64:
            judgement = control = _float32()
        else:
            cases = list(claim.cases(settings))
            judgement = _judge(claim, cases, broken=False)
            broken = list(claim.cases(settings, broken=True))
            if judgement.verdict is Verdict.FAILS:
                kept = spared(cases, claim.kind, claim.accuracy)
                broken = [case for case in broken if case.name in kept] or broken
            control = _judge(claim, broken, broken=True)
    except Exception:
        error = traceback.format_exc()
    return Entry(claim, judgement, control, error, time.perf_counter() - began,
                 None if kept is None else len(kept), settings)  # fmt: skip


def _judge(claim: Claim, cases: list[Case], broken: bool) -> Judgement:
    return judge(
        cases, claim.kind, claim.resolution, must_confirm=not broken, accuracy=claim.accuracy
    )


def _float32() -> Judgement:
    return Judgement(
        verdict=Verdict.INCONCLUSIVE,
        residual=float("nan"),
        floor=float("inf"),
        slack=None,
        cases=0,
        points=0,
        reason="float32 arithmetic: enable jax_enable_x64 for a verdict",
        counterexample=None,
        notes=(),
        hypotheses=(),
    )
