"""The rows of the list: what evidence each case has and what the model answers, read a few cases at a time behind the page.

A page of the list does not wait for large films: it shows what is there, and the rest as soon as it has been read. What was
once found out about a case is kept, so that no page is read twice.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from attending.case import Case
from attending.reading_room.asking import Asking, looked_at
from attending.reading_room.roster import Roster
from attending.service.worker import Answered

Reading = Callable[[Callable[[], tuple[Case, ...]]], Awaitable[tuple[Case, ...]]]
"""Has something done that reads files, and gives what came of it."""
MOST_KEPT = 20_000
AT_ONCE = 4
"""Cases read together: whoever opens a case meanwhile waits for so many at most."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the list shows of a case: the kinds of its evidence, and the answer."""

    kinds: tuple[str, ...]
    answered: Answered


class Listing:
    """Rows by the number of their case. `read` does the reading, away from the event loop."""

    def __init__(self, roster: Roster, asking: Asking, read: Reading) -> None:
        self.roster, self.asking, self._read = roster, asking, read
        self._rows: OrderedDict[int, Row] = OrderedDict()
        self._under_way: dict[int, asyncio.Task[None]] = {}

    async def rows(self, numbers: Sequence[int], *, within_seconds: float) -> tuple[Row | None, ...]:
        """Those rows that are there in time; the others go on being read. Raises what reading them raised."""
        new = [number for number in numbers if number not in self._rows and number not in self._under_way]
        if new:
            task = asyncio.ensure_future(self._fill(new))
            task.add_done_callback(looked_at)
            self._under_way |= dict.fromkeys(new, task)
        waited_for = {self._under_way[number] for number in numbers if number in self._under_way}
        if waited_for:
            done, _ = await asyncio.wait(waited_for, timeout=within_seconds)
            for each in done:
                each.result()
        return tuple(self._rows.get(number) for number in numbers)

    async def _fill(self, numbers: Sequence[int]) -> None:
        try:
            for start in range(0, len(numbers), AT_ONCE):
                some = numbers[start : start + AT_ONCE]
                cases = await self._read(partial(self.roster.cases, some))
                answers = await asyncio.gather(*(self.asking.answer(case) for case in cases))
                for number, answered in zip(some, answers, strict=True):
                    self._rows[number] = Row(kinds=self.roster.kinds_of(number), answered=answered)
            while len(self._rows) > MOST_KEPT:
                self._rows.popitem(last=False)
        finally:
            for number in numbers:
                del self._under_way[number]
