"""Ctrl-C and SIGTERM: a command ends within seconds, whatever compiled code is at, and says so."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 3.0  # seconds for compiled code to let go
_ORDERLY = 30.0  # seconds to put away what was finished

_KEPT = "what was finished is kept."
_LAST_WORDS: list[Callable[[], str]] = []


class Stopped(KeyboardInterrupt):
    """The process was asked to end.

    Attributes:
      code: the exit code, 128 and the signal's number.
      words: what became of what was finished.
    """

    def __init__(self, number: int):
        super().__init__()
        self.code = 128 + number
        self.words = _KEPT


@contextmanager
def last_words(function: Callable[[], str]) -> Iterator[None]:
    """While the block runs, have what was finished kept by `function` if the process is stopped.

    Args:
      function: keeps it, and says in how far. Where compiled code does not let go, another thread
        calls it.
    """
    _LAST_WORDS.append(function)
    try:
        yield
    except Stopped as stop:
        stop.words = function()
        raise
    finally:
        _LAST_WORDS.remove(function)


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Turn both signals into `Stopped`, raised in this thread, which must be the main one.

    Compiled code is not interrupted by an exception. If it does not let go within a few seconds, a
    second thread ends the process; its workers see that and end, too. A second signal ends it at
    once, and so does one while a module is imported: extensions that are cut short there crash, or
    turn the exception into another. What the process ignores (as under nohup), it goes on ignoring.

    Yields:
      An event to set once the exception was taken note of, for more time to end in order.
    """
    taken, over = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield taken
        return
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if asked:
            os._exit(128 + asked[0])
        asked.append(number)
        if _imports(frame):
            _end(number)
        raise Stopped(number)

    before = {n: signal.getsignal(n) for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN}
    read, write = os.pipe()
    if hasattr(os, "set_blocking"):  # Windows has it from Python 3.12 on, and needs it not
        os.set_blocking(write, False)
    for number in before:
        signal.signal(number, stop)
    # Python's own handler runs between two bytecodes only; this is told of a signal at once.
    told = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(read, set(before), taken, over), daemon=True)
    watcher.start()
    try:
        yield taken
    finally:
        signal.set_wakeup_fd(told)
        for number, handler in before.items():
            signal.signal(number, handler)
        over.set()
        os.close(write)
        watcher.join()
        os.close(read)


def _watch(read: int, numbers: set[int], taken: threading.Event, over: threading.Event) -> None:
    while (byte := os.read(read, 1)) and byte[0] not in numbers:
        pass
    if byte and not over.wait(_GRACE) and not (taken.is_set() and over.wait(_ORDERLY)):
        _end(byte[0])


def _end(number: int) -> None:
    """Keep what was finished, say so, and end the process whatever else it is at."""
    kept = _LAST_WORDS[-1]() if _LAST_WORDS else _KEPT
    os.write(2, f"gradflow: stopped; {kept}\n".encode())
    os._exit(128 + number)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported in this frame or around it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
