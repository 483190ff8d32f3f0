"""Checks of user input: each raises a ValueError that names the value and the remedy."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

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
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} has {np.ma.count_masked(value)} masked entries, and a number is wanted at each"
            " place; leave these out, or give them numbers with filled(...)."
        )
    if isinstance(value, Tracer):
        raise ValueError(
            f"{name} is traced by jax.jit, vmap or grad, and has no numbers to check yet; inside "
            "these use gradflow.flow.follow or gradflow.descent.descend, and make problems outside."
        )
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
        except (TypeError, ValueError, OverflowError):
            return entry
    return entries[0] if entries else None


def observed_values(
    indices: Checked[Any], values: Checked[Any], order: int
) -> tuple[Any, np.ndarray]:
    """Positions and observed values: masked values are unobserved, and left out with their indices.

    Args:
      indices: n positions, as `entry_indices` takes them.
      values: n numbers; or a `numpy.ma.MaskedArray` of them.
      order: the number of axes of the problem.

    Returns:
      The indices, and the values as floating-point numbers; those that are not masked.

    Raises:
      ValueError: if an unmasked value is no finite number, or numbers differ.
    """
    hidden = np.ma.getmaskarray(values) if np.ma.is_masked(values) else None
    if hidden is None or hidden.ndim != 1:
        return indices, finite_array("values", values, ndim=1)
    where = _rows(indices, order, hidden.size)
    if where.shape[:1] != hidden.shape:
        raise ValueError(
            f"There are {len(where)} indices but {hidden.size} values; give one value per index."
        )
    return where[~hidden], finite_array("values", np.ma.getdata(values)[~hidden], ndim=1)


def _rows(indices: Checked[Any], order: int, count: int) -> np.ndarray:
    """Indices as rows of positions; a tuple of arrays is what `numpy.nonzero` gives."""
    parts = list(indices) if isinstance(indices, tuple | list) else []
    arrays = len(parts) == order > 1 and all(
        hasattr(part, "dtype") and np.ndim(part) == 1 for part in parts
    )
    if arrays and isinstance(indices, tuple):
        columns = [_as_array("indices", part) for part in parts]
        if len({column.size for column in columns}) > 1:
            raise ValueError(
                f"indices has arrays of {[column.size for column in columns]} positions; give one "
                "position per value and axis."
            )
        return np.stack(columns, axis=1)
    if arrays and count == order and len(parts[0]) == order:
        raise ValueError(
            f"indices is a list of {order} arrays of {order}, which may be rows or columns; give "
            "rows as one array, numpy.stack(indices), or columns as a tuple."
        )
    return _as_array("indices", indices)


def entry_indices(indices: Checked[Any], shape: Sequence[int], count: int) -> np.ndarray:
    """Check observed positions: integers, in range, none repeated, as many as there are values.

    Args:
      indices: (n, len(shape)) integers, counted from 0; or, as `numpy.nonzero` gives them, a tuple
        of len(shape) arrays of n.
      shape: the shape of the matrix or tensor that they point into.
      count: the number of observed values.

    Returns:
      The indices as an (n, len(shape)) array of int64.

    Raises:
      ValueError: on a wrong shape, a fraction, an index out of range or a repetition.
    """
    raw = _rows(indices, len(shape), count)
    if raw.size == 0 or count == 0:
        raise ValueError(
            f"There is no observation at all ({raw.shape[0] if raw.ndim else 0} indices, {count} "
            "values); give at least one observed entry."
        )
    if raw.ndim != 2 or raw.shape[1] != len(shape):
        raise ValueError(
            f"indices must have shape (n, {len(shape)}) for a problem of shape {tuple(shape)}, "
            f"but its shape is {raw.shape}; give one row of {len(shape)} positions per value"
            + (", its transpose." if raw.shape == (len(shape), count) else ".")
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
    order = np.argsort(flat, kind="stable")
    repeated = np.flatnonzero(np.diff(flat[order]) == 0)
    if repeated.size:
        start = int(repeated[0])
        first, second = sorted(order[start : start + 2].tolist())
        raise ValueError(
            f"indices[{second}] = {raw[second].tolist()} repeats indices[{first}]; "
            "give each entry once (average its values if it was observed several times)."
        )
    return raw.astype(np.int64)


MOST = 2**31 - 1
"""The largest length of an axis, and seed; larger ones do not fit where they are needed."""


def shape_of(name: str, shape: Checked[Sequence[int]], axes: int | None = None) -> tuple[int, ...]:
    """Check that `shape` holds positive integers, `axes` of them if given."""
    try:
        result = tuple(_whole(n) for n in shape)
        good = all(n is not None and 1 <= n <= MOST for n in result)
    except TypeError:
        result, good = (), False
    if not good:
        raise ValueError(f"{name} must hold positive integers, but it is {shape!r}.")
    if axes is not None and len(result) != axes:
        raise ValueError(f"{name} must have {axes} entries, but it is {result}.")
    return tuple(n for n in result if n is not None)


def sizes_of(sizes: Checked[Sequence[int]]) -> tuple[int, ...]:
    """Check the sizes (d_0, ..., d_N) of a product of N matrices, N at least 1."""
    result = shape_of("sizes", sizes)
    if len(result) < 2:
        raise ValueError(f"sizes must hold (d_0, ..., d_N) with N >= 1, but it is {result}.")
    return result


def real(value: Any) -> float:
    """A scalar as a float; NaN for what is none: a text, a truth value, an array with axes."""
    if isinstance(value, str | bytes | bytearray | bool | np.bool_) or np.ma.is_masked(value):
        return np.nan
    if hasattr(value, "dtype") and (
        np.ndim(value) != 0
        or not (
            jnp.issubdtype(value.dtype, jnp.integer) or jnp.issubdtype(value.dtype, jnp.floating)
        )
    ):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def positive(name: str, value: Any) -> float:
    """Check that a scalar is a finite number above zero."""
    number = real(value)
    if not np.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be a finite number above 0, but it is {value!r}.")
    return number


def positive_or_traced(name: str, value: Any) -> Any:
    """`positive`; a number that `jax.jit`, `vmap` or `grad` traces has no value yet, and passes."""
    return value if isinstance(value, Tracer) and value.ndim == 0 else positive(name, value)


def whole(name: str, value: Any, least: int = 1, most: int = 2**63 - 1) -> int:
    """Check that a scalar is a whole number between two others; the default `most` fits 64 bits."""
    number = _whole(value)
    if number is None or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, but it is {value!r}.")
    if number > most:
        raise ValueError(f"{name} must be a whole number of at most {most}, but it is {value!r}.")
    return number


def seed_of(name: str, value: Any) -> int:
    """Check that a scalar is a seed: JAX and NumPy both take whole numbers from 0 to 2^31 - 1."""
    return whole(name, value, 0, MOST)


def _whole(value: Any) -> int | None:
    """A whole number as an int, or None for what is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # at whatever size
    number = real(value)
    return int(number) if np.isfinite(number) and number == np.floor(number) else None


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


def require_float64(what: str, *, otherwise: str = "", **named: Any) -> None:
    """Check that all floating-point leaves of the named trees are in float64.

    Args:
      what: what needs that, as a message begins.
      otherwise: another remedy, as it ends.
      named: the trees.

    Raises:
      ValueError: on float32 input, which includes every JAX array before 64 bits are switched on.
    """
    if (dtype := same_float_dtype(**named)) != np.float64:
        raise ValueError(
            f"{what} needs float64, but the input is {dtype}: round-off would decide the result. "
            f'Call jax.config.update("jax_enable_x64", True) before anything else{otherwise}.'
        )
