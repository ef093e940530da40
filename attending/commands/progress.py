"""How far long work is, on standard error: bars in a terminal, now and then a line in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from attending.commands.showing import err
from attending.training.units import Progress as Done

FIRST_LINE_S = 10.0
"""Work that is done before this leaves no line in a log."""
BETWEEN_LINES_S = 60.0


@contextmanager
def stages() -> Iterator[Callable[[str, Done], None]]:
    """A bar per stage. Gives the function that is told of progress."""
    if not err.is_terminal:
        line = Lines(err_line)
        yield lambda stage, done: line.told(f"{stage}: {done.done} of {done.of}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        tasks: dict[str, object] = {}

        def told(stage: str, done: Done) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=done.of)
            progress.update(tasks[stage], completed=done.done)  # type: ignore[arg-type]

        yield told


@contextmanager
def share_of(what: str) -> Iterator[Callable[[str, float], None]]:
    """One bar for work whose parts are of unlike size. Gives the function that is told what is done and which share of all."""
    if not err.is_terminal:
        line = Lines(err_line)
        yield lambda now, done: line.told(f"{what}: {done:.0%}, {now}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        row = bar.add_task(what, total=1.0)
        yield lambda now, done: bar.update(row, description=now, completed=done)


class Lines:
    """Says the newest of what it is told, first after ten seconds and then once a minute."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock, self._began = say, clock, clock()
        self._next = self._began + FIRST_LINE_S

    def told(self, what: str) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + BETWEEN_LINES_S
            minutes, seconds = divmod(round(now - self._began), 60)
            self._say(f"{minutes}:{seconds:02} {what}")


def err_line(line: str) -> None:
    """One line of a log."""
    err.print(line, highlight=False, soft_wrap=True)
