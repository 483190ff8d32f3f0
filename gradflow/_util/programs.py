"""The compiled programs of this process: they take memory maps, of which a process may have few."""

import gc
from functools import cache
from pathlib import Path
from typing import Any

import jax

_MAPS = Path("/proc/self/maps")
_ALLOWED = 55_000  # of Linux's 65,530: what is compiled before the next look needs some
_COMFORTABLE = 40_000  # where programs may be wanted again

MOST_MAPS = 20_000
"""Maps that programs may take where many unlike ones are compiled, one after the other."""

_LOOK_AFTER = 100
"""Programs compiled between two looks at the maps, which take up to 50 ms each."""


class _Known:
    """What this process has compiled since the last look, and the maps that are no programs."""

    compiled = 0
    others = 0


def forget_programs(most: int | None = None) -> bool:
    """Drop all compiled programs if they take more than so many memory maps; say whether.

    Linux ends a process that has 65,530 of them. A flow's program takes some 800, so a session that
    solves flows of a hundred shapes gets there. Where there is no such count, nothing is dropped.

    Args:
      most: memory maps to allow, beside those that the last such call could not give back;
        `MOST_MAPS` by default.
    """
    most = MOST_MAPS if most is None else most
    if _maps() <= min(most + _Known.others, _ALLOWED):
        return False
    jax.clear_caches()
    gc.collect()
    _Known.others = _maps()
    return True


def make_room() -> bool:
    """`forget_programs`, where many were compiled since the last call; engines call it first.

    So a session of many unlike runs does not end in a crash; what it needs again is compiled again,
    or read from JAX's persistent cache. A call where nothing was compiled costs nothing.

    Returns:
      Whether programs were dropped.
    """
    _count_programs()
    if _Known.compiled < _LOOK_AFTER:
        return False
    _Known.compiled = 0
    return forget_programs(_COMFORTABLE)


@cache
def _count_programs() -> None:
    def count(event: str, duration_secs: float, **kwargs: Any) -> None:
        _Known.compiled += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(count)


def _maps() -> int:
    """How many memory maps this process has; 0 where the system does not say."""
    return _MAPS.read_bytes().count(b"\n") if _MAPS.exists() else 0
