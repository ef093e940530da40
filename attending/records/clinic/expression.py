"""From people to what is true of them: diseases and site, findings, what of these the evidence tells, and what is recorded."""

import numpy as np
from jaxtyping import Bool, Int

from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.oracle import Facts
from attending.records.clinic.people import People
from attending.records.clinic.streams import Streams
from attending.records.clinic.world import (
    DISEASES,
    MODALITIES,
    SITES,
    SWITCH_RATE,
    World,
    disease_probability,
    missing_probability,
    site_given_first_disease,
)


def fall_ill(
    config: ClinicConfig, streams: Streams, people: People
) -> tuple[Bool[np.ndarray, "patient disease"], Int[np.ndarray, " patient"]]:
    """Diseases and site of each patient (not case): both are the same at all visits."""
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
    return diseases, site


def express(
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


def record(config: ClinicConfig, streams: Streams, people: People, diseases: np.ndarray) -> list[dict[str, bool]]:
    """The recorded labels of each case; what is unknown is left out."""
    flipped = streams.uniform("label noise", people.row, len(DISEASES)) < config.label_noise
    unknown = streams.uniform("unknown", people.row, len(DISEASES)) < config.unknown_rate
    recorded = diseases ^ flipped
    return [
        {name: bool(recorded[case, k]) for k, name in enumerate(DISEASES) if not unknown[case, k]}
        for case in range(len(diseases))
    ]
