"""What a site gains by recalibrating the model on its own patients: calibration-in-the-large before and after (§3 "Sites").

Cross-fitted inside the site: each fifth of its groups is recalibrated by what was fitted on the other four. Averaged over the
fifths the value after comes near 0 by construction; what tells is its interval, how far off a site of this size may still be.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from attending.evaluation.catalog import METRICS
from attending.evaluation.estimation import Measured, Numbering, Question, interval_of, measure, question
from attending.evaluation.inquiry import Terms
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.recalibration import fit_calibration
from attending.evaluation.result import Result
from attending.evaluation.sites import FEWEST_AT_A_SITE, levels_of, named_sites

FOLDS = 5
_METRIC = "calibration_intercept"
BEFORE, AFTER = f"{_METRIC}_before_local", f"{_METRIC}_after_local"
_RESAMPLES = 200


def locally_recalibrated(outcomes: Outcomes, *, seed: int = 0) -> Outcomes:
    """Each site's probabilities after calibration on the other four fifths of the same site's groups.

    Fifths are of whole groups, with what they have of each finding as even as it goes. Where the other fifths have too few
    events for a fit, a probability is left as it was.
    """
    return replace(outcomes, probability=_cross_fitted(outcomes, seed=seed)[0])


def local_rows(outcomes: Outcomes, model: str, terms: Terms) -> list[Result]:
    """Per finding and site the calibration-in-the-large as it came, and after recalibration inside the site.

    Metrics `calibration_intercept_before_local` and `calibration_intercept_after_local` of the slice `site`: a site is one test
    set, whatever the protocol. None with the reason where a site has one class, under 10 events or non-events, or too few in
    four of its fifths for anything to be fitted. Nothing at all where the rows know fewer than two sites.
    """
    names = named_sites(outcomes)
    if len(names) < 2:
        return []
    probability, is_fitted = _cross_fitted(outcomes, seed=terms.seed)
    after = replace(outcomes, probability=probability)
    levels, numbering = levels_of(outcomes), Numbering.of(outcomes)
    asked = [
        replace(question(held.rows(levels == name), finding, numbering=numbering), test_over_train=0.0)
        for finding in outcomes.findings
        for name in names
        for held in (outcomes, after)
    ]
    found = measure(
        [(one, (METRICS[_METRIC],)) for one in asked],
        n_clusters=len(numbering.groups),
        resamples=min(_RESAMPLES, terms.resamples),
        seed=terms.seed,
    )
    rows = []
    pairs = iter(zip(asked, found, strict=True))
    for k, finding in enumerate(outcomes.findings):
        for name in names:
            here = (levels == name) & outcomes.known[:, k]
            for metric in (BEFORE, AFTER):
                one, measured = next(pairs)
                unfitted = metric == AFTER and not is_fitted[here, k].all()
                base = _base(one, outcomes, model, terms)
                base = replace(base, finding=finding, metric=metric, slice="site", slice_value=name)
                rows.append(_filled(base, one, measured[_METRIC], terms, unfitted=unfitted))
    return rows


def _base(one: Question, outcomes: Outcomes, model: str, terms: Terms) -> Result:
    return Result(
        target=terms.target,
        finding="",
        split=terms.split,
        model=model,
        metric="",
        value=0.0,
        n=one.n if one.whole else 0,
        events=one.events if one.whole else 0,
        clusters=one.clusters if one.whole else 0,
        prevalence=one.prevalence if one.whole else None,
        protocol=terms.protocol,
        repeats=len(np.unique(outcomes.repeat)),
        seed=terms.seed,
    )


def _filled(row: Result, one: Question, measured: Measured, terms: Terms, *, unfitted: bool) -> Result:
    why = _why_not(one, unfitted=unfitted)
    if why or not np.isfinite(measured.value):
        return replace(row, value=None, note=f"cannot be estimated: {why or 'not on these rows'}")
    low, high, method = interval_of(one, METRICS[_METRIC], measured, terms.level)
    notes = []
    if row.metric == AFTER:
        notes.append("fitted on the other four fifths of the site: near 0 by construction, its interval says how near")
    if terms.sampling != "cohort":
        notes.append(f"not transferable: the sampling is {terms.sampling}")
    if not np.isfinite(low):
        return replace(row, value=measured.value, note="; ".join([method, *notes]))
    return replace(row, value=measured.value, low=low, high=high, level=terms.level, method=method, note="; ".join(notes))


def _why_not(one: Question, *, unfitted: bool) -> str:
    if not one.whole:
        return "no known truth"
    events, others = one.events, one.n - one.events
    if 0 in (events, others):
        return f"one class only ({events} events of {one.n})"
    if min(events, others) < FEWEST_AT_A_SITE:
        return f"{events} events and {others} without, fewer than {FEWEST_AT_A_SITE} of one"
    return f"{events} events and {others} without: too few in four fifths of the site to fit anything" if unfitted else ""


def _cross_fitted(outcomes: Outcomes, *, seed: int) -> tuple[Float[np.ndarray, "row finding"], Bool[np.ndarray, "row finding"]]:
    """Probabilities after recalibration inside the site, and for which rows and findings anything was fitted."""
    levels = levels_of(outcomes)
    probability = outcomes.probability.copy()
    is_fitted = np.zeros(probability.shape, dtype=bool)
    for number, name in enumerate(named_sites(outcomes)):
        here = np.flatnonzero(levels == name)
        fold = _dealt(outcomes.rows(here), np.random.default_rng([seed, 0x517E, number]))
        for k in range(FOLDS):
            own = here[fold == k]
            if not len(own) or np.all(fold == k):
                continue
            fitted = fit_calibration(outcomes.rows(here[fold != k]))
            probability[own] = fitted.apply(outcomes.probability[own])
            is_fitted[own] = [part.method != "identity" for part in fitted.findings]
    return probability, is_fitted


def _dealt(outcomes: Outcomes, rng: np.random.Generator) -> np.ndarray:
    """The fifth of each row: whole groups, those with the same findings dealt out in turn."""
    names, group = np.unique(outcomes.groups.astype(str), return_inverse=True)
    has = np.zeros((len(names), len(outcomes.findings)), dtype=bool)
    np.logical_or.at(has, group, outcomes.truth & outcomes.known)
    order = np.lexsort((rng.random(len(names)), *has.T[::-1]))
    fold = np.empty(len(names), dtype=int)
    fold[order] = np.arange(len(names)) % FOLDS
    return fold[group]
