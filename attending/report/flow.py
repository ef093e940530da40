"""The flow of participants as guidance shows it, in words for `drawing.flow`: read, excluded and why, analysed, parted.

Says what the shared report holds and counts nothing; every number stands in `report.json` under "flow" (those of sites under
"results").
"""

from collections.abc import Sequence

from attending.drawing import Stage, Step, flow_diagram
from attending.report.ledger import Ledger
from attending.report.report import LEFT_OUT, Events, Flow, Part, Refusal, Report, Rounds
from attending.report.words import count

MOST_FINDINGS, MOST_SITES, MOST_REASONS = 6, 6, 6
"""Findings and sites that are told one by one where they are few, and reasons before the rest is told together."""
JUDGED = "test"
"""The part of a split that the results are of."""
PURPOSES = {
    "train": "fits the weights",
    "tune": "ends the training",
    "calibrate": "calibrates, sets thresholds",
    "test": "is judged",
}


def flow_figure(report: Report) -> str:
    """The diagram of a report that has been through `sharing.shared`."""
    return flow_diagram(stages_of(report), ends_of(report), title="Flow of participants")


def stages_of(report: Report) -> tuple[Stage, ...]:
    """From what was read to who was analysed, with what leaves on the way."""
    flow = report.flow
    stages = []
    if flow.rows is None:
        stages.append(Stage(step=Step(headline="Rows read and left out: a predictions file does not say")))
    else:
        stages.append(Stage(step=Step(headline=f"{_counted(flow.rows, 'row')} read"), leaves=_left_out(flow)))
    n_charts = flow.cases + flow.cases_unlabelled
    if flow.rows_joined:
        joined = f"{_counted(flow.rows_joined, 'row')} joined to another row of the same case"
        stages.append(
            Stage(step=Step(headline=f"{_counted(n_charts + flow.rows_joined, 'row')} used"), leaves=Step(headline=joined))
        )
    if flow.cases_unlabelled:
        unlabelled = f"{_counted(flow.cases_unlabelled, 'case')} without any known label took no part"
        stages.append(Stage(step=Step(headline=f"{_counted(n_charts, 'case')} read"), leaves=Step(headline=unlabelled)))
    return (*stages, Stage(step=_analysed(report)))


def ends_of(report: Report) -> tuple[Step, ...]:
    """The parts of one split, side by side, or one box for how the cases were judged otherwise."""
    flow, kind = report.flow, report.conduct.kind
    if flow.parts:
        return tuple(_part(part, _sites(report) if part.name == JUDGED else ()) for part in flow.parts)
    if flow.rounds is not None:
        return (_rounds(flow.rounds, kind),)
    lines = {
        "evaluation": ("by a finished model: nothing was trained, tuned or recalibrated here",),
        "foreign": ("as the file came; on whom the model was trained it does not say",),
    }
    return (Step(headline=f"{_counted(flow.cases, 'case')} judged", lines=lines.get(kind, ())),)


def _left_out(flow: Flow) -> Step:
    n = flow.rows_left_out + flow.rows_refused + flow.rows_unaccounted
    if not n:
        return Step(headline="No row left out")
    reasons = [one for one in flow.reported if one.step == LEFT_OUT] + [one for one in flow.refused if one.what == "rows"]
    lost = (f"{flow.rows_unaccounted}: not accounted for",) if flow.rows_unaccounted else ()
    return Step(headline=f"{_counted(n, 'row')} left out", lines=(*_reasons(reasons), *lost))


def _reasons(reasons: Sequence[Refusal]) -> tuple[str, ...]:
    shown = reasons if len(reasons) <= MOST_REASONS else reasons[: MOST_REASONS - 1]
    lines = [f"{count(one.count)}: {one.reason}" for one in shown]
    rest = reasons[len(shown) :]
    more = f"{count(sum(one.count for one in rest))}: {len(rest)} other reasons, in the table below"
    return (*lines, *((more,) if rest else ()))


def _analysed(report: Report) -> Step:
    flow = report.flow
    headline = _counted(flow.cases, "case")
    if flow.patients is not None:
        headline += f" of {_counted(flow.patients, 'patient')}"
    if flow.groups != flow.patients:
        headline += f"{'' if flow.patients is None else ','} in {_counted(flow.groups, 'group')}"
    evidence = ", ".join(f"{one.kind.lower()} in {_held(one.cases, flow.cases)}" for one in flow.held)
    return Step(
        headline=f"{headline} analysed",
        lines=(*_findings(flow), *(() if flow.parts else _sites(report)), *((f"Evidence: {evidence}",) if evidence else ())),
    )


def _held(n: int | None, of: int) -> str:
    if n is None:
        return "some (too few, with or without, to say)"
    return "all" if n == of else "none" if n == 0 else count(n)


def _findings(flow: Flow) -> tuple[str, ...]:
    """Events and missing labels, by finding where findings are few."""
    if len(flow.findings) > MOST_FINDINGS:
        lacking = sum(one.known < flow.cases for one in flow.findings)
        told = f"{len(flow.findings)} findings, each with {_range([one.events for one in flow.findings])}"
        return (
            told,
            f"Labels missing for {lacking} of them; by finding in the table below" if lacking else "No label is missing",
        )
    return tuple(_finding(one, flow.cases) for one in flow.findings)


def _finding(one: Events, n: int) -> str:
    lacking = n - one.known
    missing = f" of {count(one.known)} known, {count(lacking)} labels missing" if lacking else ""
    return f"{one.finding}: {_range([one.events])}{missing}"


def _sites(report: Report) -> tuple[str, ...]:
    """Cases and events of the first finding by site, as the results tell them: of those judged."""
    finding = report.flow.findings[0].finding
    rows = Ledger(report.results).slices(model=report.primary.model, metric="auroc", finding=finding)
    sites = [row for row in rows if row.slice == "site"]
    if not sites:
        return ()
    if len(sites) > MOST_SITES:
        return (f"{len(sites)} sites",)
    of = f" (events of {finding})" if len(report.flow.findings) > 1 else " (events)"
    told = [f"{row.slice_value} " + ("hidden" if row.n is None else f"{count(row.n)} ({count(row.events)})") for row in sites]
    return (f"Sites{of}: {', '.join(told)}",)


def _part(part: Part, sites: tuple[str, ...]) -> Step:
    lines = [PURPOSES[part.name]] if part.name in PURPOSES else []
    if part.patients != part.cases:
        lines.append(f"of {_counted(part.patients, 'patient')}")
    if len(part.findings) > MOST_FINDINGS:
        lines.append(f"By finding: {_range([one.events for one in part.findings])}")
    else:
        lines += [f"{one.finding}: {_range([one.events])}" for one in part.findings]
    return Step(headline=f"{part.name.capitalize()}: {_counted(part.cases, 'case')}", lines=(*lines, *sites))


def _rounds(rounds: Rounds, kind: str) -> Step:
    if kind == "site":
        headline = f"{rounds.n} sites, each left out once"
        whom = "of the site left out"
    else:
        repeats = "repeat" if rounds.repeats == 1 else "repeats"
        headline = f"{rounds.n // rounds.repeats} folds × {rounds.repeats} {repeats}"
        whom = "others"
    lines = [
        f"Each round: trained on {_between(rounds.trained)} cases, judged on {_between(rounds.judged)} {whom}",
        "Every case is judged once" + (" in each repeat" if rounds.repeats > 1 else ""),
        "Tuning, calibration and thresholds inside each training part",
    ]
    if len(rounds.events) <= MOST_FINDINGS:
        lines += [f"{finding}: {_range(ends)} among the judged of a round" for finding, ends in rounds.events.items()]
    else:
        lines.append(f"By finding and round: {_range([end for ends in rounds.events.values() for end in ends])}")
    return Step(headline=headline, lines=tuple(lines))


def _between(ends: tuple[int, int]) -> str:
    low, high = ends
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _range(numbers: Sequence[int | None]) -> str:
    """The fewest and the most events, as far as they may be told."""
    known = [number for number in numbers if number is not None]
    if not known:
        return "events hidden"
    if len(known) < len(numbers):
        return f"up to {count(max(known))} events, some hidden"
    return f"{_between((min(known), max(known)))} events"


def _counted(n: int, what: str) -> str:
    return f"{count(n)} {what}" + ("" if n == 1 else "s")
