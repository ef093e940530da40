"""Mechanisms held against each other on the same work: cost, time, memory, and what they learn."""

from attending.comparison.clinic import ClinicPlan
from attending.comparison.comparison import Comparison, ComparisonPlan, compare
from attending.comparison.contenders import (
    ComparisonError,
    Contender,
    Shape,
    chosen_contenders,
    contender,
    contenders_from,
    standard_contenders,
)
from attending.comparison.learning import LearningPlan
from attending.comparison.page import page_of
from attending.comparison.row import Row, as_text
from attending.comparison.tables import quality_table, size_table
from attending.comparison.tasks import AssociativeRecall, LongCopy, SmallTask, parsed_tasks
from attending.comparison.timing import TimingPlan, parsed_lengths

__all__ = [
    "AssociativeRecall",
    "ClinicPlan",
    "Comparison",
    "ComparisonError",
    "ComparisonPlan",
    "Contender",
    "LearningPlan",
    "LongCopy",
    "Row",
    "Shape",
    "SmallTask",
    "TimingPlan",
    "as_text",
    "chosen_contenders",
    "compare",
    "contender",
    "contenders_from",
    "page_of",
    "parsed_lengths",
    "parsed_tasks",
    "quality_table",
    "size_table",
    "standard_contenders",
]
