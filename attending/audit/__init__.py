"""What is wrong with the data, before anything is trained: checks that read the identified side and print ids and counts."""

from attending.audit.audit import Verdict, audit, audit_intake, audit_parts
from attending.audit.check import AuditError, Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material
from attending.audit.shortcut import Shortcut, strongest
from attending.audit.split_file import read_split

__all__ = [
    "AuditError",
    "Check",
    "Finding",
    "Material",
    "Severity",
    "Shortcut",
    "Verdict",
    "audit",
    "audit_intake",
    "audit_parts",
    "read_split",
    "strongest",
]
