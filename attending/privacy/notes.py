"""Notes: the row's own identity values, and phone numbers, e-mails, links, dates, ids and great ages, are replaced.

Found by pattern, so what has no pattern is not found: names that stand in no column of the table, places, rare stories.
What was replaced is counted by kind; the text itself never reaches a log.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from attending.case import Evidence, Note
from attending.privacy.dates import PLACEHOLDER, find_dates, shifted
from attending.privacy.rule import Kept, Person, PrivacyRule
from attending.privacy.spans import Replacement, replace_spans

_URL = re.compile(r"\b(?:https?://|ftp://|www\.)[^\s<>\"')\]]+|\b(?:doi:\s*)?10\.\d{4,9}/[^\s<>\"')\]]+", re.IGNORECASE)
# begins where its characters begin, so that a long run without an @ is looked at once and not from each of its characters
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_PHONE = re.compile(
    r"(?<![\w./])(?:"
    r"\+\d{1,3}[\s./-]?(?:\(?\d{1,5}\)?[\s./-]?){2,5}"  # +49 941 123-456
    r"|\(0?\d{2,5}\)[\s./-]?\d{3,4}(?:[\s./-]?\d{2,5})?"  # (0941) 123 456
    r"|0\d{2,5}[\s/-]\d{3,}(?:[\s/-]?\d+)*"  # 0941/123456
    r"|\d{3}[-.\s]\d{3}[-.]\d{4}"  # 555-123-4567
    r")(?<=\d)(?![\w/])"
)
_PHONE_SAID = re.compile(
    r"(?<=\b)(?:tel(?:ephone)?|phone|mobile|cell|fax|call|pager|bleep)(?:\s+(?:no|number|nr))?[.:\s]*(\+?\d[\d\s()/.-]{2,}\d)",
    re.IGNORECASE,
)
_ID_SAID = re.compile(
    r"\b(?:mrn|ssn|nhs|patient\s*(?:id|no|number|nr)|pat\.?\s*(?:id|nr)|id|case\s*(?:id|no|number|nr)|accession|record)"
    r"(?:\s*(?:no|number|nr|id))?\s*[.:#=]*\s*((?=[\w-]*\d)[A-Z]{0,4}[-]?[\w-]{3,})",
    re.IGNORECASE,
)
_ID = re.compile(
    r"(?<![\w.,])(?:\d{3}-\d{2}-\d{4}|\d{3}\s\d{3}\s\d{4}|[A-Z]{1,4}[-_]?\d{5,}|\d{8,}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{9,})(?![\w,]|\.\d)"
)
_AGE = re.compile(r"\b(9\d|1[0-2]\d)(?=[- ]?(?:years?|yrs?|y)[-/ ]?(?:old|o)\b|\s?y/?o\b|-year\b)", re.IGNORECASE)
_AGE_SAID = re.compile(r"(?<=\baged )(9\d|1[0-2]\d)\b|(?<=\bage )(9\d|1[0-2]\d)\b|(?<=\bage: )(9\d|1[0-2]\d)\b", re.IGNORECASE)
POOLED_AGE = "90"
_TITLES = frozenset({"the", "von", "van", "der", "den", "del", "mrs", "miss", "prof", "med", "and", "und", "unknown"})
_SHORTEST_NAME = 3
_SHORTEST_NUMBER = 4


@dataclass(frozen=True)
class NoteRule(PrivacyRule):
    """Replaces what identifies by a placeholder in brackets, and dates by dates shifted with the patient's offset."""

    @property
    def promise(self) -> str:
        return (
            "the row's own identity values, phone numbers, e-mails, links, dates (shifted per patient where complete), ids "
            "and ages from 90 are replaced; names that stand in no identity column are not found"
        )

    def keep(self, evidence: Evidence, person: Person) -> Kept:
        assert isinstance(evidence, Note)
        replacements = find_identifying(evidence.text, person)
        if not replacements:
            return Kept(evidence=evidence)
        text, offsets = replace_spans(evidence.text, replacements)
        done = ("notes changed", *(f"{each.kind} in notes" for each in replacements))
        return Kept(evidence=replace(evidence, text=text), offsets=offsets, done=done)


def find_identifying(text: str, person: Person) -> list[Replacement]:
    """What to replace, in order and without overlap. Where patterns overlap, the one listed first here wins."""
    found: list[Replacement] = []
    own = _own_values(person.identity)
    if own is not None:
        found += [
            Replacement(start=m.start(), stop=m.end(), text="[identity]", kind="identity values") for m in own.finditer(text)
        ]
    for pattern, placeholder, kind in ((_URL, "[url]", "links"), (_EMAIL, "[email]", "e-mails")):
        found += [Replacement(start=m.start(), stop=m.end(), text=placeholder, kind=kind) for m in pattern.finditer(text)]
    for match in find_dates(text):
        moved = shifted(match, person.shift)
        kind = "dates removed" if moved == PLACEHOLDER else "dates shifted"
        found.append(Replacement(start=match.start(), stop=match.end(), text=moved, kind=kind))
    for pattern, placeholder, kind in (
        (_PHONE, "[phone]", "phone numbers"),
        (_PHONE_SAID, "[phone]", "phone numbers"),
        (_ID_SAID, "[id]", "ids"),
        (_ID, "[id]", "ids"),
        (_AGE, POOLED_AGE, "ages pooled"),
        (_AGE_SAID, POOLED_AGE, "ages pooled"),
    ):
        for match in pattern.finditer(text):
            group = next((i for i, value in enumerate(match.groups(), start=1) if value is not None), 0)
            if match[group] != placeholder:  # an age of exactly 90 stays as it is
                found.append(Replacement(start=match.start(group), stop=match.end(group), text=placeholder, kind=kind))
    chosen: list[Replacement] = []
    taken = bytearray(len(text))
    for each in found:
        if not any(taken[each.start : each.stop]):
            taken[each.start : each.stop] = b"\1" * (each.stop - each.start)
            chosen.append(each)
    return sorted(chosen, key=lambda each: each.start)


@lru_cache(maxsize=1024)
def _own_values(identity: frozenset[str]) -> re.Pattern[str] | None:
    """A pattern for the identity values and the parts of names; values too short to be told from words are left out."""
    parts = {value.strip() for value in identity if is_searchable(value)}
    for value in identity:
        if not any(character.isdigit() for character in value) and "@" not in value:
            names = (part for part in re.split(r"[\s,;.]+", value) if part.lower() not in _TITLES)
            parts |= {part for part in names if len(part) >= _SHORTEST_NAME}
    if not parts:
        return None
    longest_first = sorted(parts, key=lambda part: (-len(part), part))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


def is_searchable(value: str) -> bool:
    """Whether an identity value can be told from an ordinary word or number: 3 characters with a letter, or 4 digits."""
    text = value.strip()
    has_letter = any(character.isalpha() for character in text)
    return len(text) >= (_SHORTEST_NAME if has_letter else _SHORTEST_NUMBER)
