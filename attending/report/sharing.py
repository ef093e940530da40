"""What a report may show outside: counts of patients under 5 hidden, and enough beside them that none can be worked out.

Result rows go through `evaluation.sharing`; here are the other tables of a report. Counts of records in the flow (rows read,
rows refused) are no counts of patients by a characteristic and stay as they are, so that rows in = rows used + rows reported.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from attending.evaluation.sharing import FEWEST, hidden_classes, shareable, suppress
from attending.report.report import Events, Flow, Held, Part, Pattern, Report, Rounds

TOLD_BY_RESULTS = "test"
"""The part whose events stand beside every result."""
MOST_PATTERNS = 15
"""Patterns that are shown one by one; rarer ones are pooled."""


@dataclass(frozen=True, kw_only=True)
class SharedPattern:
    """A pattern as it may be shown; None is a hidden count. `pooled` counts the patterns that were put together."""

    present: tuple[str, ...]
    n: int | None
    events: int | None
    pooled: int = 0


def shared(report: Report) -> Report:
    """The same report as it may be shown outside. Curves of a finding with under 5 cases of a class, in all
    or among the judged, would tell their number."""
    hidden = _hidden(report.flow.findings)
    results = shareable(report.results)
    judged = {
        row.finding for row in results if row.metric == "auroc" and (row.slice, row.comparator, row.n) == (None, None, None)
    }
    privacy = report.privacy
    if privacy is not None:
        counts = {name: None if count is not None and 0 < count < FEWEST else count for name, count in privacy.counts.items()}
        privacy = replace(privacy, counts=counts)
    return replace(
        report,
        results=results,
        flow=_shared_flow(report.flow, hidden),
        curves=tuple(one for one in report.curves if one.finding not in hidden | judged),
        privacy=privacy,
    )


def _shared_flow(flow: Flow, hidden: Collection[str]) -> Flow:
    """The flow with the events of `hidden` findings, and of parts, rounds and kinds of evidence that are small, left untold."""
    return replace(
        flow,
        findings=tuple(replace(one, events=None) if one.finding in hidden else one for one in flow.findings),
        held=tuple(_shared_held(one, flow.cases) for one in flow.held),
        parts=_shared_parts(flow.parts, hidden),
        rounds=None if flow.rounds is None else _shared_rounds(flow.rounds, hidden),
    )


def _shared_held(one: Held, n: int) -> Held:
    is_small = one.cases is not None and (0 < one.cases < FEWEST or 0 < n - one.cases < FEWEST)
    return replace(one, cases=None) if is_small else one


def _shared_parts(parts: Sequence[Part], hidden: Collection[str]) -> tuple[Part, ...]:
    """Where a part has under 5 of a class its events are hidden, and those of all parts but test, whose counts the results
    tell: beside the total none of several can be worked out."""
    small_in = {part.name: {*hidden, *_hidden(part.findings)} for part in parts}
    untold: set[tuple[str, str]] = set()
    for finding in [one.finding for part in parts[:1] for one in part.findings]:
        small = {part.name for part in parts if finding in small_in[part.name]}
        if small:
            untold |= {(part.name, finding) for part in parts if part.name != TOLD_BY_RESULTS or part.name in small}
    return tuple(
        replace(
            part,
            findings=tuple(replace(one, events=None) if (part.name, one.finding) in untold else one for one in part.findings),
        )
        for part in parts
    )


def _shared_rounds(rounds: Rounds, hidden: Collection[str]) -> Rounds:
    def told(finding: str, n: int | None) -> int | None:
        return None if n is None or n < FEWEST or finding in hidden else n

    return replace(
        rounds, events={finding: (told(finding, low), told(finding, high)) for finding, (low, high) in rounds.events.items()}
    )


def _hidden(findings: Sequence[Events]) -> set[str]:
    """Findings of which the number of events may not be told."""
    told = [one for one in findings if one.events is not None]
    events = {one.finding: one.events or 0 for one in told}
    return {one.finding for one in findings if one.events is None} | hidden_classes(
        events, {one.finding: one.known for one in told}
    )


def shared_patterns(patterns: Sequence[Pattern]) -> tuple[SharedPattern, ...]:
    """Patterns by size; those under 5 cases, and beyond the fifteenth, pooled.

    The next smallest joins where the pool itself would be under 5. Events are hidden where they, or the cases without, are
    under 5 (with complementary suppression).
    """
    ordered = sorted(patterns, key=lambda pattern: (-pattern.n, pattern.present))
    kept = [pattern for pattern in ordered[:MOST_PATTERNS] if pattern.n >= FEWEST]
    pool = ordered[len(kept) :]
    while pool and sum(pattern.n for pattern in pool) < FEWEST and kept:
        pool.append(kept.pop())
    rows = [(one.present, one.n, one.known, one.events, 0) for one in kept]
    if pool:
        totals = tuple(sum(getattr(one, name) for one in pool) for name in ("n", "known", "events"))
        rows.append(((), *totals, len(pool)))
    if not rows:
        return ()
    table = suppress([[events, known - events, n - known] for _, n, known, events, _ in rows])
    return tuple(
        SharedPattern(
            present=present,
            n=n if n >= FEWEST else None,
            events=events if None not in hidden[:2] and n >= FEWEST else None,
            pooled=pooled,
        )
        for (present, n, _, events, pooled), hidden in zip(rows, table, strict=True)
    )


def shared_counts(counts: Sequence[int]) -> list[int | None]:
    """A row of counts whose total is known: those from 1 to 4 hidden, and the next smallest while they could be worked out."""
    hidden = {place for place, number in enumerate(counts) if 0 < number < FEWEST}
    shown = sorted((number, place) for place, number in enumerate(counts) if number >= FEWEST)
    while hidden and shown and _follows([counts[place] for place in hidden]):
        hidden.add(shown.pop(0)[1])
    return [None if place in hidden else int(number) for place, number in enumerate(counts)]


def _follows(counts: Sequence[int]) -> bool:
    """Whether hidden counts (each at least 1) are all told by their sum."""
    return len(counts) == 1 or sum(counts) == len(counts)
