"""From what the other rooms hold to one `Report`: the only place of this room that knows records, privacy and cohort."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from attending.audit import Severity, Verdict, strongest
from attending.case import Case
from attending.cohort import Protocol
from attending.diagnosis import Task
from attending.evaluation import Outcomes, Result
from attending.evaluation.curve import CalibrationCurve, calibration_curve, decision_curve, risk_coverage, risk_distribution
from attending.evaluation.sharing import FEWEST
from attending.privacy.deidentify import Manifest
from attending.records import EACH_ROW, Records, Role, Schema, TargetKind
from attending.report.characteristics import characteristics_of
from attending.report.counting import KIND_NAMES, flow_of, kinds_of, rounds_of
from attending.report.report import (
    UNSTATED,
    Audit,
    AuditFinding,
    AuditShortcut,
    ColumnRow,
    Conduct,
    Curves,
    Pattern,
    Primary,
    Privacy,
    Question,
    Report,
)
from attending.report.words import MODELS

THRESHOLDS = (0.05, 0.60)
"""Ends of the decision curve where none were declared."""
FEWEST_COVERED = 100
"""Known cases from which on risk is told by coverage: a tenth of fewer would speak of single patients."""


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
    warning: str = "",
    cautions: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    labels: Mapping[str, str] | None = None,
    model: Mapping[str, object] | None = None,
    parts: Mapping[str, str] | None = None,
) -> Report:
    """The report of a study. `cases` are those that took part; `records` say which rows did not, and why.

    `conduct` is that of a protocol (`conduct_of`) or of an evaluation. `audit` is None where none was held. `outcomes` hold the
    primary model and whatever the curves should be held against. `warning` and `cautions` stand on the first screen. `parts`
    say which part of one split each case id is in.
    """
    schema = records.schema
    return Report(
        title=title,
        question=question_of(schema),
        flow=flow_of(
            records,
            cases,
            task.findings,
            parts=parts,
            rounds=rounds_of(outcomes[primary.model], cases) if conduct.kind in ("cv", "site") else None,
        ),
        conduct=conduct,
        results=tuple(results),
        primary=primary,
        audit=Audit(waivers=dict(schema.waivers)) if audit is None else audit_of(audit),
        curves=curves_of(
            outcomes,
            primary,
            sampling=schema.sampling.value,
            target_prevalence=schema.target_prevalence,
            thresholds=schema.decision_range or THRESHOLDS,
        ),
        columns=columns_of(schema),
        kinds=kinds_of(cases),
        patterns=patterns_of(cases, primary.finding or task.findings[0]),
        characteristics=characteristics_of(cases, task.findings, parts or {}),
        privacy=privacy_of(manifest),
        provenance={name: str(value) for name, value in provenance.items()},
        undeclared=schema.undeclared(),
        warning=warning,
        cautions=cautions,
        notes=notes,
        labels=labels or {},
        model={name: str(value) for name, value in (model or {}).items()},
    )


_LEVELS: Mapping[Severity, str] = {Severity.BLOCK: "blocks", Severity.WARN: "warns", Severity.NOTE: "notes"}


def audit_of(verdict: Verdict) -> Audit:
    """What an audit said, without ids and without small counts."""
    findings = []
    for one in verdict.findings:
        reason = verdict.waiver_of(one)
        n = len(one.rows)
        cases = [] if not n else [f"{n} cases" if n >= FEWEST else f"fewer than {FEWEST} cases"]
        told = ". ".join([one.told[:1].upper() + one.told[1:], *cases, one.effect[:1].upper() + one.effect[1:]])
        findings.append(
            AuditFinding(
                check=f"{one.trap} {one.check}",
                level=_LEVELS[one.severity] if reason is None else f"{_LEVELS[one.severity]}, waived",
                told=f"{told}. {f'Waived: {reason}' if reason else f'Remedy: {one.remedy}'}",
            )
        )
    unasked = [AuditFinding(check="not asked", level="notes", told=sentence) for sentence in verdict.unasked]
    return Audit(
        verdict=f"{verdict}.".capitalize(),
        findings=(*findings, *unasked),
        waivers=dict(verdict.waivers),
        shortcuts=_shortcuts(verdict),
    )


def _shortcuts(verdict: Verdict) -> tuple[AuditShortcut, ...]:
    """What shortcuts reach, without counts: of each input first the finding that it ranks most surely, then all others."""
    first = dict(strongest(verdict.shortcuts))
    others = [one for one in verdict.shortcuts if one not in first]
    return tuple(
        AuditShortcut(
            check=f"{one.trap} {one.check}",
            input=one.input,
            finding=one.finding,
            auroc=one.auroc,
            low=one.low,
            high=one.high,
            is_alarm=one.is_alarm,
            n_asked=first.get(one, 0),
        )
        for one in (*first, *others)
    )


def privacy_of(manifest: Manifest) -> Privacy:
    """What de-identification did and cannot find."""
    return Privacy(
        identity_columns=tuple(manifest.identity_columns),
        counts=dict(manifest.counts),
        promises=dict(manifest.promises),
        not_found=tuple(manifest.not_found),
    )


def columns_of(schema: Schema) -> tuple[ColumnRow, ...]:
    """The columns of the table, then what the files beside it hold, with the unit of each code."""
    own = tuple(
        ColumnRow(
            name=column.name,
            role=column.role.value,
            why=column.why,
            unit=column.unit or "",
            is_visible=column.is_missingness_visible,
        )
        for column in schema.shown
    )
    beside = tuple(
        ColumnRow(
            name=f"--{each.kind}: {each.value}",
            role={"labs": Role.NUMBER, "notes": Role.NOTE, "images": Role.IMAGE}[each.kind].value,
            why=f'a file of its own, joined by "{each.id}"',
            unit=", ".join(f"{code} {unit}" for code, unit in each.units.items()) or each.unit or "",
        )
        for each in schema.companions
    )
    return (*own, *beside)


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
        decision_range=schema.decision_range,
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
