"""Evidence that holds nothing of a person's identity by its type: numbers with units, levels of a schema, vectors."""

from dataclasses import dataclass

from attending.case import Evidence
from attending.privacy.rule import Kept, Person, PrivacyRule


@dataclass(frozen=True)
class Unchanged(PrivacyRule):
    """Keeps the evidence as it is; `reason` says why that is safe."""

    reason: str

    @property
    def promise(self) -> str:
        return f"kept as it is: {self.reason}"

    def keep(self, evidence: Evidence, person: Person) -> Kept:
        return Kept(evidence=evidence)
