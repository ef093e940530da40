"""The metrics by name: a literal table."""

from collections.abc import Mapping

from attending.evaluation import calibration, decision, discrimination, scoring, selective
from attending.evaluation.metric import Metric

_TABLE = (
    Metric(name="auroc", values=discrimination.auroc, within="fold", support="share", better="higher"),
    Metric(name="auroc_within_site", values=discrimination.auroc_within_site, within="fold", support="share", better="higher"),
    # Within a repeat: in a fold of four events average precision is biased by its own size.
    Metric(name="auprc", values=discrimination.auprc, within="repeat", support="share", better="higher", by_prevalence=True),
    Metric(name="brier", values=scoring.brier, within="repeat", support="positive", better="lower", by_prevalence=True),
    Metric(name="log_loss", values=scoring.log_loss, within="repeat", support="positive", better="lower", by_prevalence=True),
    Metric(name="aurc", values=selective.aurc, within="repeat", support="positive", better="lower", by_prevalence=True),
    Metric(name="calibration_slope", values=calibration.calibration_slope, within="repeat", support="real"),
    Metric(
        name="calibration_intercept",
        values=calibration.calibration_intercept,
        within="repeat",
        support="real",
        by_prevalence=True,
    ),
    Metric(
        name="sensitivity", values=decision.sensitivity, within="repeat", support="share", better="higher", at_threshold=True
    ),
    Metric(
        name="specificity", values=decision.specificity, within="repeat", support="share", better="higher", at_threshold=True
    ),
    Metric(
        name="ppv",
        values=decision.ppv,
        within="repeat",
        support="share",
        better="higher",
        at_threshold=True,
        by_prevalence=True,
    ),
    Metric(
        name="npv",
        values=decision.npv,
        within="repeat",
        support="share",
        better="higher",
        at_threshold=True,
        by_prevalence=True,
    ),
    Metric(
        name="flagged_per_100",
        values=decision.flagged_per_100,
        within="repeat",
        support="per 100",
        at_threshold=True,
        by_prevalence=True,
    ),
    Metric(
        name="net_benefit",
        values=decision.net_benefit,
        within="repeat",
        support="real",
        better="higher",
        at_threshold=True,
        by_prevalence=True,
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
CORE = ("auroc", "auprc", "brier", "log_loss", "calibration_slope", "calibration_intercept")
AT_THRESHOLD = tuple(name for name, metric in METRICS.items() if metric.at_threshold)
