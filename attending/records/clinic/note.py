"""Notes in words, with the characters that tell of each finding known.

A symptom is affirmed or denied by the words before it; relatives have symptoms too, and theirs mean nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attending.case import Characters, Identity
from attending.records.clinic.streams import Dice
from attending.records.clinic.wording import LABEL_WORDS, OTHER_SYMPTOMS, QUALIFIERS, RELATIVES, SYMPTOM_NAMES, Frames
from attending.records.clinic.world import STEROIDS, SYMPTOMS

DRAWS = 160
"""Random numbers that one note spends at most."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A note and, per finding it tells, the characters that say so: cue and symptom."""

    text: str
    spans: Mapping[str, Characters]


@dataclass(frozen=True)
class _Sentence:
    text: str
    told: tuple[tuple[str, int, int], ...] = ()


def write_note(
    findings: Mapping[str, bool], *, frames: Frames, dice: Dice, introduce: Identity | None, closing: Sequence[str] = ()
) -> Written:
    """A note telling the given findings (symptoms, and whether steroids are taken).

    It names the person to `introduce`, and ends with the `closing` sentences.
    """
    sentences = [_Sentence(dice.pick(frames.openings) if introduce is None else _introduction(introduce, dice))]
    body = _symptom_sentences(findings, frames, dice)
    if STEROIDS in findings:
        text = dice.pick(frames.on_steroids if findings[STEROIDS] else frames.off_steroids)
        body.append(_Sentence(text, ((STEROIDS, 0, len(text)),)))
    n_fillers = 1 + int(dice.chance(0.5)) + int(dice.chance(0.3))
    body += [_Sentence(filler) for filler in dice.shuffled(frames.fillers)[:n_fillers]]
    if dice.chance(0.2):
        body.append(_elsewhere(frames, dice))
    sentences += [*dice.shuffled(body), *map(_Sentence, closing)]
    text, spans = "", {}
    for sentence in sentences:
        start = len(text) + (1 if text else 0)
        text = f"{text} {sentence.text}" if text else sentence.text
        for name, first, last in sentence.told:
            spans[name] = Characters(start + first, start + last)
    return Written(text=text, spans=spans)


def _symptom_sentences(findings: Mapping[str, bool], frames: Frames, dice: Dice) -> list[_Sentence]:
    told = [(name, findings[name]) for name in SYMPTOMS if name in findings]
    for other in dice.shuffled(OTHER_SYMPTOMS)[: 1 + int(dice.chance(0.6)) + int(dice.chance(0.4))]:
        told.append((other, dice.chance(0.5)))
    told = dice.shuffled(told)
    sentences = []
    for affirmed in (True, False):
        waiting = [name for name, is_there in told if is_there is affirmed]
        while waiting:
            size = 2 if len(waiting) > 1 and dice.chance(0.3) else 1
            sentences.append(_listed(waiting[:size], affirmed=affirmed, frames=frames, dice=dice))
            waiting = waiting[size:]
    return sentences


def _listed(names: list[str], *, affirmed: bool, frames: Frames, dice: Dice) -> _Sentence:
    frame = dice.pick(frames.affirmed if affirmed else frames.denied)
    joint = " and " if affirmed else " or "
    before, after = frame.split("{0}")
    text, told = before, []
    for place, name in enumerate(names):
        text += joint if place else ""
        start = 0 if place == 0 else len(text) - len(joint) + 1
        text += (f"{dice.pick(QUALIFIERS)} " if dice.chance(0.4) else "") + dice.pick(SYMPTOM_NAMES.get(name, (name,)))
        if name in SYMPTOM_NAMES:
            told.append((name, start, len(text)))
    return _Sentence(text + after, tuple(told))


def _elsewhere(frames: Frames, dice: Dice) -> _Sentence:
    name = dice.pick(tuple(SYMPTOM_NAMES) + OTHER_SYMPTOMS)
    symptom = dice.pick(SYMPTOM_NAMES.get(name, (name,)))
    text = dice.pick(frames.elsewhere).format(f"{dice.pick(QUALIFIERS)} {symptom}", dice.pick(RELATIVES))
    return _Sentence(text[0].upper() + text[1:])


def _introduction(identity: Identity, dice: Dice) -> str:
    values = identity.values
    return dice.pick(
        (
            f"{values['name']} (born {values['date_of_birth']}) seen today.",
            f"Thank you for seeing {values['name']}, {values['record_number']}.",
            f"{values['name']}, tel {values['telephone']}, attends.",
        )
    )


def label_word_sentence(dice: Dice) -> str:
    """A rare sentence that holds a label word and says nothing of the patient."""
    return f"A {dice.pick(RELATIVES)} was once treated for {dice.pick(LABEL_WORDS)}."
