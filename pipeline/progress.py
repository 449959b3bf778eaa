"""Progress bars and notes on standard error, so that standard output holds results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Report = Callable[[float, str], None]

console = Console(stderr=True, highlight=False)


def say(sentence: str) -> None:
    """One line for the user."""
    console.print(sentence, markup=False)


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
