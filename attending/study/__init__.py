"""A study: one table, one question, one protocol, one report. What `attending run` does, as a function.

    table + schema ─▶ intake ─▶ protocol ─▶ trial (fused model and baselines on the same folds) ─▶ judge ─▶ folder with report

A study that was killed goes on where it stopped when it is started again with the same settings: its fits lie in `.work`
until the folder is finished.
"""

from attending.study.folder import (
    OPENINGS,
    PREDICTIONS,
    REPORT_HTML,
    REPORT_JSON,
    SPLIT,
    Study,
    count_opening,
    report_of,
    split_text,
)
from attending.study.holding import hold_study
from attending.study.plan import Plan, ProtocolKind, StudyError, primary_findings, terms_of

__all__ = [
    "OPENINGS", "PREDICTIONS", "REPORT_HTML", "REPORT_JSON", "SPLIT", "Plan", "ProtocolKind", "Study", "StudyError",
    "count_opening", "hold_study", "primary_findings", "report_of", "split_text", "terms_of",
]  # fmt: skip
