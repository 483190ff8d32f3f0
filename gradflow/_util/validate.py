"""Checks of user input: each raises a ValueError that names the value and the remedy."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked


def finite_array(name: str, value: Any, ndim: int | None = None) -> np.ndarray:
    """Convert to a NumPy float array and refuse what is no finite number.

    Args:
      name: what the caller calls the array, for the message.
      value: anything that `numpy.asarray` takes.
      ndim: the wanted number of axes, or None for any.

    Returns:
      The values as float64 (float32 input stays float32).

    Raises:
      ValueError: if an entry is no real number, NaN or infinite, or the number of axes is wrong.
    """
    raw = _as_array(name, value)
    if raw.dtype == object or raw.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} must hold real numbers, but it holds {_no_number(raw)!r} "
            f"(dtype {raw.dtype}); convert it to floating point first."
        )
    array = raw if raw.dtype in (np.float32, np.float64) else raw.astype(np.float64)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(
            f"{name} must have {ndim} axes, but its shape is {array.shape}; reshape it."
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name}{list(where) if where else ''} is {array[where]}, which is not a finite number "
            f"({len(bad)} such in all); remove or replace these entries."
        )
    return array


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name} is no regular array ({error}); give rows of one length."
        ) from None


def _no_number(raw: np.ndarray) -> Any:
    """The first entry that is no real number, or the first of all if each could be read as one."""
    entries = raw.ravel().tolist()
    for entry in entries:
        try:
            float(entry)
        except (TypeError, ValueError):
            return entry
    return entries[0] if entries else None


def entry_indices(indices: Checked[Any], shape: Sequence[int], count: int) -> np.ndarray:
    """Check observed positions: integers, in range, none repeated, as many as there are values.

    Args:
      indices: (n, len(shape)) integers, counted from 0.
      shape: the shape of the matrix or tensor that they point into.
      count: the number of observed values.

    Returns:
      The indices as an (n, len(shape)) array of int64.

    Raises:
      ValueError: on a wrong shape, a fraction, an index out of range or a repetition.
    """
    raw = _as_array("indices", indices)
    if raw.size == 0 or count == 0:
        raise ValueError(
            f"There is no observation at all ({raw.shape[0] if raw.ndim else 0} indices, {count} "
            "values); give at least one observed entry."
        )
    if raw.ndim != 2 or raw.shape[1] != len(shape):
        raise ValueError(
            f"indices must have shape (n, {len(shape)}) for a problem of shape {tuple(shape)}, "
            f"but its shape is {raw.shape}; give one row of {len(shape)} positions per value."
        )
    if raw.shape[0] != count:
        raise ValueError(
            f"There are {raw.shape[0]} indices but {count} values; give one value per index."
        )
    if raw.dtype.kind not in "iu":
        broken = np.argwhere(raw != np.floor(raw)) if raw.dtype.kind == "f" else raw[:0]
        row = int(broken[0][0]) if len(broken) else 0
        raise ValueError(
            f"indices must be integers, but indices[{row}] is {raw[row].tolist()} "
            f"(dtype {raw.dtype}); convert them with astype(int)."
        )
    outside = np.argwhere((raw < 0) | (raw >= np.asarray(shape)))
    if outside.size:
        row = int(outside[0][0])
        raise ValueError(
            f"indices[{row}] = {raw[row].tolist()} is out of range for shape {tuple(shape)}; "
            "positions count from 0."
        )
    flat = np.atleast_1d(np.ravel_multi_index(tuple(raw.T), tuple(shape)))
    order = [int(k) for k in np.argsort(flat, kind="stable")]
    repeated = np.flatnonzero(np.diff(flat[order]) == 0)
    if repeated.size:
        start = int(repeated[0])
        first, second = sorted(order[start : start + 2])
        raise ValueError(
            f"indices[{second}] = {raw[second].tolist()} repeats indices[{first}]; "
            "give each entry once (average its values if it was observed several times)."
        )
    return raw.astype(np.int64)


def shape_of(name: str, shape: Checked[Sequence[int]], axes: int | None = None) -> tuple[int, ...]:
    """Check that `shape` holds positive integers, `axes` of them if given."""
    try:
        result = tuple(int(n) for n in shape)
        good = all(n >= 1 and n == m for n, m in zip(result, shape, strict=True))
    except (TypeError, ValueError, OverflowError):
        result, good = (), False
    if not good:
        raise ValueError(f"{name} must hold positive integers, but it is {shape!r}.")
    if axes is not None and len(result) != axes:
        raise ValueError(f"{name} must have {axes} entries, but it is {result}.")
    return result


def positive(name: str, value: Any) -> float:
    """Check that a scalar is a finite number above zero."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be a finite number above 0, but it is {value!r}.")
    return number


def whole(name: str, value: Any) -> int:
    """Check that a scalar is a whole number of at least 1, and that 64 bits hold it."""
    try:
        number = int(value)
        good = number == value and number >= 1
    except (TypeError, ValueError, OverflowError):
        number, good = 0, False
    if not good:
        raise ValueError(f"{name} must be a whole number of at least 1, but it is {value!r}.")
    if number >= 2**63:
        raise ValueError(f"{name} must be below 2^63, but it is {value!r}.")
    return number


def same_float_dtype(**named: Any) -> jnp.dtype:
    """Check that all floating-point leaves of the named trees have one dtype, and return it.

    Raises:
      ValueError: if there are two, as when float32 factors meet a float64 problem.
    """
    found: dict[str, jnp.dtype] = {}
    for name, tree in named.items():
        for leaf in jax.tree.leaves(tree):
            if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating):
                found.setdefault(name, leaf.dtype)
                if leaf.dtype != found[name]:
                    raise ValueError(
                        f"{name} mixes {found[name]} and {leaf.dtype}; "
                        "convert it with gradflow.astype(..., dtype)."
                    )
    kinds = set(found.values())
    if len(kinds) > 1:
        described = ", ".join(f"{name} is {dtype}" for name, dtype in found.items())
        raise ValueError(
            f"Precisions differ: {described}; convert one with gradflow.astype(..., dtype)."
        )
    if not kinds:
        raise ValueError("There is no floating-point array in the input; give parameters.")
    return kinds.pop()
