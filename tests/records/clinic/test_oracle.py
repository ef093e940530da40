"""The exact posteriors, held against enumeration by hand, against the patients drawn, and against what must hold of them."""

import itertools
import math

import numpy as np
import pytest

from attending.records.clinic.config import ClinicConfig, Shortcut, SiteShift
from attending.records.clinic.oracle import Enumeration, consult
from attending.records.clinic.world import (
    DISEASES,
    MODALITIES,
    SWITCH_RATE,
    build_world,
    disease_probability,
    missing_probability,
    site_given_first_disease,
)

CONFIGS = {
    "default": ClinicConfig(n_patients=6000, seed=1),
    "missing by disease": ClinicConfig(n_patients=6000, seed=2, missing="mnar", missing_rate=0.3),
    "missing by age and site": ClinicConfig(n_patients=6000, seed=3, missing="mar", missing_rate=0.3),
    "sites differ": ClinicConfig(n_patients=6000, seed=4, site_shift=SiteShift(prevalence=1.0)),
    "site shortcut": ClinicConfig(n_patients=6000, seed=5, shortcut=Shortcut(kind="site", strength=0.6)),
    "no interaction, overlap": ClinicConfig(n_patients=6000, seed=6, interaction=0.0, overlap=0.3),
    "half an interaction, rare": ClinicConfig(n_patients=6000, seed=7, interaction=0.5, prevalence=0.4),
    "visits": ClinicConfig(n_patients=3000, seed=8, visits=3),
}


def _by_hand(config, world, facts, case):
    """P(each disease | what is seen), summed over all disease and switch states, one factor after another."""
    probability = disease_probability(
        config, site=facts.site[case : case + 1], age_band=facts.age_band[case : case + 1], male=facts.male[case : case + 1]
    )[0]
    shares = site_given_first_disease(config)
    ill_weight, all_weight = [0.0] * len(DISEASES), 0.0
    causes = {(*d, *s): row for row, (d, s) in enumerate(zip(world.diseases.tolist(), world.switches.tolist(), strict=True))}
    for states in itertools.product((False, True), repeat=len(DISEASES)):
        absent = missing_probability(config, np.array(states), site=facts.site[case], age_band=facts.age_band[case])
        for switches in itertools.product((False, True), repeat=2):
            weight = math.prod(p if ill else 1 - p for p, ill in zip(probability, states, strict=True))
            weight *= math.prod(SWITCH_RATE if on else 1 - SWITCH_RATE for on in switches)
            weight *= shares[int(states[0])][facts.site[case]] if config.shortcut is not None else 1.0
            for place in range(len(MODALITIES)):
                weight *= 1 - absent[place] if facts.present[case, place] else absent[place]
            for place, finding in enumerate(world.findings):
                row = finding.table[causes[states + switches]]
                if facts.expressed[case, place]:
                    level = facts.level[case, place]
                    weight *= row[level] * finding.told[level]
                elif facts.present[case, MODALITIES.index(finding.modality)]:
                    weight *= sum(p * (1 - told) for p, told in zip(row, finding.told, strict=True))
            all_weight += weight
            for disease, is_ill in enumerate(states):
                ill_weight[disease] += weight * is_ill
    return [weight / all_weight for weight in ill_weight]


@pytest.mark.parametrize("name", CONFIGS)
def test_seen_equals_enumeration_by_hand(undrawn, name):
    config = CONFIGS[name]
    world, _, facts = undrawn(config)
    seen = consult(Enumeration(config, world, facts)).seen
    for case in range(10):
        np.testing.assert_allclose(seen[case], _by_hand(config, world, facts, case), atol=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
def test_posteriors_are_calibrated_on_what_was_drawn(undrawn, name):
    """In every tenth of the scale the diseased are as many as the posterior says, within 4.5 standard errors."""
    config = CONFIGS[name]
    world, diseases, facts = undrawn(config)
    oracle = consult(Enumeration(config, world, facts))
    clusters = config.visits  # visits of one person are not independent; at worst this inflates the variance by their number
    for posteriors in (oracle.full, oracle.seen, *oracle.modality.values()):
        for low in np.arange(0.0, 1.0, 0.1):
            chosen = (posteriors >= low) & (posteriors < low + 0.1)
            if chosen.sum() >= 100:
                p = posteriors[chosen]
                error = np.sqrt(clusters * (p * (1 - p)).sum())
                assert abs(diseases[chosen].sum() - p.sum()) < 4.5 * error


def test_more_evidence_is_never_worse_on_average(undrawn):
    """Log loss falls from one modality to what is seen to everything."""
    config = CONFIGS["default"]
    world, diseases, facts = undrawn(config)
    oracle = consult(Enumeration(config, world, facts))

    def log_loss(p):
        return -np.log(np.where(diseases, p, 1 - p)).mean()

    assert log_loss(oracle.full) < log_loss(oracle.seen)
    assert all(log_loss(oracle.seen) < log_loss(one) for one in oracle.modality.values())


def test_without_interaction_log_odds_of_modalities_add_up(undrawn):
    """With one cause per finding: logit(seen) = sum of logit(modality) − (modalities − 1) · logit(prior), exactly."""
    config = CONFIGS["no interaction, overlap"]
    world, _, facts = undrawn(config)
    nothing = np.zeros_like(facts.expressed)
    oracle = consult(Enumeration(config, world, facts))

    def logit(p):
        return np.log(p) - np.log1p(-p)

    prior = Enumeration(config, world, facts).posterior(known=nothing, silent=nothing)
    added = sum(logit(oracle.modality[m]) for m in MODALITIES) - (len(MODALITIES) - 1) * logit(prior)
    np.testing.assert_allclose(logit(oracle.seen), added, atol=1e-9)
    with_interaction = consult(Enumeration(CONFIGS["default"], build_world(CONFIGS["default"]), facts))
    assert np.abs(logit(with_interaction.seen) - sum(logit(with_interaction.modality[m]) for m in MODALITIES)).max() > 1.0


def test_label_noise_is_part_of_the_answer(undrawn):
    config = CONFIGS["default"]
    world, _, facts = undrawn(config)
    clean = consult(Enumeration(config, world, facts))
    noisy_config = ClinicConfig(n_patients=6000, seed=1, label_noise=0.1)
    noisy = consult(Enumeration(noisy_config, world, facts))
    np.testing.assert_allclose(noisy.seen, 0.9 * clean.seen + 0.1 * (1.0 - clean.seen), atol=1e-12)
