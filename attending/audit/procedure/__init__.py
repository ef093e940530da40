"""What is wrong with what runs: T13 to T20 on datasets, models, procedures, intervals, explanations and predictions.

Each function tries the thing it is given and returns findings, nothing where nothing is wrong. They take plain callables, so
that anyone's code can be put to them. None of these files knows another.
"""

from attending.audit.procedure.attention import check_keys, check_weights
from attending.audit.procedure.company import check_company, check_parameters
from attending.audit.procedure.explanations import check_explanations
from attending.audit.procedure.fitting import check_fitting
from attending.audit.procedure.idleness import check_kinds
from attending.audit.procedure.intervals import check_interval
from attending.audit.procedure.predictions import check_predictions
from attending.audit.procedure.repetition import check_answers, check_items

__all__ = [
    "check_answers",
    "check_company",
    "check_explanations",
    "check_fitting",
    "check_interval",
    "check_items",
    "check_keys",
    "check_kinds",
    "check_parameters",
    "check_predictions",
    "check_weights",
]
