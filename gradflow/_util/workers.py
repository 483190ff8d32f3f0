"""Processes that compute for this one: they end with it, however it ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def worker_pool(
    count: int, prepare: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Processes as an executor.

    Each takes a core, leaves interrupts from the keyboard to this process, and ends once this one
    is gone. When the block is left by an exception, they are ended at once.

    Args:
      count: how many.
      prepare: called in each as it begins, after it has taken its core.
      arguments: for `prepare`.
    """
    context = multiprocessing.get_context("spawn")
    pool = _Pool(
        count,
        mp_context=context,
        initializer=_begin,
        initargs=(context.Value("i", 0), count, prepare, arguments),
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Pool(ProcessPoolExecutor):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start processes with interrupts blocked: a new one would say much before it begins."""
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(fn, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(
    counter: Any, of: int, prepare: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    from gradflow._util.logs import listen
    from gradflow._util.processes import next_number, take_core

    listen()
    take_core(next_number(counter), of)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Known from the moment of the start on, unlike the id that getppid() gives.
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if prepare is not None:
        prepare(*arguments)
