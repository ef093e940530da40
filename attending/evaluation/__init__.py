"""Numbers about predictions: metrics, intervals, calibration, comparison. Knows no model and no torch."""

from attending.evaluation.catalog import METRICS
from attending.evaluation.conformal import Conformal, fit_conformal, fit_cross_conformal
from attending.evaluation.estimate import Estimate
from attending.evaluation.gate import Gate, fit_gate
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import PredictionError, Predictions, predictions_text, read_predictions
from attending.evaluation.recalibration import Calibration, fit_calibration, fit_isotonic
from attending.evaluation.result import EvaluationError, Result, verdict
from attending.evaluation.threshold import Rule, choose_threshold, row_thresholds

__all__ = [
    "METRICS",
    "Calibration",
    "Conformal",
    "Estimate",
    "EvaluationError",
    "Gate",
    "Outcomes",
    "PredictionError",
    "Predictions",
    "Result",
    "Rule",
    "Terms",
    "choose_threshold",
    "fit_calibration",
    "fit_conformal",
    "fit_cross_conformal",
    "fit_gate",
    "fit_isotonic",
    "judge",
    "predictions_text",
    "read_predictions",
    "row_thresholds",
    "verdict",
]
