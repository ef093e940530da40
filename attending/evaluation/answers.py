"""What is answered: for every question a row with its interval or the reason why there is none, and the macro average."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from attending.evaluation.catalog import AT_THRESHOLD, METRICS
from attending.evaluation.estimation import FEWEST, Measured, Question, interval_of
from attending.evaluation.inquiry import Asked, Terms
from attending.evaluation.interval import widened
from attending.evaluation.metric import Metric
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import Result

FEWEST_FOR_MACRO = 10
"""Events a finding needs to enter a macro average."""
FEWEST_IN_SLICE = 10
"""Events, and non-events, below which a slice is "too small to say"."""

Whole = Mapping[tuple[str, str], tuple[Asked, Mapping[str, Measured]]]
"""The answers about whole findings, by (model, finding)."""


def rows_of(one: Asked, values: Mapping[str, Measured], terms: Terms, outcomes: Outcomes) -> list[Result]:
    """The rows of one question."""
    asked = one.question
    empty = not asked.whole
    n, events = (0, 0) if empty else (asked.n, asked.events)
    base = Result(
        target=terms.target,
        finding=one.finding,
        split=terms.split,
        model=one.model,
        metric="",
        value=0.0,
        n=n,
        events=events,
        clusters=0 if empty else asked.clusters,
        prevalence=None if empty else asked.prevalence,
        slice=one.slice,
        slice_value=one.slice_value,
        protocol=terms.protocol,
        repeats=len(np.unique(outcomes.repeat)),
        seed=terms.seed,
    )
    rows = []
    for metric in one.metrics:
        row = replace(base, metric=metric.name + one.suffix, threshold=one.threshold if metric.at_threshold else None)
        rows.append(_filled(row, one, metric, values[metric.name], terms))
    if one.is_whole and one.threshold is None:
        rows.extend(replace(base, metric=name, value=None, note=one.note) for name in AT_THRESHOLD)
    return rows


def _filled(row: Result, one: Asked, metric: Metric, measured: Measured, terms: Terms) -> Result:
    asked = one.question
    notes = [one.note] if metric.at_threshold and one.note else []
    if one.slice is not None and asked.whole and min(asked.events, asked.n - asked.events) < FEWEST_IN_SLICE:
        return replace(row, value=None, note=f"too small to say: {asked.events} events, {asked.n - asked.events} without")
    if not np.isfinite(measured.value):
        return replace(row, value=None, note=_why_not(asked, metric))
    low, high, method = interval_of(asked, metric, measured, terms.level)
    if metric.by_prevalence and terms.sampling != "cohort":
        if one.finding in terms.target_prevalence:
            notes.append(f"reweighted to a prevalence of {terms.target_prevalence[one.finding]:g}")
        else:
            notes.append(f"not transferable: the sampling is {terms.sampling}")
    if measured.lacking:
        notes.append(f"{measured.lacking} of {len(measured.replicates)} resamples could not be computed (a class absent)")
    if not np.isfinite(low):
        return replace(row, value=measured.value, note="; ".join([method, *notes]))
    if not asked.is_crossed:
        method += "; this model, retraining variability not included"
    return replace(row, value=measured.value, low=low, high=high, level=terms.level, method=method, note="; ".join(notes))


def _why_not(asked: Question, metric: Metric) -> str:
    if not asked.whole:
        return "cannot be estimated: no known truth"
    if asked.events in (0, asked.n):
        return f"cannot be estimated: one class only ({asked.events} events of {asked.n})"
    if metric.name == "calibration_slope":
        return "cannot be estimated: probabilities are constant, or separate the classes"
    return "cannot be estimated on these rows"


def macro(whole: Whole, model: str, name: str, findings: Sequence[str]) -> tuple[Measured, list[Asked], list[str]] | None:
    """Mean over the findings with enough events, the findings it is made of, and those left out."""
    held, left_out = [], []
    for finding in findings:
        one, values = whole[model, finding]
        told = values.get(name)
        if told is None:
            continue
        if one.question.whole and one.question.events >= FEWEST_FOR_MACRO and np.isfinite(told.value):
            held.append((one, told))
        else:
            left_out.append(finding)
    if not held:
        return None
    folds = [told.folds for _, told in held]
    shapes = {None if one is None else len(one) for one in folds}
    together = np.mean([one for one in folds if one is not None], axis=0) if len(shapes) == 1 and None not in shapes else None
    mean = Measured(
        value=float(np.mean([told.value for _, told in held])),
        replicates=np.mean([told.replicates for _, told in held], axis=0),
        folds=together,
    )
    return mean, [one for one, _ in held], left_out


def macro_rows(whole: Whole, models: Mapping[str, Outcomes], terms: Terms) -> list[Result]:
    """A row per model and metric, averaged over findings with enough events, naming those left out."""
    rows = []
    for model, outcomes in models.items():
        if len(outcomes.findings) < 2:
            continue
        for name in dict.fromkeys(name for finding in outcomes.findings for name in whole[model, finding][1]):
            row = Result(
                target=terms.target,
                finding="macro",
                split=terms.split,
                model=model,
                metric=name,
                value=0.0,
                n=len(np.unique(outcomes.ids)),
                clusters=len(np.unique(outcomes.groups.astype(str))),
                protocol=terms.protocol,
                repeats=len(np.unique(outcomes.repeat)),
                seed=terms.seed,
            )
            made = macro(whole, model, name, outcomes.findings)
            if made is None:
                rows.append(replace(row, value=None, note=f"no finding has {FEWEST_FOR_MACRO} events"))
                continue
            mean, parts, left_out = made
            smaller = min(one.question.smaller_class for one in parts)
            widen = parts[0].question.test_over_train
            low, high = widened(
                mean.value,
                mean.replicates,
                mean.folds,
                test_over_train=widen,
                support=METRICS[name].support,
                freedom=max(smaller - 1, 1),
                level=terms.level,
            )
            note = f"left out with under {FEWEST_FOR_MACRO} events: {', '.join(left_out)}" if left_out else ""
            row = replace(row, value=mean.value, note=note)
            if np.isfinite(low) and smaller >= FEWEST:
                plural = "s" if len(parts) > 1 else ""
                method = f"mean of {len(parts)} finding{plural}, t with the standard error of a bootstrap of groups"
                method += ", widened for retraining" if widen else "; this model, retraining variability not included"
                row = replace(row, low=low, high=high, level=terms.level, method=method)
            rows.append(row)
    return rows
