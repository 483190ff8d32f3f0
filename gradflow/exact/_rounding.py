"""Where a closed form hangs on digits that its start does not have."""

import warnings

import numpy as np
from jaxtyping import Float

from gradflow.factorizations.base import Factors

_ZERO = 1e-13
"""Share of a factor's largest singular value below which one is 0, but for rounding."""
ROUNDED = 1e-14
"""Share of W's largest singular value up to which one may be rounding."""
_SEEN = 1e-6
"""Share of W by which rounding of its start may change it without a word."""


def kept_values(values: Float[np.ndarray, " k"], factors: Factors) -> Float[np.ndarray, " k"]:
    """Singular values of a balanced start, without those that the factors' rank leaves no room for.

    Rounding of W, some 1e-16 of the largest, stands there in place of 0; the flow keeps the rank,
    and from depth 2 on what is 0 stays 0.

    Args:
      values: of W along its frames.
      factors: W_1, ..., W_N.
    """
    if len(factors) == 1:
        return values
    rank = len(values)
    for factor in factors:
        s = np.linalg.svd(np.asarray(factor), compute_uv=False)
        rank = min(rank, int(np.sum(s > _ZERO * s[0])))
    found = np.maximum(values, 0.0)
    found[np.argsort(-found, kind="stable")[rank:]] = 0.0
    return found


def without_rounded(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Singular values with 0 in place of what may be rounding of W."""
    return np.where(values > ROUNDED * np.max(values, initial=0.0), values, 0.0)


def told_of_rounding(
    times: Float[np.ndarray, " records"], first: float | None
) -> dict[str, list[str]]:
    """A warning, also as a trajectory's stats have it, if rounding of the start may be seen.

    Args:
      times: of the records.
      first: when it may first be; None for never.
    """
    late = times[times >= first] if first is not None else times[:0]
    if not len(late):
        return {}
    sentence = (
        f"from the time {late[0]:.6g} on rounding may decide what is seen: beside its largest "
        "singular value the start has nothing of a direction that grows, or so little that it is "
        "not told from nothing; start from larger singular values, or from factors of the rank "
        "that is meant"
    )
    warnings.warn(f"In this closed form {sentence}.", RuntimeWarning, stacklevel=3)
    return {"warnings": [sentence]}


def first_apart(
    times: Float[np.ndarray, " records"],
    found: Float[np.ndarray, "records k"],
    other: Float[np.ndarray, "records k"],
) -> float | None:
    """The first of the times at which two solutions differ; None for none."""
    off = np.max(np.abs(found - other), axis=1) > _SEEN * np.max(np.abs(found), axis=1)
    return float(times[np.argmax(off)]) if np.any(off) else None


def first_of_growth(
    rows: Float[np.ndarray, "modes hidden"], rates: Float[np.ndarray, " modes"], share: float
) -> float | None:
    """When rounding of columns that follow a Riccati equation may be seen; None for never.

    Hidden units go to the modes that grow fastest: of the first p, columns of rank below both p and
    their own number leave a place that rounding fills.

    Args:
      rows: of the columns at the start, one a mode.
      rates: of the modes.
      share: of the columns' norm, up to which singular values of rows are rounding.
    """
    norm = float(np.linalg.norm(rows, 2))
    order = np.argsort(-rates)
    same = 1e-9 * float(np.max(np.abs(rates), initial=0.0))
    for p in range(1, len(rates) + 1):
        rate = float(rates[order[p - 1]])
        if not rate > same or not norm > 0:
            break
        if p < len(rates) and rates[order[p]] > rate - same:
            continue  # those of one rate go together
        rank = int(np.sum(np.linalg.svd(rows[order[:p]], compute_uv=False) > share * norm))
        if rank < min(p, rows.shape[1]):
            return max(float(np.log(_SEEN * rate**0.5 / (share * norm))), 0.0) / rate
    return None
