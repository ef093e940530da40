"""Judging: every model's predictions beside the truth, as rows of `report.json`.

Values with intervals, slices, and paired differences of the primary model against every other. Nothing is fitted here but the
threshold that a rule asks for, and that only on rows outside the part it is applied to.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from attending.evaluation.answers import macro_rows, rows_of
from attending.evaluation.catalog import AT_THRESHOLD, CORE, METRICS
from attending.evaluation.difference import difference_rows
from attending.evaluation.estimation import Numbering, measure
from attending.evaluation.inquiry import Terms, ask
from attending.evaluation.local import local_rows
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import EvaluationError, Result
from attending.evaluation.sets import abstention_rows, set_rows
from attending.evaluation.sites import site_rows


def judge(
    models: Mapping[str, Outcomes],
    *,
    primary: str = "fused",
    terms: Terms | None = None,
    metrics: Sequence[str] = (*CORE, "auroc_within_site", "aurc", *AT_THRESHOLD),
    calibrate: Mapping[str, Outcomes] | None = None,
    slices: Sequence[str] | None = None,
) -> tuple[Result, ...]:
    """Rows for every model, finding and metric; macro rows; slices and differences of `primary` against every other model.

    All models must predict the same cases and repeats. `calibrate` holds the outcomes on which thresholds are chosen under one
    split; under cross-validation they are chosen on the other folds. `slices` are names of strata (None: all). A model alone,
    whatever its name, is its own primary. Raises `EvaluationError`.
    """
    terms = terms or Terms()
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise EvaluationError(f"unknown metric {unknown[0]!r}; known: {', '.join(METRICS)}")
    if not models:
        raise EvaluationError("no predictions to judge")
    if primary not in models:
        if len(models) > 1:
            raise EvaluationError(f"no model {primary!r} among {', '.join(models)}; name the one to be compared as primary")
        primary = next(iter(models))
    _check_same_cases(models, primary)
    numbering = Numbering.of(models[primary])
    asked = ask(
        models,
        primary=primary,
        terms=terms,
        names=tuple(metrics),
        calibrate=calibrate or {},
        slices=slices,
        numbering=numbering,
    )
    measured = measure(
        [(a.question, a.metrics) for a in asked],
        n_clusters=len(numbering.groups),
        resamples=terms.resamples,
        seed=terms.seed,
    )
    rows: list[Result] = []
    for one, values in zip(asked, measured, strict=True):
        rows.extend(rows_of(one, values, terms, models[one.model]))
    whole = {(a.model, a.finding): (a, m) for a, m in zip(asked, measured, strict=True) if a.is_whole}
    rows.extend(macro_rows(whole, models, terms))
    for model, outcomes in models.items():
        rows.extend((*set_rows(outcomes, model, terms), *abstention_rows(outcomes, model, terms)))
    rows.extend((*site_rows(models[primary], primary, terms), *local_rows(models[primary], primary, terms)))
    rows.extend(difference_rows(whole, models, primary, terms))
    return tuple(rows)


def _check_same_cases(models: Mapping[str, Outcomes], primary: str) -> None:
    def listed(outcomes: Outcomes) -> tuple[np.ndarray, np.ndarray]:
        names = np.array([f"{repeat}\t{id}" for repeat, id in zip(outcomes.repeat, outcomes.ids, strict=True)])
        order = np.argsort(names)
        return names[order], order

    first = models[primary]
    names, order = listed(first)
    if len(np.unique(names)) < len(names):
        raise EvaluationError(f"model {primary!r}: a case occurs more than once in a repeat; an id names one case")
    for model, outcomes in models.items():
        others, other_order = listed(outcomes)
        if outcomes.findings != first.findings:
            raise EvaluationError(
                f"model {model!r} predicts {list(outcomes.findings)}, {primary!r} {list(first.findings)}; "
                "judge the same findings"
            )
        if len(names) != len(others) or (names != others).any():
            lacking = len(np.setdiff1d(names, others)) + len(np.setdiff1d(others, names))
            raise EvaluationError(
                f"models {primary!r} and {model!r} differ in {lacking} (case, repeat) rows; keep the cases that both predict"
            )
        same_known = (first.known[order] == outcomes.known[other_order]).all()
        same_truth = ((first.truth & first.known)[order] == (outcomes.truth & outcomes.known)[other_order]).all()
        if not (same_known and same_truth):
            raise EvaluationError(f"models {primary!r} and {model!r} disagree on what was recorded; judge them on one truth")
        if (first.groups[order].astype(str) != outcomes.groups[other_order].astype(str)).any():
            raise EvaluationError(
                f"models {primary!r} and {model!r} disagree on the groups of cases; judge them on one grouping"
            )
