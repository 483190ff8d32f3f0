"""What determines a result, as plain values, for the attributes of stored runs."""

import dataclasses
import functools
import hashlib
import inspect
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import equinox as eqx
import jax
import numpy as np

from gradflow._util.random import without_key


def fingerprint(tree: Any) -> str:
    """SHA-256 of all arrays of a tree: shapes, precisions and values."""
    digest = hashlib.sha256()
    for leaf in map(without_key, jax.tree.leaves(tree)):
        if eqx.is_array_like(leaf):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def describe_function(function: Any) -> str:
    """A function's name, with what it holds on to: arguments of a partial, variables of a closure.

    An optax transformation is described by its update, and so as what it was made from: two that
    differ in a number, a schedule or a link of their chain have other descriptions. So have two
    lambdas that do.
    """
    return _told(function, ())


def _told(value: Any, above: tuple[int, ...]) -> str:
    """A value inside a description: of a function its description, of the rest its `plain` form."""
    if id(value) in above:
        return "..."  # a function that knows itself
    above = (*above, id(value))
    if isinstance(value, functools.partial):
        fixed = [_told(part, above) for part in value.args]
        fixed += [f"{name}={_told(part, above)}" for name, part in value.keywords.items()]
        return f"{_told(value.func, above)}({', '.join(fixed)})"
    update, init = (getattr(value, name, None) for name in ("update", "init"))
    if isinstance(value, tuple) and callable(update) and callable(init):
        return _told_transformation(update, init, above)
    if isinstance(value, Mapping):
        pairs = [f"{_told(k, above)}: {_told(v, above)}" for k, v in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_told(part, above) for part in value) + "]"
    if not callable(value) or isinstance(value, eqx.Module):
        return str(plain(value)) if eqx.is_array(value) else repr(plain(value))
    name = getattr(value, "__qualname__", type(value).__name__)
    if name.endswith((".<locals>.update", ".<locals>.update_fn")):
        return _told_transformation(value, None, above)
    body = inspect.unwrap(value)
    if name.endswith("<lambda>") and hasattr(body, "__code__"):
        name += f" {hashlib.sha256(_coded(body.__code__)).hexdigest()[:8]}"
    held = [f"{key}={_told(part, above)}" for key, part in _held(body)]
    return f"{name}({', '.join(held)})" if held else name


def _told_transformation(update: Any, init: Any, above: tuple[int, ...]) -> str:
    """A transformation: the function that made it, and what this gave to update and start."""
    name = getattr(update, "__qualname__", type(update).__name__).split(".<locals>")[0]
    held = _held(inspect.unwrap(update))
    if name in ("chain", "with_extra_args_support") and len(held) == 1:
        inner = _told(held[0][1], above)  # of links, or of what the wrapper adds nothing to
        return f"chain({inner[1:-1]})" if name == "chain" else inner
    known = {key for key, _ in held}
    if init is not None:
        began = _held(inspect.unwrap(init))
        held += [pair for pair in began if pair[0] not in known and not callable(pair[1])]
    told = ", ".join(f"{key}={_told(part, above)}" for key, part in held)
    return f"{name}({told})"


def _held(function: Any) -> list[tuple[str, Any]]:
    """The variables that a closure holds."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    held = []
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        try:
            held.append((name, cell.cell_contents))
        except ValueError:  # not set yet
            continue
    return held


def _coded(code: Any) -> bytes:
    """The program of a function, with its constants."""
    parts = [_coded(c) if hasattr(c, "co_code") else repr(c).encode() for c in code.co_consts]
    return code.co_code + repr(code.co_names).encode() + b"".join(parts)


def plain(value: Any) -> Any:
    """A field of a module as a stored run says it.

    Numbers and words stay, arrays come by their fingerprint, functions by their name, modules by
    their kind and fields.
    """
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if isinstance(value, eqx.Module):
        return {"kind": type(value).__name__} | {k: plain(v) for k, v in vars(value).items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    value = without_key(value)
    if eqx.is_array_like(value):
        return float(value) if np.ndim(value) == 0 else fingerprint(value)
    if callable(value):
        return describe_function(value)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # where it lay in memory says nothing


def static_fields(module: eqx.Module) -> dict[str, Any]:
    """A module's static fields, which no fingerprint of its arrays sees."""
    return {
        field.name: plain(getattr(module, field.name))
        for field in dataclasses.fields(module)
        if field.metadata.get("static", False)
    }


def describe(objective: Any) -> dict[str, Any]:
    """What an objective is made of: problem (with a fingerprint), factorisation, penalty."""
    problem, model = objective.problem, objective.factorization
    return {
        "problem": type(problem).__name__,
        "shape": list(problem.shape),
        **problem.details(),
        "has_truth": problem.truth is not None,
        "data_sha256": fingerprint(problem),
        "factorization": type(model).__name__,
        "factorization_fields": static_fields(model),
        "factor_shapes": [list(shape) for shape in model.factor_shapes],
        "penalty": plain(objective.penalty),
    }


@functools.cache
def _versions() -> dict[str, str]:
    """Of the packages that decide over numbers; reading them takes milliseconds."""
    versions = {}
    for name in ("gradflow", "jax", "jaxlib", "diffrax", "optax", "numpy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def provenance() -> dict[str, Any]:
    """Versions of what computes, and on what."""
    device = jax.devices()[0]
    return {
        "versions": dict(_versions()),
        "python": platform.python_version(),
        "device": f"{device.platform}: {device.device_kind}",
    }
