"""Compiled programs that a long session no longer needs."""

import gc
from pathlib import Path

import jax

_MAPS = Path("/proc/self/maps")


def forget_programs(most: int = 20_000) -> bool:
    """Drop all compiled programs if they take more than so many memory maps; say whether.

    Linux ends a process that has 65,530 of them. A flow's program takes some 800, so a session that
    solves flows of a hundred shapes gets there. Where there is no such count, nothing is dropped.

    Args:
      most: memory maps to allow.
    """
    if not _MAPS.exists() or _MAPS.read_bytes().count(b"\n") <= most:
        return False
    jax.clear_caches()
    gc.collect()
    return True
