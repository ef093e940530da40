"""One evidence report: what was asked, of whom, how it was judged, what was found, and what may not be concluded."""

from attending.report.foreign import gather_foreign
from attending.report.gathering import chosen_words, conduct_of, gather
from attending.report.report import (
    Audit,
    AuditFinding,
    AuditShortcut,
    ColumnRow,
    Conduct,
    Curves,
    Events,
    Flow,
    Held,
    Part,
    Pattern,
    Primary,
    Privacy,
    Question,
    Refusal,
    Report,
    ReportError,
    Rounds,
)
from attending.report.writing import write_report

__all__ = [
    "Audit",
    "AuditFinding",
    "AuditShortcut",
    "ColumnRow",
    "Conduct",
    "Curves",
    "Events",
    "Flow",
    "Held",
    "Part",
    "Pattern",
    "Primary",
    "Privacy",
    "Question",
    "Refusal",
    "Report",
    "ReportError",
    "Rounds",
    "chosen_words",
    "conduct_of",
    "gather",
    "gather_foreign",
    "write_report",
]
