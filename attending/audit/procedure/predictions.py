"""T1, T13, T18, T19 and T20 in predictions: what a file alone betrays of the procedure that wrote it.

A file cannot prove that all was well; it can show that something was not. Nothing here is asked of fewer than ten events.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from attending.audit.finding import Finding, Severity
from attending.evaluation.logistic import slope_and_intercept
from attending.evaluation.metric import CLIP
from attending.evaluation.outcomes import Outcomes

JUDGING = ("test", "cv", "evaluation")
FITTED = ("train", "tune", "calibrate")
FEWEST = 10
_VISIT = re.compile(r"^(.*\d.*?)[-_/.: ](?:v|visit|s|stay|scan|img|image|film|adm|study|series)?[-_]?(\d{1,2})$", re.IGNORECASE)
_EXACT = 1e-3
"""Slope and intercept this near to 1 and 0 are those of a calibration fitted to these very rows."""
_EXACT_MEAN = 1e-6
_SURELY, _SHIFT = 4.0, float(np.log(1.5))
"""Standard errors, and log-odds, by which the mean risk must miss the events before it is no chance and no trifle."""


def check_predictions(splits: Mapping[str, Mapping[str, Outcomes]], *, spared: tuple[str, ...] = ()) -> tuple[Finding, ...]:
    """What all models of all splits betray, the gravest first. `spared` models are not asked about calibration: baselines that
    are shown as they are."""
    found = [*_across_splits(splits)]
    for split, models in splits.items():
        if split not in JUDGING or not models:
            continue
        first = next(iter(models.values()))
        found += [*_across_folds(first), *_changing(first), *_unnamed_groups(first)]
        for name, outcomes in models.items():
            if name not in spared:
                found += [*_fitted_here(name, split, outcomes), *_shifted(name, outcomes)]
            found += _thresholds_from_here(name, outcomes)
    return tuple(sorted(found, key=lambda one: one.severity.rank))


def _across_splits(splits: Mapping[str, Mapping[str, Outcomes]]) -> list[Finding]:
    held: dict[str, set[str]] = {"fitted": set(), "judged": set()}
    for split, models in splits.items():
        for outcomes in models.values():
            held["judged" if split in JUDGING else "fitted"] |= set(outcomes.groups.astype(str))
    both = held["fitted"] & held["judged"]
    if not both:
        return []
    return [
        _found(
            "T18",
            Severity.BLOCK,
            "the same groups stand in a part that was fitted on and in the part that judges",
            f"{len(both)} groups of {len(held['judged'])} judged ones",
            "test cases were seen in fitting, so that results are too good",
            "part whole groups, and write the group of every case into the column group",
        )
    ]


def _across_folds(outcomes: Outcomes) -> list[Finding]:
    homes: dict[tuple[int, str], set[int]] = defaultdict(set)
    for repeat, group, fold in zip(outcomes.repeat, outcomes.groups, outcomes.fold, strict=True):
        homes[int(repeat), str(group)].add(int(fold))
    parted = {group for (_, group), folds in homes.items() if len(folds) > 1}
    if not parted:
        return []
    return [
        _found(
            "T1",
            Severity.BLOCK,
            "cases of one group are held out in different folds",
            f"{len(parted)} of {len(set(outcomes.groups.astype(str)))} groups",
            "a patient is judged by a model that saw the same patient, so that results are too good",
            "make folds of whole groups (the widest id: patient, family, article)",
        )
    ]


def _changing(outcomes: Outcomes) -> list[Finding]:
    repeats = len(np.unique(outcomes.repeat))
    counts = Counter(outcomes.ids.astype(str))
    uneven = sum(n != repeats for n in counts.values())
    if not uneven:
        return []
    return [
        _found(
            "T13",
            Severity.WARN,
            "not every case is judged in every repeat",
            f"{uneven} of {len(counts)} cases occur in fewer than all {repeats} repeats",
            "the test set changes by itself: some cases count more often than others",
            "predict every case once in every repeat, or give the repeats as separate files",
        )
    ]


def _unnamed_groups(outcomes: Outcomes) -> list[Finding]:
    ids = sorted(set(outcomes.ids.astype(str)))
    if len(set(outcomes.groups.astype(str))) < len(ids):
        return []
    stems = Counter(match[1] for id in ids if (match := _VISIT.match(id)))
    shared = [stem for stem, n in stems.items() if n > 1]
    # Years and hospitals before a running number are few with many each; patients are many with few each.
    if len(shared) < FEWEST or sum(stems.values()) < 0.5 * len(ids) or len(stems) < len(ids) / 20:
        return []
    return [
        _found(
            "T20",
            Severity.WARN,
            "ids read as visits of the same patients, and every case counts as a patient of its own",
            f"{len(ids)} cases with {len(stems)} different beginnings of their ids, {len(shared)} of them shared",
            "intervals are too narrow where a patient has several rows",
            "write the patient of every case into the column group",
        )
    ]


def _fitted_here(name: str, split: str, outcomes: Outcomes) -> list[Finding]:
    """Maximum likelihood gives slope 1 and intercept 0, or a mean risk of the very share, on what it was fitted to."""
    found = []
    for finding, probability, truth, _ in _by_finding(outcomes):
        if split == "cv" or len(np.unique(probability)) < FEWEST or len(np.unique(outcomes.repeat)) > 1:
            continue
        p = np.clip(probability, CLIP, 1.0 - CLIP)
        fitted = slope_and_intercept(np.log(p / (1.0 - p)), truth, np.ones((1, len(p))))
        slope, intercept = (float(np.ravel(value)[0]) for value in fitted)
        miss = float((truth - probability).mean())
        if abs(miss) < _EXACT_MEAN or (abs(slope - 1.0) < _EXACT and abs(intercept) < _EXACT):
            found.append(f'"{finding}" (slope {slope:.5f}, intercept {intercept:+.5f}, mean miss {miss:+.1e})')
    if not found:
        return []
    return [
        _found(
            "T18",
            Severity.WARN,
            f'the probabilities of "{name}" fit the judged cases exactly, as only a calibration fitted to them does',
            "; ".join(found),
            "calibration, Brier score and log loss are those of the training part of the calibration",
            "fit the calibration on a part of its own or on other folds",
        )
    ]


def _thresholds_from_here(name: str, outcomes: Outcomes) -> list[Finding]:
    """A threshold taken from the judged rows is one of their probabilities, to the last digit."""
    if outcomes.threshold is None:
        return []
    found = []
    for column, finding in enumerate(outcomes.findings):
        n, own = 0, 0
        for repeat, fold in sorted(set(zip(outcomes.repeat.tolist(), outcomes.fold.tolist(), strict=True))):
            here = (outcomes.repeat == repeat) & (outcomes.fold == fold)
            probability = np.unique(outcomes.probability[here, column])
            if len(probability) < 0.9 * here.sum():
                continue  # few different probabilities meet a threshold by chance
            n += 1
            own += bool(np.isin(outcomes.threshold[here, column], probability).any())
        if n and own > 0.5 * n:
            found.append(f'"{finding}" in {own} of {n} folds')
    if not found:
        return []
    return [
        _found(
            "T18",
            Severity.WARN,
            f'the threshold of "{name}" is itself a probability of a judged case',
            "; ".join(found),
            "sensitivity and specificity are those of the cases on which the threshold was chosen",
            "choose the threshold on other folds or a calibrate part, by a rule written down beforehand",
        )
    ]


def _shifted(name: str, outcomes: Outcomes) -> list[Finding]:
    found = []
    for finding, probability, truth, groups in _by_finding(outcomes):
        miss = truth - probability
        _, which = np.unique(groups, return_inverse=True)
        by_group = np.bincount(which, weights=miss)
        mean, share = probability.mean(), truth.mean()
        shift = np.log(mean / (1.0 - mean)) - np.log(share / (1.0 - share)) if 0.0 < mean < 1.0 else np.inf
        if abs(by_group.sum()) > _SURELY * np.sqrt((by_group**2).sum()) and abs(shift) > _SHIFT:
            found.append(f'"{finding}": mean probability {mean:.3f}, share with it {share:.3f}')
    if not found:
        return []
    return [
        _found(
            "T19",
            Severity.WARN,
            f'the probabilities of "{name}" miss the share of events, as after class weights without recalibration',
            "; ".join(found),
            "the probabilities are no risks: thresholds, decision curves and predictive values do not hold",
            "recalibrate on a part of its own, or on other folds, and print slope and intercept",
        )
    ]


def _by_finding(outcomes: Outcomes) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Finding, probability, truth and group of its known rows; only with enough groups of either class."""
    held = []
    for column, finding in enumerate(outcomes.findings):
        known = outcomes.known[:, column]
        truth, groups = outcomes.truth[known, column], outcomes.groups[known].astype(str)
        if min(len(np.unique(groups[truth])), len(np.unique(groups[~truth]))) >= FEWEST:
            held.append((finding, outcomes.probability[known, column], truth.astype(float), groups))
    return held


def _found(trap: str, severity: Severity, told: str, *said: str) -> Finding:
    evidence, effect, remedy = said
    return Finding(
        trap=trap, check="predictions", severity=severity, told=told, evidence=evidence, effect=effect, remedy=remedy
    )
