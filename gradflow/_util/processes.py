"""This process: its cores, its compiler, its memory; and the machine under it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

_QUICK_FLAGS = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
)
_KNOWN_BY = {
    "0.10": (*_QUICK_FLAGS, "--xla_cpu_use_fusion_emitters=false"),
    "0.11": _QUICK_FLAGS,
    "0.12": _QUICK_FLAGS,
}
"""jaxlib's version -> those of its flags; one that it does not know would end the process."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int | None:
    """Bytes of memory that this machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def compile_quickly() -> None:
    """Have programs compiled in half the time and run a tenth slower; before JAX computes.

    For sessions that run many small programs once each. Under a version of jaxlib whose flags are
    not known here nothing is done.
    """
    given = os.environ.get("XLA_FLAGS", "")
    known = _KNOWN_BY.get(".".join(version("jaxlib").split(".")[:2]), ())
    new = [flag for flag in known if flag.partition("=")[0] not in given]
    os.environ["XLA_FLAGS"] = " ".join([*given.split(), *new])


def take_core(number: int, of: int) -> None:
    """Keep this process on one core, if there are as many processes as cores.

    Compiled programs are half as fast again for it: their threads would otherwise run on cores that
    other processes need. Fewer processes stay free: two such pools would take the same cores.

    Args:
      number: which of the processes this is, from 0 on.
      of: how many there are.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = sorted(os.sched_getaffinity(0))
    if 1 < of == len(allowed):
        os.sched_setaffinity(0, {allowed[number % of]})


def next_number(counter: Any) -> int:
    """Draw a number from a `multiprocessing.Value` that several processes share."""
    with counter.get_lock():
        counter.value += 1
        return int(counter.value) - 1


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
