"""The synthetic clinic: patients whose causes are known, so that "how good could it be" and "why" have exact answers."""

from attending.records.clinic.config import ClinicConfig, ClinicError, Leak, Shortcut, SiteShift
from attending.records.clinic.draw import Clinic, draw_clinic
from attending.records.clinic.files import clinic_schema, write_clinic
from attending.records.clinic.oracle import Oracle
from attending.records.clinic.reasons import Reason, Reasons

__all__ = [
    "Clinic",
    "ClinicConfig",
    "ClinicError",
    "Leak",
    "Oracle",
    "Reason",
    "Reasons",
    "Shortcut",
    "SiteShift",
    "clinic_schema",
    "draw_clinic",
    "write_clinic",
]
