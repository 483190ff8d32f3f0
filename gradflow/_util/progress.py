"""Progress on the terminal: a bar for a descent or a search, time and loss for a flow."""

import itertools
import math
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_HANDLES = itertools.count()
_OPEN: dict[int, "FlowProgress"] = {}


def console() -> Console | None:
    """Where bars are drawn: None for rich's own choice.

    In a notebook rich draws with ipywidgets; where they are not installed it warns and draws
    nothing. There bars are text on stderr, over which the next one is written.
    """
    if Console().is_jupyter and find_spec("ipywidgets") is None:
        return Console(file=sys.stderr, force_jupyter=False, width=100)
    return None


class FlowProgress:
    """A live line for one flow, fed from inside the compiled loop by `report`.

    The bar shows how much of the way from the first loss to the stopping loss is done, on a log
    scale.

    Args:
      show: draw the line; or the function to call instead, with step and loss.
      stop_loss: where the bar ends.
    """

    def __init__(self, show: bool | Callable[[int, float], None], stop_loss: float | None):
        self.handle = next(_HANDLES) if show else -1
        self.on_progress = show if callable(show) else None
        self.stop_loss = stop_loss
        self.first: float | None = None
        self.bar = (
            Progress(
                SpinnerColumn(),
                TextColumn("flow"),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=console(),
            )
            if show is True
            else None
        )
        self.task: Any = None

    def __enter__(self) -> "FlowProgress":
        if self.bar is not None:
            self.bar.start()
            total = 1.0 if self.stop_loss else None
            self.task = self.bar.add_task("starting", total=total)
        if self.handle >= 0:
            _OPEN[self.handle] = self
        return self

    def __exit__(self, *_: Any) -> None:
        if self.handle >= 0:
            jax.effects_barrier()
            _OPEN.pop(self.handle, None)
        if self.bar is not None:
            self.bar.stop()

    def update(self, t: float, loss: float, steps: int) -> None:
        """Show a record."""
        if self.on_progress is not None:
            self.on_progress(steps, loss)
        if self.bar is None:
            return
        self.first = self.first or loss
        done = None
        if self.stop_loss and loss > 0 and self.first > self.stop_loss:
            done = math.log(self.first / loss) / math.log(self.first / self.stop_loss)
        text = f"t = {t:.3g}, loss = {loss:.3e}, {steps} steps"
        self.bar.update(self.task, description=text, completed=done)


def report(handle: Any, t: Any, loss: Any, steps: Any, valid: Any) -> None:
    """Call from traced code: sends a record to the open progress line with this handle."""
    jax.debug.callback(_receive, handle, t, loss, steps, valid)


def _receive(handle: Any, t: Any, loss: Any, steps: Any, valid: Any) -> None:
    line = _OPEN.get(int(handle))
    if line is not None and bool(valid):
        line.update(float(t), float(loss), int(steps))


class DescentProgress:
    """A progress bar over iterations, or nothing; entering it gives what to call with news.

    Args:
      show: draw the bar; or the function to call instead.
      steps: iterations at the end of the bar.
    """

    def __init__(self, show: bool | Callable[[int, float], None], steps: int):
        self.on_progress = show if callable(show) else lambda count, loss: None
        self.bar = (
            Progress(
                TextColumn("descent"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=console(),
            )
            if show is True
            else None
        )
        self.steps = steps

    def __enter__(self) -> Callable[[int, float], None]:
        if self.bar is None:
            return self.on_progress
        self.bar.start()
        task = self.bar.add_task("", total=self.steps)
        bar = self.bar
        return lambda count, loss: bar.update(
            task, completed=count, description=f"loss = {loss:.3e}"
        )

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.stop()


class SearchProgress:
    """A bar for a search, or nothing; entering it gives what to call with news.

    Args:
      show: draw the bar; or the function to call instead, with a count and the least margin.
      seconds: when the search ends, if that ends it.
      count: how many it looks at, if that does.
    """

    def __init__(
        self,
        show: bool | Callable[[int, float], None],
        seconds: float | None,
        count: int | None,
    ):
        self.on_progress = show if callable(show) else lambda count, margin: None
        self.bar = (
            Progress(
                TextColumn("search"), BarColumn(), TextColumn("{task.description}"),
                TimeElapsedColumn(), console=console(),
            )
            if show is True
            else None
        )  # fmt: skip
        self.seconds, self.count = seconds, count

    def __enter__(self) -> Callable[[int, float], None]:
        if self.bar is None:
            return self.on_progress
        self.bar.start()
        bar, begun = self.bar, time.monotonic()
        task = bar.add_task("", total=1.0)

        def show(count: int, margin: float) -> None:
            shares = [(time.monotonic() - begun) / self.seconds] if self.seconds else []
            shares += [count / self.count] if self.count else []
            text = f"{count} problems, least margin {margin:.2g}"
            bar.update(task, completed=min(max(shares), 1.0), description=text)

        return show

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.stop()
