"""Progress of a sweep: one bar, and the figures of the cells in flight."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gradflow._util.tables import span
from gradflow._util.terminal import console
from gradflow.sweeps.heartbeat import in_flight

_PLAIN = 10.0  # seconds between two lines where the output is no terminal
_LOOK = 0.5  # seconds between two looks at a run of this process


class Display:
    """A bar for the experiment and a line for each cell in flight; plain lines into a file.

    Args:
      title: of the bar.
      total: cells.
      there: cells that were there before.
      folder: of the store, where workers leave notes.
      show: False for silence.
    """

    def __init__(self, title: str, total: int, there: int, folder: Path, show: bool):
        self.title, self.total, self.there, self.folder = title, total, there, folder
        self.console = console()
        self.show, self.rich = show, show and self.console.is_terminal
        self.began = self.told = time.monotonic()
        self.live: Any = None
        self.one_at_a_time = threading.Lock()

    def __enter__(self) -> "Display":
        if self.rich:
            self.bar = Progress(
                TextColumn(self.title),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )
            self.task = self.bar.add_task("", total=self.total, completed=self.there)
            self.live = Live(self._picture(), console=self.console, transient=True)
            self.live.start()
        elif self.show:
            already = f", {self.there} are there" if self.there else ""
            print(f"{self.title}: {self.total} cells{already}", flush=True)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live is not None:
            self.live.stop()

    @contextmanager
    def watching(self, counts: Callable[[], tuple[int, int]]) -> Iterator[None]:
        """Show how far it is while this process computes.

        Args:
          counts: cells done and failed now.
        """
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK):
                self.update(*counts())

        watch = threading.Thread(target=look, daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()

    def update(self, done: int, failed: int) -> None:
        """Show how far it is: cells done and failed now."""
        if self.show:
            with self.one_at_a_time:
                self._tell(done, failed)

    def _tell(self, done: int, failed: int) -> None:
        left = self._left(done, failed)
        if self.rich:
            text = f"about {left} left" if left else ""
            self.bar.update(
                self.task,
                completed=self.there + done + failed,
                description=f"{text}{f', {failed} failed' if failed else ''}",
            )
            self.live.update(self._picture())
            return
        finished = self.there + done + failed == self.total
        if time.monotonic() - self.told < _PLAIN and not finished:
            return
        self.told = time.monotonic()
        notes = "; ".join(_line(note) for note in in_flight(self.folder)[:4])
        seconds = time.monotonic() - self.began
        print(
            f"{self.there + done}/{self.total} cells, {seconds:.0f} s"
            f"{f', {failed} failed' if failed else ''}{f', about {left} left' if left else ''}"
            f"{f' [{notes}]' if notes else ''}",
            flush=True,
        )

    def _left(self, done: int, failed: int) -> str:
        if done + failed == 0 or self.there + done + failed >= self.total:
            return ""
        seconds = (time.monotonic() - self.began) / (done + failed)
        return span(seconds * (self.total - self.there - done - failed))

    def _picture(self) -> Group:
        table = Table(box=None, padding=(0, 2), show_header=False)
        for note in in_flight(self.folder)[:12]:
            table.add_row(note["label"], *_state(note))
        return Group(self.bar, table)


def _line(note: dict[str, Any]) -> str:
    return f"{note['label']}: {', '.join(filter(None, _state(note)))}"


def _state(note: dict[str, Any]) -> tuple[str, str]:
    """Where a run is; one that has told of nothing yet is starting (compiling, mostly)."""
    if note["iteration"] == 0 and math.isnan(note["loss"]):
        return "starting", ""
    return f"iteration {note['iteration']:,}", f"loss {note['loss']:.3e}"
