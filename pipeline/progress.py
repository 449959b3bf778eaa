"""Progress bars and notes on standard error, so that standard output holds results alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Report = Callable[[float, str], None]

SECONDS_BETWEEN_LINES = 60
console = Console(stderr=True, highlight=False)


def say(sentence: str) -> None:
    """One line for the user."""
    console.print(sentence, markup=False)


def said_steps() -> Callable[[str], None]:
    """A function that says each step of a long work with the seconds since it began."""
    began = time.monotonic()

    def step(sentence: str) -> None:
        say(f"{time.monotonic() - began:5.0f} s  {sentence}")

    return step


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A bar that is told (fraction, text); it leaves when the work is done. None is drawn but in a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=1.0, note="")

        def report(fraction: float, note: str) -> None:
            progress.update(task, completed=fraction, note=note)

        yield report


class Pace:
    """How fast blocks are made: what is done, how fast, and how long the rest takes, as one line."""

    def __init__(self, count: int, block_um3: float) -> None:
        self._count, self._block_um3 = count, block_um3
        self._start = time.monotonic()
        self.made = self.found = self.failed = 0

    @property
    def done(self) -> int:
        """Blocks that are finished, were there before, or were given up."""
        return self.made + self.found + self.failed

    def line(self) -> str:
        """For instance `37 of 1000 blocks, 1 failed, 45 blocks/h, 6.6 µm³/min, 21:24 h left`."""
        words = [f"{self.done} of {self._count} blocks"]
        if self.failed:
            words.append(f"{self.failed} failed")
        # Blocks that were there before took no time, so they say nothing of the others.
        worked, seconds = self.made + self.failed, time.monotonic() - self._start
        if worked:
            per_hour = 3600 * worked / seconds
            words.append(f"{per_hour:.3g} blocks/h, {per_hour / 60 * self._block_um3:.3g} µm³/min")
            minutes = round((self._count - self.done) / per_hour * 60)
            words.append(f"{minutes // 60}:{minutes % 60:02} h left")
        return ", ".join(words)


@contextmanager
def block_bar(count: int, block_um3: float) -> Iterator[Callable[[bool, bool], None]]:
    """A bar over `count` blocks of so many µm³ that is told of each whether it was found and whether it failed.

    Outside a terminal (a batch job's log) it is a line a minute instead.
    """
    pace = Pace(count, block_um3)
    said = time.monotonic()
    columns = (BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=count, note=pace.line())

        def report(found: bool, failed: bool) -> None:
            nonlocal said
            pace.found += found
            pace.failed += failed
            pace.made += not (found or failed)
            progress.update(task, completed=pace.done, note=pace.line())
            if not console.is_terminal and time.monotonic() - said >= SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                say(pace.line())

        yield report
