"""All checks, by the name that reports and waivers call them."""

from collections.abc import Mapping

from attending.audit.check import Check
from attending.audit.persons import PersonsCheck
from attending.audit.presence import PresenceCheck

_ALL: tuple[Check, ...] = (
    PersonsCheck(),
    PresenceCheck(),
)
CHECKS: Mapping[str, Check] = {check.name: check for check in _ALL}
