"""From records and cases to the flow: what was read, what left and why, who is in which part, and what evidence they have.

Counts only. What of it may be shown outside is decided in `sharing.py`, and how it reads in `flow.py`.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from attending.case import Case, Demographics, Embedding, Evidence, Lab, Note, Scan, Sign
from attending.evaluation import Outcomes
from attending.records import Records, Role
from attending.report.characteristics import ORDER
from attending.report.report import JOINED, LEFT_OUT, UNLABELLED, Events, Flow, Held, Part, Refusal, Rounds

KIND_NAMES: Mapping[type[Evidence], str] = {
    Note: "Notes",
    Scan: "Films",
    Lab: "Numbers",
    Sign: "Signs",
    Demographics: "Age and sex",
    Embedding: "Embeddings",
}
MOST_REASONS = 40
"""Different reasons that are listed one by one; the rest is counted together."""
_NAMING = (Role.ID, Role.CASE, Role.VISIT, Role.PATIENT, Role.GROUP, Role.IDENTITY)


def flow_of(
    records: Records,
    cases: Sequence[Case],
    findings: Sequence[str],
    *,
    parts: Mapping[str, str] | None = None,
    rounds: Rounds | None = None,
) -> Flow:
    """The flow of a table. `cases` are those that took part, `parts` the part that each is in where there was one split."""
    unused = len(records.charts) - len(cases)
    return Flow(
        rows=records.n_read,
        cases=len(cases),
        patients=len({case.patient for case in cases}),
        groups=len({case.group for case in cases}),
        findings=_events(cases, findings),
        refused=_refusals(records),
        reported=(
            *_rows_aside(records),
            *((Refusal(reason="no known label: took no part", count=unused, what="cases", step=UNLABELLED),) if unused else ()),
            *_values(records),
        ),
        held=tuple(
            Held(kind=name, cases=n) for kind, name in KIND_NAMES.items() if (n := sum(bool(c.of(kind)) for c in cases))
        ),
        parts=_parts(cases, findings, parts or {}),
        rounds=rounds,
    )


def kinds_of(cases: Sequence[Case]) -> tuple[str, ...]:
    """Names of the kinds of evidence that any case holds."""
    return tuple(name for kind, name in KIND_NAMES.items() if any(case.of(kind) for case in cases))


def rounds_of(rows: Outcomes, cases: Sequence[Case]) -> Rounds:
    """How many rounds of training and testing there were, and how many cases and events each had.

    Trained on is whoever shares no group with the judged, as every protocol of folds has it.
    """
    group_of = {str(case.id): str(case.group) for case in cases}
    groups = np.array(list(group_of.values()))
    trained, judged = [], []
    events: dict[str, list[int]] = {finding: [] for finding in rows.findings}
    for repeat, fold in sorted(set(zip(rows.repeat.tolist(), rows.fold.tolist(), strict=True))):
        here = (rows.repeat == repeat) & (rows.fold == fold)
        away = {group_of[str(id)] for id in rows.ids[here]}
        judged.append(int(here.sum()))
        trained.append(int((~np.isin(groups, sorted(away))).sum()))
        for place, finding in enumerate(rows.findings):
            events[finding].append(int((rows.truth[here, place] & rows.known[here, place]).sum()))
    return Rounds(
        n=len(judged),
        repeats=len(np.unique(rows.repeat)),
        trained=(min(trained), max(trained)),
        judged=(min(judged), max(judged)),
        events={finding: (min(counts), max(counts)) for finding, counts in events.items()},
    )


def _events(cases: Sequence[Case], findings: Sequence[str]) -> tuple[Events, ...]:
    return tuple(
        Events(
            finding=finding,
            known=sum(finding in case.truth for case in cases),
            events=sum(case.truth.get(finding, False) for case in cases),
        )
        for finding in findings
    )


def _parts(cases: Sequence[Case], findings: Sequence[str], parts: Mapping[str, str]) -> tuple[Part, ...]:
    held = {part: [case for case in cases if parts.get(case.id) == part] for part in dict.fromkeys(parts.values())}
    ordered = sorted(held, key=lambda part: (ORDER.index(part) if part in ORDER else len(ORDER), part))
    return tuple(
        Part(
            name=part,
            cases=len(held[part]),
            patients=len({case.patient for case in held[part]}),
            findings=_events(held[part], findings),
        )
        for part in ordered
    )


def _rows_aside(records: Records) -> tuple[Refusal, ...]:
    """Rows that are no case of their own although nothing is wrong with them."""
    joined = records.n_rows_used - len(records.charts)
    told = (
        Refusal(reason=f"left out by --where {_shareable(records)}", count=records.n_read - records.n_rows, step=LEFT_OUT),
        Refusal(reason="joined to another row of the same case", count=joined, step=JOINED),
    )
    return tuple(one for one in told if one.count)


def _shareable(records: Records) -> str:
    """The condition on rows; one that speaks of single persons is not told."""
    names = {column.name for role in _NAMING for column in records.schema.of(role)}
    condition = records.where or ""
    said = set(re.findall(r"\w+", condition)) | set(re.findall(r'"([^"]*)"', condition))
    return "(a condition on who the patient is, not shown)" if said & names else condition


def _refusals(records: Records) -> tuple[Refusal, ...]:
    counted = Counter(
        f"{refused.column}: {refused.reason}" if refused.column is not None else refused.reason for refused in records.refused
    ).most_common()
    listed = [Refusal(reason=reason, count=count) for reason, count in counted[:MOST_REASONS]]
    rest = sum(count for _, count in counted[MOST_REASONS:])
    return (*listed, *((Refusal(reason="other reasons", count=rest),) if rest else ()))


def _values(records: Records) -> tuple[Refusal, ...]:
    """Values that were not read as written, by column; unread labels; input columns the table lacks."""
    told: list[Refusal] = []
    for column, reasons in (*records.reasons.items(), *records.companion_reasons.items()):
        told += [Refusal(reason=f"{column}: {reason}", count=count, what="values") for reason, count in reasons.items()]
    for column, tally in (*records.counts.items(), *records.companions.items()):
        for what, count in (("below the detection limit", tally.below), ("above the detection limit", tally.above)):
            told += [Refusal(reason=f"{column}: {what}, kept as censored", count=count, what="values")] if count else []
        if tally.unknown:
            told.append(Refusal(reason=f"{column}: said to be unknown, taken as absent", count=tally.unknown, what="values"))
    told += [
        Refusal(
            reason=f"{column.name}: decimal commas, read as decimal points",
            count=records.counts[column.name].used,
            what="values",
        )
        for column in records.schema.inputs
        if column.rules.decimal == "comma" and column.name in records.counts
    ]
    told += [
        Refusal(reason=f"{kind}: rows without a value", count=tally.blank, what="values")
        for kind, tally in records.companions.items()
        if tally.blank
    ]
    told += [
        Refusal(reason=f"{column}: a label the schema does not list, taken as unknown", count=count, what="values")
        for column, count in records.unread_labels.items()
        if count
    ]
    told += [
        Refusal(reason=f"{column}: not in the table, absent for every case", count=1, what="columns")
        for column in records.missing
    ]
    return tuple(told)
