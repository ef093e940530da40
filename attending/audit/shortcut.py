"""What a model of one circumstance alone reaches: site, source, scanner, projection, file, border of a film, missingness.

These are the forced baselines of the audit: told whether they alarm or not, because "0.52, between 0.44 and 0.61" is an answer
too. What follows from them is said by findings.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attending.audit.ranking import Ranking


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """AUROC of one input alone for one finding, with both ends of its adjusted interval.

    `input` says in words what was looked at, such as `the column "site"`; `n` cases, `events` among them. `is_alarm`: a finding
    of `check` tells of it.
    """

    trap: str
    check: str
    input: str
    finding: str
    auroc: float
    low: float
    high: float
    n: int
    events: int
    is_alarm: bool

    def to_plain(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def shortcut_of(ranking: Ranking, *, trap: str, check: str, input: str, least: float) -> Shortcut:
    """A ranking under the name of what was looked at; it alarms from an AUROC of `least` on."""
    return Shortcut(
        trap=trap,
        check=check,
        input=input,
        finding=ranking.finding,
        auroc=ranking.area,
        low=ranking.low,
        high=ranking.high,
        n=ranking.n,
        events=ranking.events,
        is_alarm=ranking.alarms(least),
    )


def strongest(shortcuts: Sequence[Shortcut]) -> tuple[tuple[Shortcut, int], ...]:
    """Of each input the finding that it ranks most surely, and for how many findings it was asked; the surest input first."""
    held: dict[tuple[str, str], list[Shortcut]] = {}
    for one in shortcuts:
        held.setdefault((one.trap, one.input), []).append(one)
    best = [(max(asked, key=lambda one: (one.is_alarm, one.low, one.auroc)), len(asked)) for asked in held.values()]
    return tuple(sorted(best, key=lambda one: -one[0].low))
