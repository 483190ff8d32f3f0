"""Notes of where a run is, beside the cells that it fills."""

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from gradflow.sweeps import layout

_HEARTBEAT = 0.5  # seconds between two notes of a run in flight
_LARGEST = 100_000  # bytes of a note that is looked at
_RENEWED = 20.0  # seconds after which a note is renewed though nothing was told


class Heartbeat:
    """Notes where a run is, in a small file beside the cells that `gradflow status` can read.

    The note is renewed when the run tells of itself, and while it does not, as in a flow or a
    compilation, by a thread that ends with `end`.

    Args:
      folder: of the store.
      name: of the run.
      label: what to call it.
    """

    def __init__(self, folder: Path, name: str, label: str):
        self.path = layout.note(folder, name)
        self.label, self.iteration, self.loss = label, 0, float("nan")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.write()
        self.thread = threading.Thread(target=self._go_on, daemon=True)
        self.thread.start()

    def __call__(self, iteration: int, loss: float) -> None:
        """Take note of an iteration and its loss."""
        self.iteration, self.loss = iteration, loss
        if time.monotonic() - self.written >= _HEARTBEAT:
            self.write()

    def write(self) -> None:
        """Write the note."""
        from gradflow._util.files import whole_file

        self.written = time.monotonic()
        note = {
            "label": self.label,
            "iteration": self.iteration,
            "loss": self.loss,
            "time": time.time(),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }
        try:
            with self.lock, whole_file(self.path, durable=False) as temporary:
                temporary.write_text(json.dumps(note))
        except OSError:
            pass  # a note only; a disk that is really full is told when the cell is stored

    def end(self) -> None:
        """Take the note away."""
        self.ended.set()
        self.thread.join()
        self.path.unlink(missing_ok=True)

    def _go_on(self) -> None:
        while not self.ended.wait(_RENEWED):
            self.write()


def in_flight(folder: Path, fresh: float = 60.0) -> list[dict[str, Any]]:
    """The notes of runs that are alive, by label; what is no such note is passed over."""
    notes = []
    for path in layout.notes(folder):
        try:
            with path.open("rb") as file:
                note = _checked(json.loads(file.read(_LARGEST)))
        except (OSError, ValueError, RecursionError):
            continue
        if note is not None and time.time() - note["time"] < fresh:
            notes.append(note)
    return sorted(notes, key=lambda note: note["label"])


def _checked(note: Any) -> dict[str, Any] | None:
    """A note as `Heartbeat` writes it, its texts without what would steer a terminal; or None."""
    if not isinstance(note, dict):
        return None
    kinds = {"label": str, "iteration": int, "loss": (float, int), "time": (float, int)}
    found = {}
    for name, kind in (kinds | {"worker": str}).items():
        value = note.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            return None
        if isinstance(value, str):
            value = "".join(c if c.isprintable() else "?" for c in value[:200])
        elif isinstance(value, int) and abs(value) >= 10**300:
            return None
        found[name] = value
    return found
