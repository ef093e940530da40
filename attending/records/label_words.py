"""Words by which notes name a recorded label: for finding them (audit) and for taking them out (`masks_label_words`).

A list of the common ones; it cannot be complete, and style, era and described findings give a label away without any of them.
"""

import re
from functools import lru_cache

from attending.records import names
from attending.records.schema import Schema, Target, TargetKind

SYNONYMS: dict[str, str] = {
    "covid": r"covid|sars[- ]?cov[- ]?2|coronavir|2019[- ]ncov|ncov",
    "viral": r"viral|virus|influenza|h1n1|mers|sars(?![- ]?cov)|varicella|herpes|rsv",
    "bacterial": r"bacteri|streptococc|pneumococc|staphylococc|legionell|klebsiell|mycoplasm|chlamyd|haemophil|pseudomon",
    "fungal": r"fung|pneumocyst|aspergill|candid|cryptococc|pcp\b|pjp\b",
    "pneumonia": r"pneumoni",
    "tuberculosis": r"tubercul|tb\b|koch",
    "heart_failure": r"heart failure|cardiac failure|chf\b|hfref\b|hfpef\b|decompensat",
    "pulmonary_embolism": r"pulmonary embol|lung embol|pe\b",
    "lung_cancer": r"(?:lung|bronchial|pulmonary) (?:cancer|carcinom|tumou?r|malignan)|nsclc\b|sclc\b",
    "appendicitis": r"appendicit",
    "finding": r"no (?:abnormal|acute|significant )?\s?finding|normal\b|unremarkable",
    "normal": r"normal\b|unremarkable",
    "edema": r"o?edema",
    "effusion": r"effusion",
    "pneumothorax": r"pneumothora",
    "cancer": r"cancer|carcinom|malignan|metasta",
    "sepsis": r"sepsis|septic",
    "stroke": r"stroke|infarct|ischaem|ischem",
    "diabetes": r"diabet|dm2\b|t2dm\b",
}
"""Part of a label's name → what notes write for it, from the beginning of a word."""
_EMPTY = frozenset({"other", "no", "and", "or", "of", "the", "unknown", "disease", "patient", "label", "target", "class", "dx",
                    "diagnosis", "yes", "true", "positive", "present", "1", "19", "none", "outcome"})  # fmt: skip
GAP = " "
"""What stands for a masked word: nothing that could be counted, because how many were masked would tell the label."""


def terms(schema: Schema, finding: str) -> re.Pattern[str] | None:
    """What a note writes for a finding, from the beginning of a word, in any case; None where its name says nothing."""
    return _terms(finding, schema.targets)


def _terms(finding: str, targets: tuple[Target, ...]) -> re.Pattern[str] | None:
    said = [finding]
    for target in targets:
        if target.kind is TargetKind.BINARY and target.column == finding and target.positive is not None:
            said.append(target.positive)
    patterns = set()
    for name in said:
        words = [word for word in names.words(name) if word not in _EMPTY and not word.isdigit()]
        joined = "_".join(names.words(name))
        known = {key for key in SYNONYMS if key in joined}
        # "heart_failure" is meant where it stands, not its parts.
        patterns |= {SYNONYMS[key] for key in known if not any(key != other and key in other for other in known)}
        if words and len("".join(words)) >= 4:
            patterns.add(r"[\s_-]+".join(re.escape(word) for word in words))
    return re.compile(rf"\b(?:{'|'.join(sorted(patterns))})\w*", re.IGNORECASE) if patterns else None


def without_label_words(text: str, schema: Schema) -> str:
    """The text with every word that names any of the schema's findings taken out."""
    for pattern in _patterns(schema.findings, schema.targets):
        text = pattern.sub(GAP, text)
    return text


@lru_cache(maxsize=8)
def _patterns(findings: tuple[str, ...], targets: tuple[Target, ...]) -> tuple[re.Pattern[str], ...]:
    found = (_terms(finding, targets) for finding in findings)
    return tuple(pattern for pattern in found if pattern is not None)
