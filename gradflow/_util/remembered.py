"""What was found out about an object, for as long as it lives."""

import weakref
from typing import Any

_FOUND: dict[int, dict[Any, Any]] = {}


def remembered(thing: Any) -> dict[Any, Any]:
    """A dictionary that goes with an object: for what is dear to find out twice.

    It is kept by identity, since modules with arrays have no hash. It goes before the object's
    number can be another's, and two threads are given the same one.

    Args:
      thing: an object that can be referred to weakly.

    Example:
      >>> problem = type("Problem", (), {})()
      >>> remembered(problem)["norm"] = 2.0
      >>> remembered(problem)
      {'norm': 2.0}
    """
    key = id(thing)
    found = _FOUND.get(key)
    if found is None:
        found = _FOUND.setdefault(key, {})
        weakref.finalize(thing, _FOUND.pop, key, None).atexit = False
    return found
