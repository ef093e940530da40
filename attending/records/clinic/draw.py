"""A synthetic clinic: patients drawn from known causes, as charts, with what could be known of them at best and why.

Diseases → findings → films, notes, values; nothing flows back. It imitates no hospital and teaches no medicine. Leaks are
planted last (`leaks.py`); files are written by `files.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from attending.case import Box, CaseId, Chart, Demographics, Evidence, GroupId, Identity, Note, PatientId, Place, Scan, Sign
from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.film import draw_films
from attending.records.clinic.note import DRAWS, Written, write_note
from attending.records.clinic.oracle import Facts, Oracle, consult, posterior
from attending.records.clinic.people import People, admit, identify
from attending.records.clinic.reasons import Reasons, Told
from attending.records.clinic.streams import Dice, Streams
from attending.records.clinic.values import TESTS, Measured, lab, measure
from attending.records.clinic.world import (
    DISEASES,
    MODALITIES,
    SHADOWS,
    SITES,
    SWITCH_RATE,
    World,
    build_world,
    disease_probability,
    missing_probability,
    site_given_first_disease,
)

FILM, NOTE = "film", "note"


@dataclass(frozen=True, kw_only=True, eq=False)
class Clinic:
    """Charts in the order of patients and visits; `oracle` and `reasons` have a row for each.

    `diseases[case, disease]` is the truth before label noise and unknown labels. `columns` are table columns that are in no
    chart (noise, planted leaks), each with a cell per chart.
    """

    config: ClinicConfig
    charts: tuple[Chart, ...]
    oracle: Oracle
    reasons: Reasons
    diseases: Bool[np.ndarray, "case disease"]
    facts: Facts
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)


def draw_clinic(config: ClinicConfig) -> Clinic:
    """The clinic of a config: equal configs give equal clinics, whatever else was drawn before."""
    streams = Streams(config.seed)
    world = build_world(config)
    people = admit(config, streams)
    diseases, site = _fall_ill(config, streams, people)
    facts = _express(config, world, streams, people=people, diseases=diseases, site=site)
    present = {name: facts.present[:, place] for place, name in enumerate(MODALITIES)}
    shadow_places = [world.place(name) for name in SHADOWS]
    with_film = np.flatnonzero(present["film"])
    films = draw_films(
        config, streams, rows=people.row[with_film], shadows=facts.level[with_film][:, shadow_places] == 1, site=site[with_film]
    )
    film_of = {int(case): place for place, case in enumerate(with_film)}
    marker_places = [place for place, finding in enumerate(world.findings) if finding.modality == "labs"]
    measured = measure(config, streams, rows=people.row, markers=facts.level[:, marker_places], site=site)
    identities = identify(people, streams)
    notes = _write_notes(config, world, streams, people=people, facts=facts, identities=identities)
    truth = _record(config, streams, people, diseases)
    extra_measured = streams.uniform("other field missing", people.row, len(TESTS)) >= config.field_missing_rate

    charts, told = [], []
    for case in range(len(people.patient)):
        evidence, findings = _assemble(
            case,
            world=world,
            people=people,
            facts=facts,
            film=films.pixels[film_of[case]] if case in film_of else None,
            masks=films.masks[film_of[case]] if case in film_of else None,
            note=notes[case],
            measured=measured,
            other_tests=extra_measured[case],
        )
        patient = f"P{people.patient[case]:06d}"
        charts.append(
            Chart(
                id=CaseId(f"{patient}-{people.visit[case] + 1}"),
                patient=PatientId(patient),
                group=GroupId(patient),
                evidence=evidence,
                truth=truth[case],
                site=SITES[site[case]],
                identity=identities[case],
                asked_at=people.asked_at[case],
            )
        )
        told.append(findings)
    return Clinic(
        config=config,
        charts=tuple(charts),
        oracle=consult(config, world, facts),
        reasons=Reasons(told, _weights(config, world, facts), DISEASES),
        diseases=diseases,
        facts=facts,
        columns=_noise_columns(config, streams, people),
    )


def _fall_ill(config: ClinicConfig, streams: Streams, people: People) -> tuple[np.ndarray, np.ndarray]:
    """Diseases of each case (the same at all visits of a patient) and the patient's site."""
    first = np.flatnonzero(people.visit == 0)
    patients = people.patient[first]
    u_site = streams.uniform("site", patients, 1)[:, 0]
    shares = np.cumsum(site_given_first_disease(config), axis=1)
    u_disease = streams.uniform("disease", patients, len(DISEASES))
    candidates = [
        u_disease
        < disease_probability(config, site=np.full(len(patients), s), age_band=people.age_band[first], male=people.male[first])
        for s in range(len(SITES))
    ]
    site = np.searchsorted(shares[0][:-1], u_site, side="right")
    diseases = np.choose(site[:, None], [c.astype(int) for c in candidates]).astype(bool)
    if config.shortcut is not None and config.shortcut.kind == "site":
        site = np.where(diseases[:, 0], np.searchsorted(shares[1][:-1], u_site, side="right"), site)
    return diseases[people.patient], site[people.patient]


def _express(
    config: ClinicConfig, world: World, streams: Streams, *, people: People, diseases: np.ndarray, site: np.ndarray
) -> Facts:
    """Findings of each case, and which of them its evidence will tell."""
    switches = streams.uniform("switch", people.row, 2) < SWITCH_RATE
    states = np.concatenate([diseases, switches], axis=1)
    cause = states @ (1 << np.arange(states.shape[1])[::-1])  # causes are enumerated in binary order
    u = streams.uniform("finding", people.row, len(world.findings))
    level = np.stack(
        [
            (u[:, place, None] > np.cumsum(finding.table, axis=1)[cause][:, :-1]).sum(axis=1)
            for place, finding in enumerate(world.findings)
        ],
        axis=1,
    )
    absent = missing_probability(config, diseases, site=site, age_band=people.age_band)
    present = streams.uniform("missing", people.row, len(MODALITIES)) >= absent
    told = np.stack([np.array(finding.told)[level[:, place]] for place, finding in enumerate(world.findings)], axis=1)
    tells = streams.uniform("field missing", people.row, len(world.findings)) < told
    there = present[:, [MODALITIES.index(finding.modality) for finding in world.findings]]
    return Facts(
        site=site,
        age_band=people.age_band,
        male=people.male,
        level=level,
        expressed=there & tells,
        silent=there & ~tells,
        present=present,
    )


def _write_notes(
    config: ClinicConfig, world: World, streams: Streams, *, people: People, facts: Facts, identities: tuple[Identity, ...]
) -> list[Written | None]:
    in_note = [(place, finding.name) for place, finding in enumerate(world.findings) if finding.modality == "note"]
    uniforms = streams.uniform("note", people.row, DRAWS)
    mentions = streams.uniform("note names", people.row, 1)[:, 0] < 0.25
    has_note = facts.present[:, MODALITIES.index("note")]
    return [
        write_note(
            {name: bool(facts.level[case, place]) for place, name in in_note if facts.expressed[case, place]},
            identity=identities[case],
            style=config.style,
            dice=Dice(uniforms[case]),
            names=bool(mentions[case]),
        )
        if has_note[case]
        else None
        for case in range(len(has_note))
    ]


def _record(config: ClinicConfig, streams: Streams, people: People, diseases: np.ndarray) -> list[dict[str, bool]]:
    flipped = streams.uniform("label noise", people.row, len(DISEASES)) < config.label_noise
    unknown = streams.uniform("unknown", people.row, len(DISEASES)) < config.unknown_rate
    recorded = diseases ^ flipped
    return [
        {name: bool(recorded[case, k]) for k, name in enumerate(DISEASES) if not unknown[case, k]}
        for case in range(len(diseases))
    ]


def _assemble(
    case: int,
    *,
    world: World,
    people: People,
    facts: Facts,
    film: Float[np.ndarray, "height width"] | None,
    masks: Bool[np.ndarray, "shadow height width"] | None,
    note: Written | None,
    measured: Measured,
    other_tests: np.ndarray,
) -> tuple[tuple[Evidence, ...], tuple[Told, ...]]:
    """The evidence of one case, and where it tells each finding."""
    sex = "male" if people.male[case] else "female"
    evidence: list[Evidence] = [Demographics(age_years=float(people.age_years[case]), sex=sex)]
    told: list[Told] = []

    def tell(place: int, where: Place, mask: np.ndarray | None = None) -> None:
        finding = world.findings[place]
        level = finding.levels[facts.level[case, place]]
        told.append(Told(finding=place, name=finding.name, modality=finding.modality, level=level, place=where, mask=mask))

    if film is not None and masks is not None:
        evidence.append(Scan(pixels=film, field_name=FILM, view="PA", at=0.0))
        for shadow, name in enumerate(SHADOWS):
            if masks[shadow].any():
                tell(world.place(name), Place(len(evidence) - 1, _box(masks[shadow])), masks[shadow])
    if note is not None:
        evidence.append(Note(text=note.text, field_name=NOTE))
        for name, span in note.spans.items():
            tell(world.place(name), Place(len(evidence) - 1, span))
    for place, finding in enumerate(world.findings):
        if finding.modality == "signs" and facts.expressed[case, place]:
            evidence.append(Sign(name=finding.name, value=finding.levels[facts.level[case, place]], levels=finding.levels))
            tell(place, Place(len(evidence) - 1))
    if facts.present[case, MODALITIES.index("labs")]:
        codes = {finding.name: place for place, finding in enumerate(world.findings) if finding.modality == "labs"}
        for column, test in enumerate(TESTS):
            is_there = facts.expressed[case, codes[test.code]] if test.code in codes else other_tests[column]
            if is_there:
                evidence.append(lab(measured, case, column))
                if test.code in codes:
                    tell(codes[test.code], Place(len(evidence) - 1))
    return tuple(evidence), tuple(told)


def _box(mask: Bool[np.ndarray, "height width"]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(top=int(rows[0]), left=int(columns[0]), bottom=int(rows[-1]) + 1, right=int(columns[-1]) + 1)


def _weights(config: ClinicConfig, world: World, facts: Facts) -> Float[np.ndarray, "finding case disease"]:
    """What each expressed finding adds to the log-odds of each disease, given all the others."""
    with_all = _log_odds(posterior(config, world, facts, known=facts.expressed, silent=facts.silent))
    weights = np.zeros((len(world.findings), *with_all.shape), dtype=np.float32)
    for place in range(len(world.findings)):
        without = facts.expressed.copy()
        without[:, place] = False
        weights[place] = with_all - _log_odds(posterior(config, world, facts, known=without, silent=facts.silent))
    return weights


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-12, 1.0 - 1e-12)
    return np.log(clipped) - np.log1p(-clipped)


def _noise_columns(config: ClinicConfig, streams: Streams, people: People) -> dict[str, tuple[str, ...]]:
    noise = streams.normal("noise columns", people.row, config.noise_columns)
    return {f"noise_{k + 1:03d}": tuple(f"{value:.4g}" for value in noise[:, k]) for k in range(config.noise_columns)}
