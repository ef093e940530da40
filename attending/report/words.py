"""What is said about figures: numbers with their intervals, verdicts, and what may not be concluded.

The words are those of the evidence rules: "estimated probability of the recorded label", "shown" or "not shown", never a bare
percentage. A figure without an interval says so.
"""

from attending.evaluation import METRICS, Result, verdict
from attending.evaluation.sharing import FEWEST
from attending.report.ledger import Ledger
from attending.report.report import UNSTATED, Events, Report

DISCLAIMER = "Research software, not a medical device; not for decisions about patients"
MODELS = {
    "fused": "Fused model",
    "best-baseline": "Best baseline",
    "prevalence": "Prevalence alone",
    "site-and-missingness": "Site and missingness alone",
    "demographics": "Age and sex alone",
    "boosted-trees": "Boosted trees",
    "random-forest": "Random forest",
    "logistic-regression": "Logistic regression",
    "notes": "Notes alone",
    "film": "Films alone",
    "embeddings": "Embeddings alone",
    "late-fusion": "Late fusion",
    "oracle": "Oracle",
}
WITHOUT = {
    "note": "notes",
    "image": "films",
    "lab": "numbers",
    "sign": "signs",
    "demographics": "age and sex",
    "embedding": "embeddings",
}
_TABULAR = "numbers, signs, age and sex"
DETAILS = {
    "prevalence": "the same answer for everybody",
    "site-and-missingness": "no value, word or pixel",
    "boosted-trees": _TABULAR,
    "random-forest": _TABULAR,
    "logistic-regression": _TABULAR,
    "notes": "TF-IDF, logistic regression",
    "film": "thumbnail and edges, logistic regression",
    "late-fusion": "a weight per modality",
    "oracle": "knows how the data were made",
}
"""What a model looks at, in small print beside its name."""
METRIC_NAMES = {
    "auroc": "AUROC",
    "auroc_within_site": "AUROC within site",
    "auroc_over_sites": "AUROC, mean over sites",
    "auroc_at_new_site": "AUROC, expected at a new site",
    "calibration_intercept_over_sites": "Calibration in the large, mean over sites",
    "calibration_intercept_at_new_site": "Calibration in the large, expected at a new site",
    "calibration_intercept_before_local": "Calibration in the large, before recalibration at the site",
    "calibration_intercept_after_local": "Calibration in the large, after recalibration at the site",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "aurc": "Area under risk–coverage",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration in the large",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "flagged_per_100": "Flagged per 100",
    "net_benefit": "Net benefit",
    "set_coverage": "What was recorded is in the set",
    "set_coverage_events": "In the set, of those with the label",
    "set_coverage_others": "In the set, of those without",
    "set_size": "Mean size of a set",
    "set_empty": "Empty sets",
    "set_full": "Sets that leave all open",
    "abstained": "Not answered",
}
BEST = {
    "auroc": "1; 0.5 is chance",
    "auroc_within_site": "1; 0.5 is chance",
    "auroc_over_sites": "1; 0.5 is chance",
    "auroc_at_new_site": "1; 0.5 is chance",
    "auprc": "1; the prevalence is chance",
    "brier": "0",
    "log_loss": "0",
    "aurc": "0",
    "calibration_slope": "1",
    "calibration_intercept": "0",
}
PREPOSITIONS = frozenset(
    {"at", "on", "in", "before", "after", "during", "when", "while", "within", "upon", "by", "until", "from"}
)
"""With these a prediction time may begin that was declared as a phrase; others are told with "at"."""
FEW_EVENTS = 100
SCARCE = 0.1
"""A kind of evidence is nearly absent where fewer than this share of the cases hold it."""


def model_name(report: Report, model: str) -> str:
    """What readers are told instead of a model's name."""
    if model in report.labels:
        return report.labels[model]
    if model.startswith("fused-without-"):
        kind = model.removeprefix("fused-without-")
        return f"Fused model without {WITHOUT.get(kind, kind)}"
    return MODELS.get(model, model)


def metric_name(metric: str) -> str:
    """A metric as it is written in the field."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def figure(value: float | None, metric: str = "") -> str:
    """A number in three decimals (counts per 100 in one), with a true minus sign."""
    if value is None:
        return "–"
    return f"{value:z.1f}".replace("-", "−") if metric == "flagged_per_100" else f"{value:z.3f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return "–" if value is None else f"{value:+z.3f}".replace("-", "−")


def interval(row: Result) -> str:
    """`0.812–0.879` (with "to" where signs occur), or the words "no interval"."""
    if row.low is None or row.high is None:
        return "no interval"
    if row.comparator is not None:
        return f"{signed(row.low)} to {signed(row.high)}"
    between = "–" if row.low >= 0.0 else " to "
    return f"{figure(row.low, row.metric)}{between}{figure(row.high, row.metric)}"


def with_interval(row: Result | None) -> str:
    """`0.846 (0.812–0.879)`; "not estimable" where there is no value."""
    if row is None:
        return "–"
    if row.value is None:
        return "too few to say" if row.note.startswith("too small") else "not estimable"
    value = signed(row.value) if row.comparator is not None else figure(row.value, row.metric)
    return f"{value} ({interval(row)})"


def count(number: int | None) -> str:
    """A count with thousands set apart; a hidden one says so."""
    return "under 5" if number is None else f"{number:,}".replace(",", "\u202f")


def known_events(one: Events) -> str:
    """How many events, where it may be told."""
    return "hidden" if one.events is None else count(one.events)


def level_words(row: Result) -> str:
    """`95 % interval`."""
    return f"{100 * (row.level or 0.95):.4g}\u00a0% interval"


def compared(report: Report, row: Result) -> str:
    """One comparison in words, without a verdict."""
    return (
        f"{model_name(report, row.model)} minus {lowered(model_name(report, row.comparator or ''))}, "
        f"{metric_name(row.metric)}: {signed(row.value)}"
    )


def ruling(row: Result) -> str:
    """ "better: shown", "worse: shown" or "a difference is not shown"."""
    if row.value is None or verdict(row) != "shown":
        return "a difference is not shown"
    metric = METRICS.get(row.metric)
    is_better = (row.value > 0) == (metric is None or metric.better != "lower")
    return "better: shown" if is_better else "worse: shown"


def lowered(label: str) -> str:
    """A label inside a sentence: its first letter small unless the word is an abbreviation."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def question_sentence(report: Report) -> str:
    """Population, unit, prediction time, target as recorded and reference standard, in one sentence."""
    asked = report.question
    when = asked.prediction_time
    is_phrase = when.partition(" ")[0].lower() in PREPOSITIONS
    at = "at a prediction time that is unstated" if when == UNSTATED else f"asked {when if is_phrase else f'at {when}'}"
    population = asked.population if asked.population != UNSTATED else "a population that is unstated"
    standard = asked.reference_standard
    return (
        f"In {population} ({asked.unit}), {at}: the estimated probability of the recorded label {asked.target}; "
        f"reference standard: {standard}."
    )


def protocol_sentence(report: Report) -> str:
    """How the procedure was judged."""
    conduct = report.conduct
    if conduct.kind == "cv":
        told = (
            f"Nested cross-validation, {conduct.folds} folds × {conduct.repeats} "
            f"{'repeats' if conduct.repeats != 1 else 'repeat'}, whole groups held out; tuning, early stopping, calibration "
            "and thresholds inside each training fold. The figures describe the procedure, not the one delivered model."
        )
    elif conduct.kind == "site":
        told = (
            "One site left out at a time; tuning, calibration and thresholds without that site. "
            "The figures describe the procedure, not the one delivered model."
        )
    elif conduct.kind == "evaluation":
        told = (
            "A finished model on a further table: nothing was fitted, tuned or recalibrated here. "
            "The intervals describe this one model; what retraining would change is not in them."
        )
    elif conduct.kind == "foreign":
        told = (
            "A predictions file, judged as it came. On whom the model was trained, what was tuned, and whether these cases "
            "were kept out of it, the file does not say."
        )
    elif conduct.kind == "quick":
        told = "One quick split: exploratory, nothing may be concluded."
    else:
        told = (
            "One split into train, tune, calibrate and test, whole groups apart. "
            "The intervals describe this one model; what retraining would change is not in them."
        )
    return told


def sets_sentence(report: Report) -> str:
    """What conformal sets promise under this protocol, and what they do not."""
    if report.conduct.kind == "foreign":
        return "As the file gives them; what they were made to hold it does not say."
    aim = "Sets are made to hold what was recorded for 90 of 100 patients like those in calibration, not for this patient"
    if report.conduct.kind in ("cv", "site"):
        return (
            f"{aim}. Their limits come from inner folds (cross-conformal): guaranteed are 80 of 100 with the models of those "
            "folds, and nothing with one model fitted anew, so the coverage measured here is what there is to go by."
        )
    return f"{aim}, on average over calibration parts."


def not_transferable(report: Report) -> str:
    """The mark on absolute calibration, or nothing where the sampling is a cohort."""
    sampling = report.question.sampling
    return "" if sampling == "cohort" else f"Absolute probabilities are not transferable: the sampling is {sampling}."


def best_auprc(row: Result | None) -> str:
    """What an AUPRC is held against: 1, and the prevalence, which chance reaches."""
    prevalence = None if row is None else row.prevalence
    return BEST["auprc"] if prevalence is None else f"1; the prevalence {figure(prevalence)} is chance"


def openings_sentence(report: Report) -> str:
    """How often outer results were opened."""
    opened = report.conduct.openings
    if opened is None:
        return "How often these results were opened before is unknown."
    times = {0: "never before this report", 1: "once", 2: "twice"}.get(opened, f"{opened} times")
    after = " Every look after the first makes the figures more optimistic than they seem." if opened > 1 else ""
    return f"Outer results opened {times}.{after}"


def not_to_be_concluded(report: Report, ledger: Ledger) -> tuple[str, ...]:
    """What may not be concluded: what follows from the figures and the protocol."""
    told: list[str] = []
    primary, finding = report.primary, report.finding
    if report.conduct.kind == "quick":
        told.append("Anything: this is one exploratory split.")
    if report.conduct.kind in ("evaluation", "foreign"):
        told.append("That these patients are new to the model: whether any of them took part in training was not checked.")
    if primary.comparator is not None:
        row = ledger.difference(model=primary.model, comparator=primary.comparator, metric=primary.metric, finding=finding)
        other = lowered(model_name(report, primary.comparator))
        if row is None or verdict(row) != "shown":
            ours = lowered(model_name(report, primary.model))
            told.append(f"That the {ours} is better than {other}, or as good as it: a difference is not shown either way.")
    gaps = ledger.value(model="site-and-missingness", metric="auroc", finding=finding)
    if gaps is None:
        told.append("That the figures come from the evidence alone: what site and missingness reach was not measured.")
    elif gaps.low is not None and gaps.low > 0.5:
        told.append(
            f"That the figures come from the evidence alone: site and missingness reach AUROC {with_interval(gaps)} "
            "without one value, word or pixel."
        )
    told += [
        f"Fine distinctions about {one.finding}: "
        + (
            "events or non-events are few, or hidden beside such"
            if one.events is None
            else f"there are {known_events(one)} events"
        )
        + "; the intervals are wide."
        for one in report.flow.findings
        if finding in (one.finding, "macro") and (one.events or 0) < FEW_EVENTS
    ]
    sampling = report.question.sampling
    if sampling != "cohort":
        told.append(f"Absolute risks, PPV, NPV or net benefit elsewhere: the sampling is {sampling}, so they do not transfer.")
    sites = {row.slice_value for row in ledger.rows if row.slice == "site" and row.model == primary.model}
    if len(sites) == 1:
        told.append("What sites differ in, or what another one would show: all cases are of one site.")
    told += _scarce(report)
    if report.audit.verdict is None:
        told.append("That the data are free of leaks and shortcuts: no audit was run.")
    told += [
        f"What the data cannot carry: the audit found what blocks ({one.check})."
        for one in report.audit.findings
        if one.level == "blocks"
    ]
    if len(ledger.models(finding=finding)) == 1:
        told.append("That the model does better than something simple: no baseline was judged on these cases.")
    if report.question.reference_standard == UNSTATED:
        told.append("That the recorded label is the disease: the reference standard is unstated.")
    elsewhere = (
        "in other patients than these, at another site"
        if report.conduct.kind in ("evaluation", "foreign")
        else "at another site"
    )
    told.append(f"That it holds {elsewhere} or a later time, or that a patient benefits: neither was studied here.")
    return tuple(dict.fromkeys(told))


def _scarce(report: Report) -> list[str]:
    """Kinds of evidence that hardly any case holds."""
    total = sum(pattern.n for pattern in report.patterns)
    told = []
    for kind in report.kinds:
        held = sum(pattern.n for pattern in report.patterns if kind in pattern.present)
        if 0 < held < SCARCE * total:
            number = count(held if held >= FEWEST else None)
            told.append(f"What {lowered(kind)} add: they are nearly absent, there in {number} of {count(total)} cases.")
    return told


def worst_slice(report: Report, ledger: Ledger) -> tuple[Result | None, int, int]:
    """The subgroup or site with the lowest AUROC of the primary model, how many could be judged, how many were too small."""
    findings = ledger.findings() if report.finding == "macro" else (report.finding,)
    slices = [row for name in findings for row in ledger.slices(model=report.primary.model, metric="auroc", finding=name)]
    judged = [row for row in slices if row.value is not None]
    lowest = min(judged, key=lambda row: row.value if row.value is not None else 1.0, default=None)
    return lowest, len(judged), len(slices) - len(judged)
