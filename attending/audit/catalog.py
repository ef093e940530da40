"""All checks, by the name that reports and waivers call them."""

from collections.abc import Mapping

from attending.audit.borders import BordersCheck
from attending.audit.check import Check
from attending.audit.exposure import ExposureCheck
from attending.audit.filing import FilingCheck
from attending.audit.giveaways import GiveawaysCheck
from attending.audit.lateness import LatenessCheck
from attending.audit.origins import OriginsCheck
from attending.audit.parts import PartsCheck
from attending.audit.persons import PersonsCheck
from attending.audit.presence import PresenceCheck
from attending.audit.ranges import RangesCheck
from attending.audit.repeats import RepeatsCheck
from attending.audit.unknowns import UnknownsCheck
from attending.audit.unreadable import UnreadableCheck
from attending.audit.windows import WindowsCheck
from attending.audit.wording import WordingCheck

_ALL: tuple[Check, ...] = (
    PersonsCheck(),
    PartsCheck(),
    RepeatsCheck(),
    LatenessCheck(),
    WindowsCheck(),
    GiveawaysCheck(),
    WordingCheck(),
    OriginsCheck(),
    FilingCheck(),
    BordersCheck(),
    PresenceCheck(),
    RangesCheck(),
    ExposureCheck(),
    UnreadableCheck(),
    UnknownsCheck(),
)
CHECKS: Mapping[str, Check] = {check.name: check for check in _ALL}
