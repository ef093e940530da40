"""Ages of 90 and above are pooled, as they are few enough to name people (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C))."""

from dataclasses import dataclass, replace

from attending.case import Demographics, Evidence
from attending.privacy.rule import Kept, Person, PrivacyRule

POOLED_FROM_YEARS = 90.0


@dataclass(frozen=True)
class DemographicsRule(PrivacyRule):
    """Ages from 90 years become 90."""

    @property
    def promise(self) -> str:
        return f"ages from {POOLED_FROM_YEARS:g} years are pooled as {POOLED_FROM_YEARS:g}; sex is kept"

    def keep(self, evidence: Evidence, person: Person) -> Kept:
        assert isinstance(evidence, Demographics)
        if evidence.age_years is None or evidence.age_years <= POOLED_FROM_YEARS:
            return Kept(evidence=evidence)
        return Kept(evidence=replace(evidence, age_years=POOLED_FROM_YEARS), done=("ages pooled",))
