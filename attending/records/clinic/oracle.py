"""What could be known at best: exact posteriors by summing over all causes.

Every oracle knows site, age band, sex, and which modalities are present together with why they may be absent. `full` sees all
findings; `seen` those that the evidence at hand expresses; `modality[name]` those of one modality (`values`: laboratory and
signs). They answer for the label *as recorded*: label noise is part of the answer. A planted shortcut or leak is not evidence
and no oracle sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    """What is true of each case, and what of it is expressed. `level[case, finding]` is an index into the finding's levels.

    `silent` marks findings that are not expressed although evidence of their modality is there.
    """

    site: Int[np.ndarray, " case"]
    age_band: Int[np.ndarray, " case"]
    male: Bool[np.ndarray, " case"]
    level: Int[np.ndarray, "case finding"]
    expressed: Bool[np.ndarray, "case finding"]
    silent: Bool[np.ndarray, "case finding"]
    present: Bool[np.ndarray, "case modality"]

    def without(self, present: Bool[np.ndarray, "case modality"], world: World) -> "Facts":
        """The same facts where only these modalities are there."""
        there = present[:, [MODALITIES.index(finding.modality) for finding in world.findings]]
        return replace(self, present=present, expressed=self.expressed & there, silent=self.silent & there)


def consult(config: ClinicConfig, world: World, facts: Facts) -> Oracle:
    """All exact posteriors of the cases."""
    everything = np.ones_like(facts.expressed)
    of = {m: np.array([f.modality == m for f in world.findings]) for m in MODALITIES}
    of[VALUES] = of["labs"] | of["signs"]
    return Oracle(
        findings=DISEASES,
        full=posterior(config, world, facts, known=everything, silent=~everything),
        seen=posterior(config, world, facts, known=facts.expressed, silent=facts.silent),
        modality={
            name: posterior(config, world, facts, known=facts.expressed & chosen, silent=facts.silent & chosen)
            for name, chosen in of.items()
        },
    )


def posterior(
    config: ClinicConfig,
    world: World,
    facts: Facts,
    *,
    known: Bool[np.ndarray, "case finding"],
    silent: Bool[np.ndarray, "case finding"],
) -> Float[np.ndarray, "case disease"]:
    """Probability of each recorded label given site, demographics, what is absent, and findings.

    Of the findings marked `known` their level counts; of those marked `silent`, that evidence which could have told them does
    not.
    """
    log_joint = log_prior(config, world, site=facts.site, age_band=facts.age_band, male=facts.male)
    absent = missing_probability(config, world.diseases[None, :, :], site=facts.site[:, None], age_band=facts.age_band[:, None])
    log_joint = log_joint + np.where(facts.present[:, None, :], np.log1p(-absent), np.log(absent)).sum(axis=2)
    for place, finding in enumerate(world.findings):
        with np.errstate(divide="ignore"):
            log_table = np.log(finding.table)
            log_silence = np.log(finding.table @ (1.0 - np.array(finding.told)))
        log_joint = log_joint + np.where(known[:, place, None], log_table[:, facts.level[:, place]].T, 0.0)
        log_joint = log_joint + np.where(silent[:, place, None], log_silence, 0.0)
    weight = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    disease = (weight @ world.diseases) / weight.sum(axis=1, keepdims=True)
    return disease * (1.0 - config.label_noise) + (1.0 - disease) * config.label_noise
