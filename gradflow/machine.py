"""What this process runs on."""

import os
import platform
from pathlib import Path


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """The model as the system names it, with family and model number where the name says little."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or platform.machine()
    lines = path.read_text().split("\n\n")[0].splitlines()
    known = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    name = known.get("model name", platform.machine())
    if "cpu family" in known:
        name += f" (family {known['cpu family']}, model {known.get('model', '?')})"
    return name
