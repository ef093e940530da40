"""All checks, by the name that reports and waivers call them."""

from collections.abc import Mapping

from attending.audit.check import Check
from attending.audit.giveaways import GiveawaysCheck
from attending.audit.lateness import LatenessCheck
from attending.audit.origins import OriginsCheck
from attending.audit.persons import PersonsCheck
from attending.audit.presence import PresenceCheck
from attending.audit.repeats import RepeatsCheck
from attending.audit.windows import WindowsCheck
from attending.audit.wording import WordingCheck

_ALL: tuple[Check, ...] = (
    PersonsCheck(),
    RepeatsCheck(),
    LatenessCheck(),
    WindowsCheck(),
    GiveawaysCheck(),
    WordingCheck(),
    OriginsCheck(),
    PresenceCheck(),
)
CHECKS: Mapping[str, Check] = {check.name: check for check in _ALL}
