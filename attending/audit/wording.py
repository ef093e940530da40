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
from attending.records.label_words import GAP, terms


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
            pattern = terms(material.schema, truth.finding)
            if pattern is None:
                continue
            named = np.array([pattern.search(text) is not None for text in texts])
            found = rank_upward(
                material, truth, named[truth.cases].astype(float), tests=len(material.truths), chosen=has_note[truth.cases]
            )
            if found is not None and found.alarms(self.least):
                alarms.append((truth, found, named, pattern))
        if not alarms:
            return self._masked(material, texts, has_note)
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
                told=f"notes name the answer: that they do reaches {found.told}",
                evidence=f"{len(own)} of {noted} cases with notes name their own recorded label; "
                f"{told}; {self._words(material, truth, texts, has_note, pattern)}",
                effect="the model reads the diagnosis instead of making it",
                remedy=f"{material.leaving_out(columns)}, or take the words out of the notes (--mask-labels), "
                "which is not enough where style or findings give it away too; keep what was written before the diagnosis",
                columns=columns,
                rows=material.named(np.array(own, dtype=int)),
            ),
        )

    def _masked(self, material: Material, texts: list[str], has_note: np.ndarray) -> tuple[Finding, ...]:
        """What a bag of words still reaches where the schema has label words taken out."""
        if not material.schema.masks_label_words:
            return ()
        asked = ((truth, self._bag(material, truth, texts, has_note[truth.cases])) for truth in material.truths)
        told = [str(found) for _, found in asked if found is not None]
        fields = tuple(dict.fromkeys(note.field_name for chart in material.charts for note in chart.of(Note)))
        return (
            Finding(
                trap="T5",
                check=self.name,
                severity=Severity.NOTE,
                told="words that name a label are taken out of all notes, as declared",
                evidence=f"a bag of the words that remain: {'; '.join(told) or 'cannot be asked'}",
                effect="style, era and described findings may still give the label away",
                remedy=f"{material.leaving_out(material.columns_of(fields))} to see what the result owes to the notes",
                columns=material.columns_of(fields),
            ),
        )

    def _words(self, material: Material, truth: Truth, texts: list[str], has_note: np.ndarray, pattern: re.Pattern[str]) -> str:
        """AUROC of a bag of words, as written and with the label's words masked."""
        chosen = has_note[truth.cases]
        plain = self._bag(material, truth, texts, chosen)
        masked = self._bag(material, truth, [pattern.sub(GAP, text) for text in texts], chosen)
        if plain is None or masked is None:
            return "a bag of words cannot be asked"
        return (
            f'a bag of words reaches {plain.area:.2f} ({plain.low:.2f} to {plain.high:.2f}) for "{truth.finding}", '
            f"with the label's words masked {masked.area:.2f} ({masked.low:.2f} to {masked.high:.2f})"
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


def _own(material: Material, texts: list[str]) -> list[int]:
    """Cases whose notes name a finding that they are recorded to have."""
    patterns = {finding: terms(material.schema, finding) for finding in material.schema.findings}
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
