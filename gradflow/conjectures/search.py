"""The search: small problems by size, then random ones; what violates is shrunk and confirmed."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.progress import SearchProgress
from gradflow._util.validate import positive, seed_of, whole
from gradflow.conjectures.conjecture import Conjecture, Judged
from gradflow.conjectures.family import Integers, Trial
from gradflow.conjectures.limits import Undetermined
from gradflow.conjectures.result import Counterexample, SearchResult

_IDLE = 1000
"""After how many draws in a row that are old or no problem a family counts as used up."""


def find_counterexample(
    conjecture: Checked[Conjecture],
    *,
    seconds: Checked[float | None] = None,
    trials: Checked[int | None] = None,
    seed: Checked[int] = 0,
    progress: Checked[bool | Callable[[int, float], None]] = False,
) -> SearchResult:
    """Look over small problems and starts for one whose limit violates a conjecture.

    For half of the budget by rising size, as far as the family enumerates, then at random. A
    violation has to be larger than the errors of limit and margin, and be found again by the
    limit's second computation. It is shrunk while it stays one; what is given back is confirmed.

    Args:
      conjecture: what is claimed.
      seconds: when to stop at the latest; a problem that is being looked at is finished, and
        shrinking may take as long again.
      trials: how many problems to look at, at most. At least one of both must be given.
      seed: of the random problems.
      progress: show a bar; or a function of how many were looked at, and the least margin.

    Returns:
      The counterexample, or how hard it looked: print it.

    Raises:
      ValueError: if there is no end, or a number is out of range.

    Example:
      >>> import gradflow as gf, numpy as np
      >>> def least_l2_norm(reached):
      ...     problem = reached.trial.objective.problem
      ...     x, y = np.asarray(problem.inputs), np.asarray(problem.targets)
      ...     return np.linalg.norm(np.linalg.pinv(x) @ y) / np.linalg.norm(reached.product) - 1
      >>> conjecture = gf.conjectures.Conjecture(
      ...     "diagonal networks end at the least l2 norm",
      ...     gf.conjectures.Regressions(),
      ...     gf.conjectures.VanishingStart(),
      ...     least_l2_norm,
      ... )
      >>> found = find_counterexample(conjecture, trials=100)
      >>> found.counterexample.trial.text
      'data [[1, 2]] beta = [1], depth 2, from w_+ = w_- = [1, 1]'
    """
    if not isinstance(conjecture, Conjecture):
        raise ValueError(f"conjecture must be a Conjecture, but it is {conjecture!r}.")
    if seconds is None and trials is None:
        raise ValueError("Give seconds or trials: a search has to end somewhere.")
    budget = _Budget(
        time.monotonic(),
        np.inf if seconds is None else positive("seconds", seconds),
        np.inf if trials is None else whole("trials", trials),
    )
    tally = _Tally()
    rng = np.random.default_rng(seed_of("seed", seed))
    counterexample = None
    with SearchProgress(progress, seconds, trials) as show:
        for trial in _candidates(conjecture, rng, budget, tally):
            judged = _look(conjecture, trial, tally)
            show(tally.looked_at, tally.least)
            if judged is not None and judged.violated:
                counterexample = _shrunk(conjecture, trial, judged, budget, tally)
                if counterexample is not None:
                    break
            if budget.share(tally.looked_at) >= 1:
                break
    return tally.result(conjecture.name, counterexample, budget, seed)


class _Budget(NamedTuple):
    """When a search ends."""

    begun: float
    seconds: float
    trials: float

    @property
    def spent(self) -> float:
        return time.monotonic() - self.begun

    def share(self, looked_at: int) -> float:
        """How much of it is spent."""
        return max(self.spent / self.seconds, looked_at / self.trials)


class _Tally:
    """What a search has seen so far."""

    def __init__(self):
        self.looked_at = self.enumerated = self.spoken_of = self.cost = 0
        self.exhausted = False
        self.least, self.error, self.closest = np.inf, 0.0, ""
        self.left_out: Counter[str] = Counter()
        self.unconfirmed: list[str] = []

    def result(
        self, name: str, counterexample: Counterexample | None, budget: _Budget, seed: int
    ) -> SearchResult:
        return SearchResult(
            name, counterexample, self.looked_at, self.enumerated, self.cost, self.exhausted,
            self.spoken_of, dict(self.left_out.most_common()), tuple(self.unconfirmed),
            float(self.least), self.error, self.closest, budget.spent, seed,
        )  # fmt: skip


def _candidates(
    conjecture: Conjecture, rng: np.random.Generator, budget: _Budget, tally: _Tally
) -> Iterator[Trial]:
    """By size for half of the budget, then random ones, each once."""
    family, seen = conjecture.family, set()
    for integers in family.simplest_first():
        trial = family.build(integers)
        if trial is None or integers in seen:
            continue
        cost = family.cost(integers)
        if budget.share(tally.looked_at) >= 0.5:
            break
        seen.add(integers)
        tally.enumerated += 1
        yield trial
        tally.cost = max(tally.cost, cost - 1)
    else:
        tally.exhausted = bool(seen)
    idle = 0
    while idle < _IDLE:
        integers = family.draw(rng)
        trial = None if integers in seen else family.build(integers)
        idle = idle + 1 if trial is None else 0
        if trial is not None:
            seen.add(integers)
            yield trial


def _look(conjecture: Conjecture, trial: Trial, tally: _Tally) -> Judged | None:
    """What a problem says, counted."""
    tally.looked_at += 1
    try:
        judged = conjecture.judge(trial)
    except Undetermined as error:
        tally.left_out[f"the limit {error}"] += 1
        return None
    if judged is None:
        tally.left_out["not spoken of"] += 1
        return None
    tally.spoken_of += 1
    if not judged.violated and judged.margin < tally.least:
        tally.least, tally.error, tally.closest = judged.margin, judged.error, trial.text
    return judged


def _shrunk(
    conjecture: Conjecture, trial: Trial, judged: Judged, budget: _Budget, tally: _Tally
) -> Counterexample | None:
    """The smallest violation on the way down that is confirmed; None if none is."""
    chain = [(trial, judged)]
    late = 2 * budget.seconds
    while budget.spent < late:
        smaller = _smaller(conjecture, chain[-1][0], budget, late)
        if smaller is None:
            break
        chain.append(smaller)
    for trial, judged in reversed(chain):
        confirmed = _confirmed(conjecture, trial, judged)
        if confirmed is not None:
            return Counterexample(trial, judged, confirmed, chain[0][0].text)
    tally.unconfirmed.append(chain[0][0].text)
    return None


def _smaller(
    conjecture: Conjecture, trial: Trial, budget: _Budget, late: float
) -> tuple[Trial, Judged] | None:
    """A simpler problem that is a violation, too."""
    family = conjecture.family
    here = family.cost(trial.integers)
    order: dict[Integers, int] = {}
    for integers in family.simpler(trial.integers):
        other = family.build(integers)
        if other is not None and family.cost(integers) < here:
            order[integers] = family.cost(integers)
    for integers in sorted(order, key=order.__getitem__):
        if budget.spent > late:
            return None
        other = family.build(integers)
        assert other is not None
        try:
            judged = conjecture.judge(other)
        except Undetermined:
            continue
        if judged is not None and judged.violated:
            return other, judged
    return None


def _confirmed(conjecture: Conjecture, trial: Trial, judged: Judged) -> Judged | None:
    """The violation by the second computation; None where that says something else."""
    try:
        again = conjecture.confirm(trial)
    except Undetermined:
        return None
    return again if again is not None and again.violated and again.agrees(judged) else None
