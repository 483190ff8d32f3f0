"""Which entries of an array that somebody brings are observed, and what they are."""

from typing import Any

import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import finite_array

Observed = tuple[tuple[int, ...], np.ndarray, np.ndarray]
"""A shape, (n, order) positions and n values."""


def observed_entries(array: Any, mask: Any, missing: Checked[float | None]) -> Observed:
    """The observed entries of an array with gaps, in the order of their positions.

    Args:
      array: see `AbstractCompletion.from_array`.
      mask: likewise.
      missing: likewise.

    Raises:
      ValueError: if an entry is neither a finite number nor a gap, or mask and array differ.
    """
    if hasattr(array, "tocoo"):
        return _stored(array, mask, missing)
    if mask is not None:
        _see_aligned(array, mask)
    array = _with_masks(array)
    hidden = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
    values = numbers_with_gaps(np.ma.getdata(array) if hidden is not None else array)
    seen = np.ones(values.shape, bool) if hidden is None else ~hidden
    if mask is not None:
        seen = seen & _truth_values(mask, values.shape)
    if missing is not None:
        seen = seen & (values != _a_number(missing))
    if mask is None:
        seen = seen & ~np.isnan(values)
    elif (hole := np.argwhere(seen & np.isnan(values))).size:
        place = hole[0].tolist()
        raise ValueError(
            f"The mask says that entry {place} is observed, but it is nan ({len(hole)} such in "
            "all); let the mask be 0 there, or leave it away: what is nan is not observed."
        )
    wrong = np.argwhere(seen & ~np.isfinite(values))
    if wrong.size:
        place = wrong[0].tolist()
        raise ValueError(
            f"Entry {place} is {values[tuple(place)]}, which is no finite number ({len(wrong)} "
            "such in all); put nan where nothing is observed."
        )
    if not seen.any():
        raise ValueError(
            f"No entry of the array of shape {values.shape} is observed: all are nan, masked or "
            "missing; a mask is 1 where an entry is observed."
        )
    return values.shape, np.argwhere(seen), values[seen]


def _stored(array: Any, mask: Any, missing: Checked[float | None]) -> Observed:
    """The stored entries of a SciPy sparse array of any format, zeros among them."""
    if mask is not None or missing is not None:
        raise ValueError(
            "Of a sparse array the stored entries are observed, so mask and missing are of no use; "
            "leave them away, or give array.toarray()."
        )
    if getattr(array, "format", "") in ("bsr", "dia") and np.any(array.data == 0):
        raise ValueError(
            f"A sparse array of format {array.format!r} stores whole blocks or diagonals, so that "
            "its zeros may be observed or not; give it as 'csr' or 'coo', with the zeros that are "
            "observed and no others."
        )
    found = array.tocoo()
    places = getattr(found, "coords", None) or (found.row, found.col)
    if not found.data.size:
        raise ValueError(
            f"The sparse array of shape {found.shape} stores no entry, and what is stored is "
            "observed; give one that holds some."
        )
    shape = tuple(int(n) for n in found.shape)
    indices = np.stack([np.asarray(p, np.int64) for p in places], axis=1)
    flat = np.atleast_1d(np.ravel_multi_index(tuple(indices.T), shape))
    order = np.argsort(flat, kind="stable")
    again = np.flatnonzero(np.diff(flat[order]) == 0).tolist()
    if again:
        twice = [int(place[order[again[0]]]) for place in places]
        raise ValueError(
            f"The sparse array stores entry {twice} more than once; "
            "call sum_duplicates() if its values are to be added up."
        )
    return shape, indices[order], finite_array("the sparse array's data", found.data)[order]


def numbers_with_gaps(array: Any) -> np.ndarray:
    """As floating-point numbers, with NaN for None and for what pandas calls missing."""
    if hasattr(array, "columns") and hasattr(array, "to_numpy"):  # a table of pandas
        _see_dense(array)
        array = array.to_numpy(dtype=object)
    try:
        raw = np.asarray(array)
    except ValueError as error:
        raise ValueError(
            f"The array is no regular one ({error}); give rows of one length."
        ) from None
    if raw.dtype == object:
        entries = [np.nan if _is_missing(entry) else entry for entry in raw.ravel().tolist()]
        for k, entry in enumerate(entries):
            if isinstance(entry, str | bytes | complex) or not np.isscalar(entry):
                place = [int(i) for i in np.unravel_index(k, raw.shape)]
                raise ValueError(
                    f"Entry {place} is {entry!r}, which is no number; give numbers, and nan where "
                    "nothing is observed."
                )
        raw = np.array(entries, float).reshape(raw.shape)
    if raw.dtype.kind not in "fiub":
        raise ValueError(
            f"The array must hold real numbers, but its dtype is {raw.dtype}; convert it first."
        )
    return raw if raw.dtype in (np.float32, np.float64) else raw.astype(np.float64)


def _with_masks(array: Any) -> Any:
    """Nested lists, as one masked array if a part of them is masked: NumPy would lose the mask."""
    if not isinstance(array, list | tuple):
        return array
    parts = [_with_masks(part) for part in array]
    if not any(isinstance(part, np.ma.MaskedArray) for part in parts):
        return array
    if len({np.shape(part) for part in parts}) > 1:
        raise ValueError("The array is no regular one; give rows of one length.")
    return np.ma.array(
        [np.ma.getdata(part) for part in parts],
        mask=[np.ma.getmaskarray(part) for part in parts],
    )


def _see_aligned(array: Any, mask: Any) -> None:
    """See that two tables of pandas have the same labels in the same order."""
    for axis in ("index", "columns"):
        one: Any = getattr(array, axis, None)
        other: Any = getattr(mask, axis, None)
        if not (hasattr(one, "equals") and hasattr(other, "equals")) or one.equals(other):
            continue
        raise ValueError(
            f"The mask's {axis} is {other.tolist()[:4]}, but the table's {one.tolist()[:4]}; give "
            "mask.reindex_like(table), or mask.to_numpy() if only places count."
        )


def _see_dense(table: Any) -> None:
    """See that a table of pandas stores all of its entries."""
    fills = [getattr(kind, "fill_value", np.nan) for kind in table.dtypes]
    if any(fill == fill for fill in fills):  # what is not NaN
        raise ValueError(
            "The table is sparse, so that what it does not store may be observed or not; give "
            "table.sparse.to_coo(), whose stored entries are observed, or table.sparse.to_dense()."
        )


def _is_missing(entry: Any) -> bool:
    return entry is None or type(entry).__name__ in ("NAType", "NaTType")


def _truth_values(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A mask as booleans: True, or 1, where an entry is observed."""
    if np.ma.is_masked(mask):
        raise ValueError("The mask has masked entries itself; give it as a plain array.")
    raw = np.asarray(mask.to_numpy() if hasattr(mask, "to_numpy") else mask)
    if raw.shape != shape:
        raise ValueError(
            f"The mask has shape {raw.shape}, but the array has shape {shape}; give a 1 or a 0 for "
            "each of its entries."
        )
    if raw.dtype.kind not in "biuf" or (other := raw[(raw != 0) & (raw != 1)]).size:
        example = other[0] if raw.dtype.kind in "biuf" else raw.ravel()[0]
        raise ValueError(
            f"A mask holds 1 (or True) where an entry is observed, else 0, but this one holds "
            f"{example!r}; give mask != 0, or what you mean."
        )
    return raw.astype(bool)


def _a_number(missing: Any) -> float:
    if isinstance(missing, bool | str) or np.ndim(missing) != 0:
        raise ValueError(f"missing must be one number, such as 99, but it is {missing!r}.")
    return float(missing)
