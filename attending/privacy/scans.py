"""Pictures keep their pixels and nothing else. Text burned into the pixels is not found, and the manifest says so."""

from dataclasses import dataclass

from attending.case import Evidence, Scan
from attending.privacy.rule import Kept, Person, PrivacyRule


@dataclass(frozen=True)
class ScanRule(PrivacyRule):
    """A scan made anew from pixels, spacing and view: file name, EXIF and text chunks cannot pass."""

    @property
    def promise(self) -> str:
        return "pixels, spacing and view only: no file name, EXIF or text chunk passes; text burned into the picture stays"

    def keep(self, evidence: Evidence, person: Person) -> Kept:
        assert isinstance(evidence, Scan)
        bare = Scan(
            at=evidence.at,
            pixels=evidence.pixels,
            field_name=evidence.field_name,
            spacing_mm=evidence.spacing_mm,
            view=evidence.view,
        )
        return Kept(evidence=bare, done=("scans stripped of metadata",))
