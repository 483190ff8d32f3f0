"""Functions of small arrays as programs of scalars, one array a scalar for a whole batch.

A batch of 2 x 2 problems as arrays of shape (runs, 2, 2) is many small pieces of work: products and
sums over an axis end what a compiler can join into one. Written out, every entry of every matrix is
a number of its own, a batch of them an array of shape (runs,), and nothing is left but entrywise
arithmetic: a compiler joins all of an iteration, and several iterations, into a single loop over
the runs.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

Scalars = np.ndarray
"""Of dtype object: the scalars of an array, in its shape."""

_ENTRIES = 1000
"""The most entries of an array whose scalars are told apart: constants come one by one."""
_ENTRYWISE = frozenset(
    """
    abs add add_any and atan2 cbrt ceil clamp convert_element_type copy cos cosh div eq erf
    exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne
    neg nextafter not or pow reduce_precision rem round rsqrt select_n sign sin sinh sqrt
    square sub tan tanh xor
    """.split()  # noqa: SIM905
)
_MOVED: dict[str, Callable[..., Scalars]] = {
    "broadcast_in_dim": lambda told, x: _broadcast(
        x, told["shape"], _whole(told["broadcast_dimensions"])
    ),
    "concatenate": lambda told, *xs: np.concatenate(xs, told["dimension"]),
    "reshard": lambda _, x: x,
    "reshape": lambda told, x: x.reshape(told["new_sizes"]),
    "rev": lambda told, x: np.flip(x, told["dimensions"]),
    "iota": lambda told: scalars_of(
        np.indices(told["shape"])[told["dimension"]].astype(told["dtype"])
    ),
    "slice": lambda told, x: x[tuple(map(slice, *_bounds(told)))],
    "squeeze": lambda told, x: x.squeeze(told["dimensions"]),
    "stop_gradient": lambda _, x: x,
    "stack": lambda told, *xs: np.stack(xs, told["axis"]),
    "transpose": lambda told, x: x.transpose(told["permutation"]),
}
_FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "reduce_sum": jax.lax.add,
    "reduce_prod": jax.lax.mul,
    "reduce_max": jax.lax.max,
    "reduce_min": jax.lax.min,
    "reduce_and": jax.lax.bitwise_and,
    "reduce_or": jax.lax.bitwise_or,
}


def scalars_of(array: Any) -> Scalars:
    """The scalars of an array."""
    found = np.empty(np.shape(array), object)
    for place in np.ndindex(found.shape):
        found[place] = array[place]
    return found


def operations(program: Any) -> int | None:
    """How many operations on scalars a program has, or None if it cannot be written out.

    Args:
      program: a `jax.extend.core.Jaxpr`.
    """
    total, met = 0, [v for line in program.eqns for v in (*line.invars, *line.outvars)]
    if any(not 1 <= np.prod(v.aval.shape) <= _ENTRIES for v in (*program.constvars, *met)):
        return None
    for line in program.eqns:
        name, inner = line.primitive.name, _inner(line)
        size = max((int(np.prod(v.aval.shape)) for v in line.outvars), default=0)
        if inner is not None:
            found = operations(inner.jaxpr)
            if found is None:
                return None
            total += found
        elif name == "cond":
            each = [operations(branch.jaxpr) for branch in line.params["branches"]]
            if None in each:
                return None
            total += sum(filter(None, each)) + len(each) * size
        elif name == "dot_general":
            (contracted, _), _ = line.params["dimension_numbers"]
            shape = line.invars[0].aval.shape
            total += 2 * size * int(np.prod([shape[axis] for axis in contracted]))
        elif name in _FOLDED:
            total += int(np.prod(line.invars[0].aval.shape))
        elif name in _ENTRYWISE:
            total += size
        elif name not in _MOVED or (name == "reshape" and line.params["dimensions"] is not None):
            return None
    return total


def evaluate(program: ClosedJaxpr, arguments: Sequence[Scalars]) -> list[Scalars]:
    """What a program makes of scalars; `operations` tells whether it can be written out."""
    known: dict[Any, Scalars] = {}

    def read(variable: Any) -> Scalars:
        if isinstance(variable, Literal):
            kind: Any = variable.aval
            return scalars_of(np.asarray(variable.val, kind.dtype))
        return known[variable]

    inner = program.jaxpr
    known.update(zip(inner.constvars, map(scalars_of, program.consts), strict=True))
    known.update(zip(inner.invars, arguments, strict=True))
    for line in inner.eqns:
        known.update(zip(line.outvars, _written(line, [read(v) for v in line.invars]), strict=True))
    return [read(variable) for variable in inner.outvars]


def _written(line: Any, given: list[Scalars]) -> Iterable[Scalars]:
    """What a line of a program makes of scalars."""
    name, params, inner = line.primitive.name, line.params, _inner(line)
    if inner is not None:
        return evaluate(inner, given)
    if name == "cond":
        which, *rest = given
        each = [evaluate(branch, rest) for branch in params["branches"]]
        return [_chosen(which, outs) for outs in zip(*each, strict=True)]
    if name in _ENTRYWISE:
        return [_entrywise(lambda *xs: line.primitive.bind(*xs, **params), given)]
    if name in _FOLDED:
        return [_folded(_FOLDED[name], given[0], _whole(params["axes"]))]
    if name == "dot_general":
        return [
            _product(given[0], given[1], params["dimension_numbers"], line.outvars[0].aval.dtype)
        ]
    return [_MOVED[name](params, *given)]


def _inner(line: Any) -> ClosedJaxpr | None:
    """The program that a line calls, if it does nothing else."""
    if line.primitive.name not in (
        *("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"),
        *("checkpoint", "remat", "remat2"),
    ):
        return None
    found = line.params.get("jaxpr", line.params.get("call_jaxpr"))
    return found if isinstance(found, ClosedJaxpr) else ClosedJaxpr(found, ())


def _bounds(told: dict[str, Any]) -> tuple[Sequence[int], ...]:
    strides = told["strides"] or [1] * len(told["start_indices"])
    return told["start_indices"], told["limit_indices"], strides


def _whole(axes: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in axes)


def _entrywise(function: Callable[..., Any], given: list[Scalars]) -> Scalars:
    several = np.broadcast_arrays(*given)
    found = np.empty(several[0].shape, object)
    for place in np.ndindex(found.shape):
        found[place] = function(*(x[place] for x in several))
    return found


def _chosen(which: Scalars, outs: Sequence[Scalars]) -> Scalars:
    """What the branch with this number gives, where all are computed."""
    return _entrywise(jax.lax.select_n, [which, *outs])


def _folded(function: Callable[[Any, Any], Any], x: Scalars, axes: Sequence[int]) -> Scalars:
    left = [axis for axis in range(x.ndim) if axis not in axes]
    shape = tuple(x.shape[axis] for axis in left)
    rows = x.transpose(*left, *axes).reshape(*shape, -1)
    found = np.empty(shape, object)
    for place in np.ndindex(shape):
        found[place] = functools.reduce(function, rows[place])
    return found


def _broadcast(x: Scalars, shape: Sequence[int], dimensions: Sequence[int]) -> Scalars:
    sizes = [1] * len(shape)
    for axis, size in zip(dimensions, x.shape, strict=True):
        sizes[axis] = size
    return np.broadcast_to(x.reshape(sizes), shape)


def _product(a: Scalars, b: Scalars, dimensions: Any, dtype: Any) -> Scalars:
    (in_a, in_b), (batch_a, batch_b) = dimensions
    free_a = [axis for axis in range(a.ndim) if axis not in (*in_a, *batch_a)]
    free_b = [axis for axis in range(b.ndim) if axis not in (*in_b, *batch_b)]
    inner = tuple(a.shape[axis] for axis in in_a)
    outer_a, outer_b = (tuple(x.shape[k] for k in f) for x, f in ((a, free_a), (b, free_b)))
    batch = tuple(a.shape[axis] for axis in batch_a)
    a = a.transpose(*batch_a, *free_a, *in_a).reshape(*batch, *outer_a, int(np.prod(inner)))
    b = b.transpose(*batch_b, *free_b, *in_b).reshape(*batch, *outer_b, int(np.prod(inner)))
    times, plus = jax.lax.mul, jax.lax.add
    if np.dtype(dtype) == np.bool_:
        times, plus = jax.lax.bitwise_and, jax.lax.bitwise_or
    found = np.empty((*batch, *outer_a, *outer_b), object)
    for place in np.ndindex(found.shape):
        rows = place[: len(batch) + len(outer_a)]
        columns = (*place[: len(batch)], *place[len(batch) + len(outer_a) :])
        terms = (
            times(jnp.asarray(x, dtype), jnp.asarray(y, dtype))
            for x, y in zip(a[rows], b[columns], strict=True)
        )
        found[place] = functools.reduce(plus, terms)
    return found
