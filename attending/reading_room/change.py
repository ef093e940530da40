"""A case as it would be if something were not there, or a value were another: what is asked with "if".

A modality or a single piece of evidence is taken away, which is absence and no guess; a value, a sign, age or sex takes another
that the model reads. The answer is the model's to another question, never the effect of a treatment.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from attending.case import Case, Censoring, Demographics, Evidence, Lab, Sign, kind_name
from attending.explanation.drawn import NAMES, named
from attending.reading_room.forms import Fields
from attending.service.fields import Fields as ModelFields
from attending.service.problem import Fault, refused

MOST = 1e12
"""Largest number that may stand for a value."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The other case, and in words what is other about it; no words: nothing is."""

    case: Case
    told: tuple[str, ...]


def shown(value: float) -> str:
    """A number as the form shows it. Sent back like this, it is not a change."""
    return f"{value:.6g}"


def changed(case: Case, fields: Fields, *, model: ModelFields) -> Changed:
    """The case under the switches and values of a form: `off` (a kind), `drop` (a number of evidence), `value-N`, `level-N`,
    `age-N`, `sex-N`.

    Raises `Problem` 422 with every field that cannot be read. What does not fit the case is refused, not passed over.
    """
    faults: list[Fault] = []
    kinds = {kind_name(type(evidence)): type(evidence) for evidence in case.evidence}
    off = _switched_off(fields, kinds, faults)
    dropped = _dropped(fields, case, faults)
    kept: list[Evidence] = []
    told = [f"without {NAMES.get(kinds[name], name)}" for name in kinds if kinds[name] in off]
    levels, values = fields.numbered("level"), fields.numbered("value")
    ages, sexes = fields.numbered("age"), fields.numbered("sex")
    for number, evidence in enumerate(case.evidence):
        if type(evidence) in off:
            continue
        if number in dropped:
            told.append(f"without {named(evidence)[0]}")
            continue
        if isinstance(evidence, Lab):
            other: Evidence = _lab(evidence, values.get(number), number, faults)
        elif isinstance(evidence, Sign):
            other = _sign(evidence, levels.get(number), number, faults)
        elif isinstance(evidence, Demographics):
            other = _aged(evidence, ages.get(number), number, faults)
            other = _sexed(other, sexes.get(number), number, known=model.sexes, faults=faults)
        else:
            other = evidence
        if other is not evidence:
            told.append(" ".join(named(other)))
        kept.append(other)
    if faults:
        raise refused(faults)
    return Changed(case=replace(case, evidence=tuple(kept)) if told else case, told=tuple(told))


def _switched_off(fields: Fields, kinds: Mapping[str, type[Evidence]], faults: list[Fault]) -> frozenset[type[Evidence]]:
    names = fields.all("off")
    if set(names) - kinds.keys():
        faults.append(
            Fault(pointer="/off", found="names evidence that the case does not have", remedy="take a switch of the page")
        )
    return frozenset(kinds[name] for name in names if name in kinds)


def _dropped(fields: Fields, case: Case, faults: list[Fault]) -> frozenset[int]:
    texts = fields.all("drop")
    numbers = {int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 7}
    numbers = {number for number in numbers if number < len(case.evidence)}
    if len(numbers) < len(set(texts)):
        faults.append(
            Fault(pointer="/drop", found="names evidence that the case does not have", remedy="take a switch of the page")
        )
    return frozenset(numbers)


def _lab(lab: Lab, text: str | None, number: int, faults: list[Fault]) -> Lab:
    if text is None or text in ("", shown(lab.value)):
        return lab
    value = _number(text)
    if value is None:
        remedy = f"write a number such as {shown(lab.value)}" + (f" in {lab.unit}" if str(lab.unit) != "unstated" else "")
        faults.append(Fault(pointer=f"/value-{number}", found="is not a number", remedy=remedy))
        return lab
    return replace(lab, value=value, censoring=Censoring.NONE)


def _sign(sign: Sign, text: str | None, number: int, faults: list[Fault]) -> Sign:
    if text is None or text in ("", sign.value):
        return sign
    if text not in sign.levels:
        faults.append(Fault(pointer=f"/level-{number}", found="is not a level of this sign", remedy="take one of the list"))
        return sign
    return replace(sign, value=text)


def _aged(known: Demographics, age: str | None, number: int, faults: list[Fault]) -> Demographics:
    if not age or (known.age_years is not None and age == shown(known.age_years)):
        return known
    years = _number(age)
    if years is None or not 0 <= years <= 130:
        faults.append(Fault(pointer=f"/age-{number}", found="is not an age", remedy="write years from 0 to 130"))
        return known
    return replace(known, age_years=years)


def _sexed(person: Demographics, sex: str | None, number: int, *, known: Collection[str], faults: list[Fault]) -> Demographics:
    if not sex or sex == person.sex:
        return person
    if sex not in known:
        faults.append(
            Fault(pointer=f"/sex-{number}", found="is not a word that the model knows", remedy="take one of the list")
        )
        return person
    return replace(person, sex=sex)


def _number(text: str) -> float | None:
    try:
        value = float(text.replace("−", "-")) if len(text) < 40 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= MOST else None
