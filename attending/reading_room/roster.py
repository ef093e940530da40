"""The cases of a table, in its order: their hashed ids at once, their evidence when it is asked for.

Reads exactly as `attending predict` reads. Ids are known from the start, so that a link to any case can be answered; of the
evidence, that of some dozen cases is held. Knows no model and no HTTP; its calls read files and take their time.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np

from attending.case import Case, CaseId, kind_name
from attending.privacy.ids import hashed
from attending.records.rows import who_and_when
from attending.streaming import Stream

MOST_HELD = 48
"""Cases whose evidence is held: films of 512 × 512 take a megabyte each."""
AT_ONCE = 4
"""Cases read together where one after the other is looked at."""


class RosterError(ValueError):
    """The table is no longer what it was when it was opened."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Cases that were looked for, by their number, and the number from which to look on (None: the table has ended)."""

    numbers: tuple[int, ...]
    onward: int | None


class Roster:
    """The cases by number, which counts from 0 in the order of the table."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.name = stream.plan.table.name
        self.ids = _ids(stream)
        self._number = {id: number for number, id in enumerate(self.ids)}
        self._held: OrderedDict[int, Case] = OrderedDict()
        self._stamp = self._stamped()
        self._kinds: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def number_of(self, id: str) -> int | None:
        """The case of this hashed id; None for no case of the table."""
        return self._number.get(CaseId(id))

    def case(self, number: int) -> Case:
        """One case."""
        return self.cases([number])[0]

    def cases(self, numbers: Sequence[int]) -> tuple[Case, ...]:
        """Cases by their numbers, in that order; neighbours in the table are read together."""
        if self._stamped() != self._stamp:  # places of rows were noted when it was opened
            raise RosterError(f"{self.name} has changed since it was opened; start the service again")
        found = {number: self._held[number] for number in numbers if number in self._held}
        for start, stop in _runs(sorted(set(numbers) - found.keys())):
            for number, case in zip(range(start, stop), self.stream.take_in(start, stop).intake.cases, strict=True):
                assert case.id == self.ids[number], "a case has another id than its row"
                found[number] = case
                self._kinds[number] = tuple(dict.fromkeys(kind_name(type(evidence)) for evidence in case.evidence))
        for number, case in found.items():
            self._held[number] = case
            self._held.move_to_end(number)
        while len(self._held) > MOST_HELD:
            self._held.popitem(last=False)
        return tuple(found[number] for number in numbers)

    def looking_for(
        self, *, start: int, most: int, id_holds: str = "", has: str = "", lacks: str = "", patience_seconds: float = 1.0
    ) -> Found:
        """Up to `most` cases from number `start` on: part of their id, a kind of evidence that is there, one that is not.

        Evidence is only known of cases that were read. Once that has taken `patience_seconds` the looking stops and says where.
        """
        numbers: list[int] = []
        until = monotonic() + patience_seconds
        for number in range(start, len(self)):
            if len(numbers) == most or (number > start and number not in self._kinds and monotonic() > until):
                return Found(numbers=tuple(numbers), onward=number)
            if id_holds not in self.ids[number]:
                continue
            if has or lacks:
                kinds = self.kinds_of(number)
                if (has and has not in kinds) or (lacks and lacks in kinds):
                    continue
            numbers.append(number)
        return Found(numbers=tuple(numbers), onward=None)

    def _stamped(self) -> tuple[int, int] | None:
        """Size and time of the table's file; None where it is gone."""
        try:
            found = self.stream.plan.table.path.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def kinds_of(self, number: int) -> tuple[str, ...]:
        """The kinds of evidence that a case has, by name; read if it was not yet."""
        if number not in self._kinds:
            self.cases(range(number, min(number + AT_ONCE, len(self))))
        return self._kinds[number]


def _ids(stream: Stream) -> tuple[CaseId, ...]:
    """The hashed id of every case, from the ids of its first row alone. The same as those of `take_in`."""
    plan = stream.plan
    first = plan.rows[plan.starts[:-1]]
    order = np.argsort(first)
    found: list[CaseId] = [CaseId("")] * len(plan)
    for at, batch in plan.table.batches(plan.naming):
        low, high = np.searchsorted(first[order], [at[0], at[-1] + 1])
        _, names, _, _ = who_and_when(batch, stream.schema)
        for case in order[low:high]:
            name = names[int(first[case] - at[0])]
            assert name is not None, "a row that makes a case has an id"
            found[int(case)] = CaseId(hashed(name, key=stream.key, kind="case"))
    return tuple(found)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, one past the last) of those that follow each other."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found
