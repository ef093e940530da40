"""From what the other rooms hold to one `Report`: the only place of this room that knows records, privacy and cohort."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from attending.audit import Severity, Verdict
from attending.case import Case, Demographics, Embedding, Evidence, Lab, Note, Scan, Sign
from attending.cohort import Protocol
from attending.diagnosis import Task
from attending.evaluation import Outcomes, Result
from attending.evaluation.curve import CalibrationCurve, calibration_curve, decision_curve, risk_coverage, risk_distribution
from attending.privacy.deidentify import Manifest
from attending.records import EACH_ROW, Records, Role, Schema, TargetKind
from attending.report.characteristics import characteristics_of
from attending.report.report import (
    UNSTATED,
    Audit,
    AuditFinding,
    ColumnRow,
    Conduct,
    Curves,
    Events,
    Flow,
    Pattern,
    Primary,
    Privacy,
    Question,
    Refusal,
    Report,
)
from attending.report.words import MODELS

KIND_NAMES: Mapping[type[Evidence], str] = {
    Note: "Notes",
    Scan: "Films",
    Lab: "Numbers",
    Sign: "Signs",
    Demographics: "Age and sex",
    Embedding: "Embeddings",
}
THRESHOLDS = (0.05, 0.60)
"""Ends of the decision curve where none were declared."""
_NAMING = (Role.ID, Role.CASE, Role.VISIT, Role.PATIENT, Role.GROUP, Role.IDENTITY)
FEWEST_COVERED = 100
"""Known cases from which on risk is told by coverage: a tenth of fewer would speak of single patients."""
MOST_REASONS = 40
"""Different reasons that are listed one by one; the rest is counted together."""


def gather(
    *,
    title: str,
    records: Records,
    manifest: Manifest,
    cases: Sequence[Case],
    task: Task,
    conduct: Conduct,
    results: Sequence[Result],
    outcomes: Mapping[str, Outcomes],
    primary: Primary,
    provenance: Mapping[str, object],
    audit: Verdict | None = None,
    thresholds: tuple[float, float] = THRESHOLDS,
    warning: str = "",
    cautions: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    labels: Mapping[str, str] | None = None,
    model: Mapping[str, object] | None = None,
    parts: Mapping[str, str] | None = None,
) -> Report:
    """The report of a study. `cases` are those that took part; `records` say which rows did not, and why.

    `conduct` is that of a protocol (`conduct_of`) or of an evaluation. `thresholds` are the declared ends of the
    decision curve. `audit` is None where none was held. `outcomes` hold the primary model and whatever the curves should be
    held against. `warning` and `cautions` stand on the first screen. `parts` say which part of one split each case id is in.
    """
    schema = records.schema
    return Report(
        title=title,
        question=question_of(schema),
        flow=_flow(records, cases, task),
        conduct=conduct,
        results=tuple(results),
        primary=primary,
        audit=Audit(waivers=dict(schema.waivers)) if audit is None else audit_of(audit),
        curves=curves_of(
            outcomes,
            primary,
            sampling=schema.sampling.value,
            target_prevalence=schema.target_prevalence,
            thresholds=thresholds,
        ),
        columns=tuple(
            ColumnRow(
                name=column.name,
                role=column.role.value,
                why=column.why,
                unit=column.unit or "",
                is_visible=column.is_missingness_visible,
            )
            for column in schema.shown
        ),
        kinds=kinds_of(cases),
        patterns=patterns_of(cases, primary.finding or task.findings[0]),
        characteristics=characteristics_of(cases, task.findings, parts or {}),
        privacy=Privacy(
            identity_columns=tuple(manifest.identity_columns),
            counts=dict(manifest.counts),
            promises=dict(manifest.promises),
            not_found=tuple(manifest.not_found),
        ),
        provenance={name: str(value) for name, value in provenance.items()},
        undeclared=schema.undeclared(),
        warning=warning,
        cautions=cautions,
        notes=notes,
        labels=labels or {},
        model={name: str(value) for name, value in (model or {}).items()},
    )


_LEVELS: Mapping[Severity, str] = {Severity.BLOCK: "blocks", Severity.WARN: "warns", Severity.NOTE: "notes"}
FEWEST_TOLD = 5
"""Fewer cases than this are not counted in a report that may be passed on."""


def audit_of(verdict: Verdict) -> Audit:
    """What an audit said, without ids and without small counts."""
    findings = []
    for one in verdict.findings:
        reason = verdict.waiver_of(one)
        n = len(one.rows)
        cases = [] if not n else [f"{n} cases" if n >= FEWEST_TOLD else f"fewer than {FEWEST_TOLD} cases"]
        told = ". ".join([one.told[:1].upper() + one.told[1:], *cases, one.effect[:1].upper() + one.effect[1:]])
        findings.append(
            AuditFinding(
                check=f"{one.trap} {one.check}",
                level=_LEVELS[one.severity] if reason is None else f"{_LEVELS[one.severity]}, waived",
                told=f"{told}. {f'Waived: {reason}' if reason else f'Remedy: {one.remedy}'}",
            )
        )
    unasked = [AuditFinding(check="not asked", level="notes", told=sentence) for sentence in verdict.unasked]
    return Audit(verdict=f"{verdict}.".capitalize(), findings=(*findings, *unasked), waivers=dict(verdict.waivers))


def question_of(schema: Schema) -> Question:
    """What was asked, by the schema."""
    told = []
    for target in schema.targets:
        if target.kind is TargetKind.BINARY:
            told.append(f'{target.column} = "{target.positive}"')
        elif target.kind is TargetKind.CLASSES:
            told.append(f"{target.column}, one of {', '.join(target.classes)}")
        else:
            told.append(f"{target.column}, any of {', '.join(target.classes)}")
    return Question(
        target="; ".join(told) or UNSTATED,
        population=schema.population,
        unit=_unit(schema),
        prediction_time=schema.prediction_time,
        reference_standard=schema.reference_standard,
        sampling=schema.sampling.value,
    )


def _unit(schema: Schema) -> str:
    case = schema.one(Role.CASE)
    if case is not None:
        return f"one case per {case.name}, whose rows are joined; patients counted once"
    return "one row per patient" if schema.patient_rows == EACH_ROW else "one case per row, patients counted once"


def curves_of(
    outcomes: Mapping[str, Outcomes],
    primary: Primary,
    *,
    sampling: str,
    target_prevalence: Mapping[str, float] = MappingProxyType({}),
    thresholds: tuple[float, float] = THRESHOLDS,
) -> tuple[Curves, ...]:
    """Curves of the primary model for every finding with both classes; decision and risk–coverage curves also of comparator and
    shortcut."""
    rows = outcomes[primary.model]
    beside = {
        model: outcomes[model]
        for model in dict.fromkeys((primary.model, primary.comparator or primary.model, "site-and-missingness"))
        if model in outcomes
    }
    curves = []
    for column, finding in enumerate(rows.findings):
        known = rows.known[:, column]
        truth = rows.truth[known, column]
        n_cases = len(np.unique(rows.ids[known].astype(str)))
        if len(np.unique(truth)) < 2:
            continue
        decision = decision_curve(
            beside,
            finding,
            np.linspace(*thresholds, 56),
            sampling=sampling,
            target_prevalence=target_prevalence.get(finding),
        )
        curves.append(
            Curves(
                finding=finding,
                calibration=calibration_curve(rows, finding),
                risk=risk_distribution(rows, finding),
                decision=decision,
                before=_before(rows, finding),
                coverage={model: risk_coverage(held, finding, steps=10) for model, held in beside.items()}
                if n_cases >= FEWEST_COVERED
                else {},
            )
        )
    return tuple(curves)


def _before(rows: Outcomes, finding: str) -> CalibrationCurve | None:
    """Calibration of what was answered before recalibration, where that changed anything."""
    column = rows.findings.index(finding)
    if rows.raw is None or np.array_equal(rows.raw[:, column], rows.probability[:, column]):
        return None
    return calibration_curve(replace(rows, probability=rows.raw), finding)


def kinds_of(cases: Sequence[Case]) -> tuple[str, ...]:
    """Names of the kinds of evidence that any case holds."""
    return tuple(name for kind, name in KIND_NAMES.items() if any(case.of(kind) for case in cases))


def patterns_of(cases: Sequence[Case], finding: str) -> tuple[Pattern, ...]:
    """How many cases hold exactly which kinds of evidence, and how many of them have the finding."""
    met: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        met.setdefault(tuple(name for kind, name in KIND_NAMES.items() if case.of(kind)), []).append(case)
    return tuple(
        Pattern(
            present=present,
            n=len(held),
            known=sum(finding in case.truth for case in held),
            events=sum(case.truth.get(finding, False) for case in held),
        )
        for present, held in met.items()
    )


def chosen_words(chosen: Sequence[str], names: Mapping[str, str] = MODELS) -> str:
    """How the comparator was chosen: `chosen in inner folds: boosted trees in 20 of 25, late fusion in 5 of 25`."""
    counted = ", ".join(
        f"{names.get(name, name).lower()} in {count} of {len(chosen)}" for name, count in Counter(chosen).most_common()
    )
    if len(chosen) == 1:
        return f"chosen before test was opened: {names.get(chosen[0], chosen[0]).lower()}"
    return f"chosen in inner folds: {counted}"


def _flow(records: Records, cases: Sequence[Case], task: Task) -> Flow:
    unused = len(records.charts) - len(cases)
    return Flow(
        rows=records.n_read,
        cases=len(cases),
        patients=len({case.patient for case in cases}),
        groups=len({case.group for case in cases}),
        findings=tuple(
            Events(
                finding=finding,
                known=sum(finding in case.truth for case in cases),
                events=sum(case.truth.get(finding, False) for case in cases),
            )
            for finding in task.findings
        ),
        refused=_refusals(records),
        reported=(
            *_rows_aside(records),
            *((Refusal(reason="no known label: took no part", count=unused, what="cases"),) if unused else ()),
            *_values(records),
        ),
    )


def _rows_aside(records: Records) -> tuple[Refusal, ...]:
    """Rows that are no case of their own although nothing is wrong with them."""
    joined = records.n_rows_used - len(records.charts)
    told = (
        Refusal(reason=f"left out by --where {_shareable(records)}", count=records.n_read - records.n_rows),
        Refusal(reason="joined to another row of the same case", count=joined),
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
    return (*listed, *((Refusal(reason="other reasons, one row each", count=rest),) if rest else ()))


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


def conduct_of(protocol: Protocol, openings: int) -> Conduct:
    """How a protocol was held. `openings` counts how often outer results were opened, this time included."""
    return Conduct(
        kind=protocol.kind,
        folds=len({fold.fold for fold in protocol.folds}),
        repeats=protocol.repeats,
        seed=protocol.seed,
        reason=protocol.reason,
        openings=openings,
        hash=protocol.hash,
        notes=protocol.notes,
    )
