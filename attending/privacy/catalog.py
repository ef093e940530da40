"""The rule of every kind of evidence. A kind that is not here does not pass from chart to case."""

from collections.abc import Mapping

from attending.case import Demographics, Embedding, Evidence, Lab, Note, Scan, Sign
from attending.privacy.demographics import DemographicsRule
from attending.privacy.ids import PrivacyError
from attending.privacy.notes import NoteRule
from attending.privacy.rule import PrivacyRule
from attending.privacy.scans import ScanRule
from attending.privacy.unchanged import Unchanged

RULES: Mapping[type[Evidence], PrivacyRule] = {
    Note: NoteRule(),
    Scan: ScanRule(),
    Lab: Unchanged("a number with its unit, and hours relative to the question instead of a date"),
    Sign: Unchanged("one of the levels of the schema"),
    Demographics: DemographicsRule(),
    Embedding: Unchanged("a vector computed before it came here; whether it gives the patient away is not known"),
}


def rule_for(kind: type[Evidence], rules: Mapping[type[Evidence], PrivacyRule] = RULES) -> PrivacyRule:
    """The rule of a kind of evidence. Raises `PrivacyError` for one that has none."""
    if kind not in rules:
        raise PrivacyError(
            f"evidence of the kind {kind.__name__} has no privacy rule, so it may not enter a case; "
            "write one and add it to attending/privacy/catalog.py"
        )
    return rules[kind]
