"""T5: notes that name the answer: "known pneumonia", the discharge diagnosis, the reading of the very film.

Looks for the label's words and their synonyms, and holds a bag of words against itself with those words masked: what remains
then is style, era and described findings, which masking cannot take away. Prints counts, never a text.
"""

import re
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material, Truth
from attending.audit.ranking import Ranking, rank_upward
from attending.case import Note
from attending.records import names
from attending.records.schema import TargetKind

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
_MASK = " "


@dataclass(frozen=True, kw_only=True)
class WordingCheck(Check):
    """`least`: the AUROC of naming the label from which on it warns; it blocks where events name it `plainly` times as often
    as others do, because then it is no suspicion but the answer.
    """

    name: str = "wording"
    traps: tuple[str, ...] = ("T5",)
    least: float = 0.6
    plainly: float = 10.0
    fewest_patients: int = 5
    strength: float = 10.0

    def look(self, material: Material) -> tuple[Finding, ...]:
        """One finding for all findings whose notes name them."""
        texts = ["\n".join(note.text for note in chart.of(Note)).casefold() for chart in material.charts]
        has_note = np.array([bool(text.strip()) for text in texts])
        if not has_note.any():
            return ()
        alarms = []
        for truth in material.truths:
            pattern = terms(material, truth.finding)
            if pattern is None:
                continue
            named = np.array([pattern.search(text) is not None for text in texts])
            found = rank_upward(
                material, truth, named[truth.cases].astype(float), tests=len(material.truths), chosen=has_note[truth.cases]
            )
            if found is not None and found.alarms(self.least):
                alarms.append((truth, found, named, pattern))
        if not alarms:
            return ()
        own = _own(material, texts)
        told = "; ".join(str(found) for _, found, _, _ in alarms)
        noted = sum(bool(has_note[case]) for case in range(len(material)))
        is_plain = any(_ratio(truth, named, has_note) >= self.plainly for truth, _, named, _ in alarms)
        truth, found, _, pattern = max(alarms, key=lambda alarm: alarm[1].low)
        fields = tuple(dict.fromkeys(note.field_name for chart in material.charts for note in chart.of(Note)))
        columns = material.columns_of(fields)
        return (
            Finding(
                trap="T5",
                check=self.name,
                severity=Severity.BLOCK if is_plain else Severity.WARN,
                told=f"notes name the answer: that they do reaches {found}",
                evidence=f"{len(own)} of {noted} cases with notes name their own recorded label; "
                f"{told}; {self._words(material, truth, texts, has_note, pattern)}",
                effect="the model reads the diagnosis instead of making it",
                remedy=f"leave the notes out (--ignore {','.join(columns)}), or keep only what was written "
                "before the diagnosis; masking the words is not enough where style gives it away too",
                columns=columns,
                rows=material.named(np.array(own, dtype=int)),
            ),
        )

    def _words(self, material: Material, truth: Truth, texts: list[str], has_note: np.ndarray, pattern: re.Pattern[str]) -> str:
        """AUROC of a bag of words, as written and with the label's words masked."""
        chosen = has_note[truth.cases]
        plain = self._bag(material, truth, texts, chosen)
        masked = self._bag(material, truth, [pattern.sub(_MASK, text) for text in texts], chosen)
        if plain is None or masked is None:
            return "a bag of words cannot be asked"
        return (
            f'a bag of words reaches {plain.area:.2f} for "{truth.finding}", with the label\'s words masked {masked.area:.2f}'
        )

    def _bag(self, material: Material, truth: Truth, texts: list[str], chosen: np.ndarray) -> Ranking | None:
        """Ridge logistic regression on TF-IDF, learned on other groups; only cases with notes."""
        held = truth.cases[chosen]
        bag = TfidfVectorizer(min_df=self.fewest_patients, sublinear_tf=True, token_pattern=r"[^\W\d_]{2,}")
        try:
            words = bag.fit_transform([texts[case] for case in held])
        except ValueError:  # scikit-learn's word for "no term is left"
            return None
        is_event, groups = truth.is_event[chosen], material.groups[held]
        scores = np.full(len(truth.cases), np.nan)
        at = np.flatnonzero(chosen)
        for train, away in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(words, is_event, groups):
            if len(set(is_event[train])) < 2:
                return None
            model = LogisticRegression(C=self.strength, max_iter=500).fit(words[train], is_event[train])
            scores[at[away]] = model.decision_function(words[away])
        return rank_upward(material, truth, scores, tests=1)


def terms(material: Material, finding: str) -> re.Pattern[str] | None:
    """What a note writes for a finding, from the beginning of a word; None where its name says nothing."""
    said = [finding]
    for target in material.schema.targets:
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
    return re.compile(rf"\b(?:{'|'.join(sorted(patterns))})\w*") if patterns else None


def _own(material: Material, texts: list[str]) -> list[int]:
    """Cases whose notes name a finding that they are recorded to have."""
    patterns = {finding: terms(material, finding) for finding in material.schema.findings}
    return [
        case
        for case, chart in enumerate(material.charts)
        if any(
            is_true and (p := patterns[finding]) is not None and p.search(texts[case])
            for finding, is_true in chart.truth.items()
        )
    ]


def _ratio(truth: Truth, named: np.ndarray, has_note: np.ndarray) -> float:
    """How many times as often events name the label as others do."""
    held = has_note[truth.cases]
    said, is_event = named[truth.cases][held], truth.is_event[held]
    return float(
        ((said & is_event).sum() + 0.5) / (is_event.sum() + 1) / (((said & ~is_event).sum() + 0.5) / ((~is_event).sum() + 1))
    )
