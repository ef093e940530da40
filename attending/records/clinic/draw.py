"""A synthetic clinic: patients drawn from known causes, as charts, with what could be known of them at best and why.

Diseases → findings → films, notes, values; nothing flows back. It imitates no hospital and teaches no medicine. Leaks come
from `leaks.py`; what a case's chart is made of, from `chart.py`; files are written by `files.py`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from attending.case import CaseId, Chart, GroupId, Identity, PatientId
from attending.records.clinic.chart import Findings, assemble
from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.cues import Cues, find_cues
from attending.records.clinic.expression import express, fall_ill, record
from attending.records.clinic.film import draw_films
from attending.records.clinic.leaks import (
    ExtraColumn,
    FilmFile,
    disguised,
    extra_columns,
    film_files,
    repeat_people,
    watch_longer,
    withhold,
    written_sites,
)
from attending.records.clinic.note import DRAWS, Written, label_word_sentence, write_note
from attending.records.clinic.oracle import Enumeration, Facts, Oracle, consult
from attending.records.clinic.people import People, admit, identify
from attending.records.clinic.reasons import Reasons
from attending.records.clinic.streams import Dice, Streams
from attending.records.clinic.values import TESTS, measure
from attending.records.clinic.wording import FRAMES, TELEGRAPHIC, TELEGRAPHIC_SHARE
from attending.records.clinic.world import DISEASES, MODALITIES, SHADOWS, SITES, World, build_world

_LABEL_WORD_SHARE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Clinic:
    """Charts in the order of patients and visits, repeats last; everything else has a row or an entry for each.

    `diseases[case, disease]` is the truth before label noise and unknown labels. `columns` are table columns that are in no
    chart (noise, planted leaks); `films` says how each film is written.
    """

    config: ClinicConfig
    charts: tuple[Chart, ...]
    oracle: Oracle
    reasons: Reasons
    diseases: Bool[np.ndarray, "case disease"]
    facts: Facts
    columns: tuple[ExtraColumn, ...]
    films: tuple[FilmFile, ...]


def draw_clinic(config: ClinicConfig) -> Clinic:
    """The clinic of a config: equal configs give equal clinics, whatever else was drawn before."""
    streams, world = Streams(config.seed), build_world(config)
    originals = admit(config, streams)
    diseases_of_patient, site_of_patient = fall_ill(config, streams, originals)
    people, disguise = repeat_people(config, streams, originals)
    diseases, site = diseases_of_patient[people.patient], site_of_patient[people.patient]
    facts = express(config, world, streams, people=people, diseases=diseases, site=site)
    facts = facts.without(withhold(config, streams, people, diseases, facts.present), world)
    written_site = written_sites(config, streams, people, diseases=diseases, site=site)
    cues = find_cues(config, streams, rows=people.row, diseases=diseases, written_site=written_site)

    identities = identify(people, streams)
    findings = _draw_findings(
        config, world, streams, people=people, diseases=diseases, facts=facts, cues=cues, disguise=disguise
    )
    notes = _write_notes(config, world, streams, people=people, facts=facts, identities=identities, cues=cues)
    truth = record(config, streams, people, diseases)
    names = [f"P{number:06d}-{visit % 500 + 1}" for number, visit in zip(people.written_as, people.visit, strict=True)]
    enumeration = Enumeration(config, world, facts)
    charts, told = [], []
    for case, name in enumerate(names):
        evidence, told_here = assemble(case, world=world, people=people, facts=facts, findings=findings, note=notes[case])
        patient = name.split("-")[0]
        charts.append(
            Chart(
                id=CaseId(name),
                patient=PatientId(patient),
                group=GroupId(patient),
                evidence=evidence,
                truth=truth[case],
                site=SITES[written_site[case]],
                identity=identities[case],
                asked_at=people.asked_at[case],
            )
        )
        told.append(told_here)
    return Clinic(
        config=config,
        charts=tuple(charts),
        oracle=consult(enumeration),
        reasons=Reasons(told, _weights(enumeration), DISEASES),
        diseases=diseases,
        facts=facts,
        columns=extra_columns(config, streams, people, diseases),
        films=film_files(config, streams, people, names=names, diseases=diseases, saturated=cues.saturated),
    )


def _draw_findings(
    config: ClinicConfig,
    world: World,
    streams: Streams,
    *,
    people: People,
    diseases: Bool[np.ndarray, "case disease"],
    facts: Facts,
    cues: Cues,
    disguise: np.ndarray,
) -> Findings:
    """Films and values of all cases."""
    with_film = np.flatnonzero(facts.present[:, MODALITIES.index("film")])
    films = draw_films(
        config,
        streams,
        rows=people.row[with_film],
        shadows=facts.level[with_film][:, [world.place(name) for name in SHADOWS]] == 1,
        site=facts.site[with_film],
        cues=cues.rows(with_film),
    )
    film_of = {int(case): place for place, case in enumerate(with_film)}
    for case in np.flatnonzero(disguise >= 0):
        if int(case) in film_of:
            place = film_of[int(case)]
            films.pixels[place], films.masks[place] = disguised(films.pixels[place], films.masks[place], int(disguise[case]))
    markers = [place for place, finding in enumerate(world.findings) if finding.modality == "labs"]
    measured = measure(config, streams, rows=people.row, markers=facts.level[:, markers], site=facts.site)
    hours, repeats = watch_longer(config, streams, people, diseases, measured.hours)
    return Findings(
        films=films,
        film_of=film_of,
        measured=measured,
        hours=hours,
        repeats=repeats,
        other_measured=streams.uniform("other field missing", people.row, len(TESTS)) >= config.field_missing_rate,
    )


def _write_notes(
    config: ClinicConfig,
    world: World,
    streams: Streams,
    *,
    people: People,
    facts: Facts,
    identities: tuple[Identity, ...],
    cues: Cues,
) -> list[Written | None]:
    in_note = [(place, finding.name) for place, finding in enumerate(world.findings) if finding.modality == "note"]
    uniforms = streams.uniform("note", people.row, DRAWS)
    introduces = streams.uniform("note names", people.row, 1)[:, 0] < 0.25
    is_telegraphic = streams.uniform("note wording", people.row, 1)[:, 0] < (
        config.site_shift.wording * np.array(TELEGRAPHIC_SHARE)[facts.site]
    )
    rare = streams.uniform("note label words", people.row, 3)
    notes: list[Written | None] = []
    for case, has_note in enumerate(facts.present[:, MODALITIES.index("note")]):
        if not has_note:
            notes.append(None)
            continue
        closing = cues.sentences[case]
        if config.profile == "ward" and rare[case, 0] < _LABEL_WORD_SHARE:
            closing = (label_word_sentence(Dice(rare[case, 1:])), *closing)
        notes.append(
            write_note(
                {name: bool(facts.level[case, place]) for place, name in in_note if facts.expressed[case, place]},
                frames=TELEGRAPHIC if is_telegraphic[case] else FRAMES[config.style],
                dice=Dice(uniforms[case]),
                introduce=identities[case] if introduces[case] else None,
                closing=closing,
            )
        )
    return notes


def _weights(enumeration: Enumeration) -> Float[np.ndarray, "finding case disease"]:
    """What each expressed finding adds to the log-odds of each disease, given all the others."""
    facts = enumeration.facts
    with_all = _log_odds(enumeration.posterior(known=facts.expressed, silent=facts.silent))
    weights = np.zeros((len(enumeration.world.findings), *with_all.shape), dtype=np.float32)
    for place in range(len(weights)):
        without = facts.expressed.copy()
        without[:, place] = False
        weights[place] = with_all - _log_odds(enumeration.posterior(known=without, silent=facts.silent))
    return weights


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-12, 1.0 - 1e-12)
    return np.log(clipped) - np.log1p(-clipped)
