"""Chart → Case: what identifies a person stays behind. One rule per kind of evidence (`catalog`), one maker of cases."""

from attending.privacy.deidentify import Deidentified, Manifest, deidentify
from attending.privacy.ids import PrivacyError, project_key

__all__ = ["Deidentified", "Manifest", "PrivacyError", "deidentify", "project_key"]
