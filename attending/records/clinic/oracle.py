"""What could be known at best: exact posteriors by summing over all causes.

Every oracle knows site, age band, sex, and which modalities are present together with why they may be absent. `full` sees all
findings; `seen` those that the evidence at hand expresses; `modality[name]` those of one modality (`values`: laboratory and
signs). They answer for the label *as recorded*: label noise is part of the answer. A planted shortcut or leak is not evidence
and no oracle sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.world import DISEASES, MODALITIES, World, log_prior, missing_probability

VALUES = "values"


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """Posterior probabilities in the order of `findings`, one row per chart."""

    findings: tuple[str, ...]
    full: Float[np.ndarray, "case finding"]
    seen: Float[np.ndarray, "case finding"]
    modality: Mapping[str, Float[np.ndarray, "case finding"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What is true of each case, and what of it is expressed. `level[case, finding]` is an index into the finding's levels."""

    site: Int[np.ndarray, " case"]
    age_band: Int[np.ndarray, " case"]
    male: Bool[np.ndarray, " case"]
    level: Int[np.ndarray, "case finding"]
    expressed: Bool[np.ndarray, "case finding"]
    present: Bool[np.ndarray, "case modality"]


def consult(config: ClinicConfig, world: World, facts: Facts) -> Oracle:
    """All exact posteriors of the cases."""
    everything = np.ones_like(facts.expressed)
    of = {m: np.array([f.modality == m for f in world.findings]) for m in MODALITIES}
    of[VALUES] = of["labs"] | of["signs"]
    return Oracle(
        findings=DISEASES,
        full=posterior(config, world, facts, everything),
        seen=posterior(config, world, facts, facts.expressed),
        modality={name: posterior(config, world, facts, facts.expressed & chosen) for name, chosen in of.items()},
    )


def posterior(
    config: ClinicConfig, world: World, facts: Facts, known: Bool[np.ndarray, "case finding"]
) -> Float[np.ndarray, "case disease"]:
    """Probability of each recorded label given the findings marked in `known`, the site, demographics and what is absent."""
    log_joint = log_prior(config, world, site=facts.site, age_band=facts.age_band, male=facts.male)
    absent = missing_probability(config, world.diseases[None, :, :], site=facts.site[:, None], age_band=facts.age_band[:, None])
    log_joint = log_joint + np.where(facts.present[:, None, :], np.log1p(-absent), np.log(absent)).sum(axis=2)
    for place, finding in enumerate(world.findings):
        with np.errstate(divide="ignore"):
            log_table = np.log(finding.table)
        log_joint = log_joint + np.where(known[:, place, None], log_table[:, facts.level[:, place]].T, 0.0)
    weight = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    disease = (weight @ world.diseases) / weight.sum(axis=1, keepdims=True)
    return disease * (1.0 - config.label_noise) + (1.0 - disease) * config.label_noise
