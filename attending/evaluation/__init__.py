"""Numbers about predictions: metrics, intervals, calibration, comparison. Knows no model and no torch."""

from attending.evaluation.catalog import METRICS
from attending.evaluation.conformal import Conformal, fit_conformal, fit_cross_conformal
from attending.evaluation.curve import calibration_curve, decision_curve, risk_coverage, risk_distribution
from attending.evaluation.estimate import Estimate
from attending.evaluation.gate import Gate, Trait, fit_gate
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.local import locally_recalibrated
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.plan import Expectation, expected_widths, too_small_slices
from attending.evaluation.predictions import PredictionError, Predictions, predictions_text, read_predictions
from attending.evaluation.recalibration import Calibration, fit_calibration, fit_isotonic
from attending.evaluation.result import EvaluationError, Result, verdict, verdict_of_margin
from attending.evaluation.sharing import shareable, suppress
from attending.evaluation.sites import SiteSummary, site_summary
from attending.evaluation.threshold import Rule, choose_threshold, row_thresholds

__all__ = [
    "METRICS",
    "Calibration",
    "Conformal",
    "Estimate",
    "EvaluationError",
    "Expectation",
    "Gate",
    "Outcomes",
    "PredictionError",
    "Predictions",
    "Result",
    "Rule",
    "SiteSummary",
    "Terms",
    "Trait",
    "calibration_curve",
    "choose_threshold",
    "decision_curve",
    "expected_widths",
    "fit_calibration",
    "fit_conformal",
    "fit_cross_conformal",
    "fit_gate",
    "fit_isotonic",
    "judge",
    "locally_recalibrated",
    "predictions_text",
    "read_predictions",
    "risk_coverage",
    "risk_distribution",
    "row_thresholds",
    "shareable",
    "site_summary",
    "suppress",
    "too_small_slices",
    "verdict",
    "verdict_of_margin",
]
