"""What comparing a flow with its witnesses tells: differences, and digits that can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradflow.trajectory import Outcome, Trajectory

MOST_DIGITS = 15
"""Decimal digits of float64."""
_CHANCE = 0.03
"""From which difference on a digit in common may be chance, as in losses that are round-off alone:
of one that was 1e49 times too large a tighter run had the first digit, too."""
END = "time of the end"
"""Beside the observables: when a flow came to what stops it."""
_SAME_TIME = 1e-12
"""Recording times of two runs that differ by less, relatively, differ by rounding."""
_REACHED = (Outcome.REACHED_LOSS, Outcome.REACHED_GRADIENT_NORM)


@dataclass(frozen=True, eq=False)
class Witness:
    """Another run of the same flow, and how far it is from the first.

    Attributes:
      what: "tighter" (or "rougher") tolerances, or "other coordinates".
      coordinates: what it started in.
      rtol: its relative tolerance.
      outcome: how it ended.
      warnings: what speaks against its numbers.
      times: of the records compared; the last is the end of the first run.
      differences: observable -> (records,) relative difference at each of these times; the last is
        between both ends.
      end: the relative difference of the times at which the two ended.
    """

    what: str
    coordinates: str
    rtol: float
    outcome: Outcome
    warnings: tuple[str, ...]
    times: np.ndarray
    differences: Mapping[str, np.ndarray]
    end: float

    @classmethod
    def of(cls, what: str, coordinates: str, flow: Trajectory, other: Trajectory) -> "Witness":
        """Compare two runs of one flow.

        Args:
          what: the second is.
          coordinates: what the second started in.
          flow: the first.
          other: the second, recorded at the same times.
        """
        inner, theirs = flow.times[:-1, None], other.times[None, :-1]
        same = np.abs(inner - theirs) <= _SAME_TIME * np.abs(inner)
        here = np.flatnonzero(same.any(axis=1)) if same.size else np.array([], int)
        there = np.argmax(same[here], axis=1) if same.size else here
        here, there = np.append(here, len(flow) - 1), np.append(there, len(other) - 1)
        differences = {
            name: np.array(
                [
                    relative_difference(name, flow[name][i], other[name][j])
                    for i, j in zip(here, there, strict=True)
                ]
            )
            for name in flow.observables
        }
        return cls(
            what=what,
            coordinates=coordinates,
            rtol=other.config["rtol"],
            outcome=other.outcome,
            warnings=other.warnings,
            times=flow.times[here],
            differences=differences,
            end=relative_difference("time", flow.stats["end"], other.stats["end"]),
        )

    def __str__(self) -> str:
        return f"{self.what} ({self.coordinates}, rtol {self.rtol:.0e})"


@dataclass(frozen=True, eq=False)
class Verification:
    """A flow as asked, beside other runs of it; print it.

    Attributes:
      trajectory: the flow as asked.
      witnesses: the other runs.
    """

    trajectory: Trajectory
    witnesses: tuple[Witness, ...]

    @property
    def counted(self) -> tuple[Witness, ...]:
        """The witnesses that digits are counted against: without warnings, if there are any."""
        return tuple(one for one in self.witnesses if not one.warnings) or self.witnesses

    @property
    def digits(self) -> dict[str, int]:
        """Decimal digits that can be trusted at every record, by observable."""
        return {name: _digits(max(all_)) for name, all_ in self._found(slice(None)).items()}

    @property
    def digits_at_end(self) -> dict[str, int]:
        """Decimal digits that can be trusted at the end, by observable."""
        return {name: _digits(max(last)) for name, last in self._found(slice(-1, None)).items()}

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is to be known before the digits: warnings, and runs that ended otherwise."""
        flow, said = self.trajectory, []
        said += [f"in the flow as asked, {sentence}" for sentence in flow.warnings]
        for one in self.witnesses:
            if one.outcome is not flow.outcome:
                said.append(f"{one} {one.outcome.value}, the flow as asked {flow.outcome.value}")
            said += [f"in {one}, {sentence}" for sentence in one.warnings]
        said += [f"{one} is not counted" for one in self.witnesses if one not in self.counted]
        if not any(one.what == "other coordinates" for one in self.witnesses):
            said.append("no other coordinates could be tried: an error of these may go unseen")
        return tuple(said)

    def table(self) -> str:
        """One line an observable: digits at the end and at worst, largest differences."""
        head = ["", "digits at the end", "at worst", *(f"from {one}" for one in self.witnesses)]
        end, worst = self.digits_at_end, self.digits
        rows = [
            [name, str(end[name]), str(worst[name])]
            + [f"{np.max(_row(one, name)):.1e}" for one in self.witnesses]
            for name in worst
        ]
        widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            )
            for row in [head, *rows]
        )

    def __str__(self) -> str:
        flow = self.trajectory
        first = (
            f"A flow in coordinates {flow.stats['coordinates']!r}, rtol {flow.config['rtol']:.0e}, "
            f"{flow.outcome.value}"
        )
        return "\n".join([first, *(f"But {doubt}" for doubt in self.doubts), self.table()])

    def _found(self, records: slice) -> dict[str, np.ndarray]:
        """Relative differences from the witnesses that count, by observable."""
        names = list(self.trajectory.observables)
        if self.trajectory.outcome in _REACHED:
            names.append(END)
        return {
            name: np.concatenate([_row(one, name)[records] for one in self.counted])
            for name in names
        }


def _row(witness: Witness, name: str) -> np.ndarray:
    return np.array([witness.end]) if name == END else witness.differences[name]


def _digits(difference: float) -> int:
    if difference <= 10.0**-MOST_DIGITS:
        return MOST_DIGITS
    return int(np.floor(-np.log10(difference))) if difference < _CHANCE else 0


def relative_difference(name: str, one: Any, other: Any) -> float:
    """The norm of the difference over the larger norm; infinite where only one is finite.

    Logarithms and signs are compared absolutely as long as they are below 1.

    Args:
      name: of the observable; "log_..." is a logarithm, "..._sign" a sign.
      one: its value in one run.
      other: its value in the other.

    Example:
      >>> relative_difference("loss", 1.0, 1.1), relative_difference("log_abs_det", 1e-3, 2e-3)
      (0.0909, 0.001)
    """
    a, b = (np.asarray(value, float).ravel() for value in (one, other))
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    if a.shape != b.shape or not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return float("inf")
    unit = float(max(np.max(np.abs(a)), np.max(np.abs(b))))  # squares may be no numbers
    size = float(max(np.linalg.norm(a / unit), np.linalg.norm(b / unit)))
    if name.startswith("log_") or name.endswith("_sign"):
        size = max(size, 1 / unit)
    return float(np.linalg.norm(a / unit - b / unit)) / size
