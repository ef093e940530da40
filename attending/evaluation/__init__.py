"""Numbers about predictions: metrics, intervals, calibration, comparison. Knows no model and no torch."""

from attending.evaluation.catalog import METRICS
from attending.evaluation.estimate import Estimate
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import PredictionError, Predictions, predictions_text, read_predictions
from attending.evaluation.result import EvaluationError, Result, verdict
from attending.evaluation.threshold import Rule, choose_threshold, row_thresholds

__all__ = [
    "METRICS",
    "Estimate",
    "EvaluationError",
    "Outcomes",
    "PredictionError",
    "Predictions",
    "Result",
    "Rule",
    "Terms",
    "choose_threshold",
    "judge",
    "predictions_text",
    "read_predictions",
    "row_thresholds",
    "verdict",
]
