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


def consult(enumeration: "Enumeration") -> Oracle:
    """All exact posteriors of the cases."""
    facts, findings = enumeration.facts, enumeration.world.findings
    everything = np.ones_like(facts.expressed)
    of = {m: np.array([finding.modality == m for finding in findings]) for m in MODALITIES}
    of[VALUES] = of["labs"] | of["signs"]
    return Oracle(
        findings=DISEASES,
        full=enumeration.posterior(known=everything, silent=~everything),
        seen=enumeration.posterior(known=facts.expressed, silent=facts.silent),
        modality={
            name: enumeration.posterior(known=facts.expressed & chosen, silent=facts.silent & chosen)
            for name, chosen in of.items()
        },
    )


class Enumeration:
    """The log-probability of every cause of every case, before findings; and posteriors given some of them."""

    def __init__(self, config: ClinicConfig, world: World, facts: Facts) -> None:
        self.config, self.world, self.facts = config, world, facts
        # Few circumstances occur, each many times: site × age band × sex, and with what is present.
        key = np.column_stack([facts.site, facts.age_band, facts.male, facts.present])
        circumstances, self._circumstance = np.unique(key.astype(int), axis=0, return_inverse=True)
        site, age_band, male, present = circumstances[:, 0], circumstances[:, 1], circumstances[:, 2] == 1, circumstances[:, 3:]
        absent = missing_probability(config, world.diseases[None, :, :], site=site[:, None], age_band=age_band[:, None])
        log_pattern = np.where(present[:, None, :] == 1, np.log1p(-absent), np.log(absent)).sum(axis=2)
        self._before_findings = log_prior(config, world, site=site, age_band=age_band, male=male) + log_pattern
        with np.errstate(divide="ignore"):
            # Rows of each table: the levels, then silence, then nothing known.
            self._tables = [
                np.vstack([np.log(f.table.T), np.log(f.table @ (1.0 - np.array(f.told))), np.zeros(len(f.table))])
                for f in world.findings
            ]

    def posterior(
        self, *, known: Bool[np.ndarray, "case finding"], silent: Bool[np.ndarray, "case finding"]
    ) -> Float[np.ndarray, "case disease"]:
        """Probability of each recorded label given site, demographics, what is absent, and findings.

        Of the findings marked `known` their level counts; of those marked `silent`, that evidence which could have told them
        does not.
        """
        log_joint = self._before_findings[self._circumstance]
        for place, table in enumerate(self._tables):
            row = np.where(
                known[:, place], self.facts.level[:, place], np.where(silent[:, place], len(table) - 2, len(table) - 1)
            )
            log_joint += table[row]
        weight = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        disease = (weight @ self.world.diseases) / weight.sum(axis=1, keepdims=True)
        return disease * (1.0 - self.config.label_noise) + (1.0 - disease) * self.config.label_noise
