"""What determines a result, as plain values, for the attributes of stored runs."""

import dataclasses
import functools
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import equinox as eqx
import jax
import numpy as np


def fingerprint(tree: Any) -> str:
    """SHA-256 of all arrays of a tree: shapes, precisions and values."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        if eqx.is_array_like(leaf):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def describe_function(function: Any) -> str:
    """A function's name; of a `functools.partial`, with the arguments it fixes."""
    if isinstance(function, functools.partial):
        fixed = [repr(value) for value in function.args]
        fixed += [f"{name}={value!r}" for name, value in function.keywords.items()]
        return f"{describe_function(function.func)}({', '.join(fixed)})"
    return getattr(function, "__qualname__", type(function).__name__)


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
    if eqx.is_array_like(value):
        return float(value) if np.ndim(value) == 0 else fingerprint(value)
    return describe_function(value) if callable(value) else repr(value)


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
