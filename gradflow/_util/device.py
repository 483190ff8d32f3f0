"""Where this process computes: chosen before JAX starts its devices."""

import os
from typing import Any, Literal

Device = Literal["cpu", "gpu", "tpu"]

ROOM = 2**28
"""Bytes that an accelerator must have free to begin with."""


def choose(device: Device) -> None:
    """Have JAX start this device in this process and no other; before it computes.

    An accelerator's memory is taken as it is needed, unless XLA_PYTHON_CLIENT_PREALLOCATE says
    otherwise: JAX would reserve three quarters of it, and another process find none.

    Args:
      device: where to compute.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    # Whatever JAX_PLATFORMS says: the command that was called knows better.
    jax.config.update("jax_platforms", "cpu" if device == "cpu" else None)


def see(device: Device) -> None:
    """Start the device.

    Raises:
      RuntimeError: if it is not there, or has no room.
    """
    import jax

    try:
        jax.devices(device)
    except RuntimeError as error:
        raise RuntimeError(
            f"There is no {device} here that JAX can use ({str(error).splitlines()[0]}); "
            "choose another --device, or install the JAX that belongs to it."
        ) from None
    if device == "cpu":
        return
    try:
        _take(ROOM)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise RuntimeError(
            f"The {device} has less than {ROOM >> 20} MB of memory left: another program holds it. "
            "End that one, or choose --device cpu."
        ) from None


def _take(size: int) -> None:
    """Allocate so many bytes on the first device, and let them go."""
    import jax.numpy as jnp

    jnp.zeros(size, jnp.uint8).block_until_ready()


def set_up(device: Device) -> None:
    """Choose device, precision and threads; before JAX is used in this process.

    Args:
      device: where to compute.

    Raises:
      RuntimeError: if the device is not there, or has no room.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    flags = os.environ.get("XLA_FLAGS", "")
    if device == "cpu" and "multi_thread_eigen" not in flags:
        # One thread a process: there are as many processes as cores.
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    choose(device)
    import jax

    jax.config.update("jax_enable_x64", True)
    see(device)


def present(device: Device) -> str | None:
    """What is wrong with the device here; None if nothing is."""
    try:
        set_up(device)
    except RuntimeError as error:
        return str(error)
    return None


def out_of_memory(error: Any) -> bool:
    """Whether an error is that of a device whose memory does not suffice."""
    said = str(error)
    return isinstance(error, MemoryError) or (
        type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
        and ("RESOURCE_EXHAUSTED" in said or "out of memory" in said.lower())
    )
