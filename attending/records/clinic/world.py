"""The causes: which diseases there are, what they do to a patient, and how likely every finding is under every cause.

An invented world, not a model of medicine. Sixteen disease states times two switches are all the causes there are, and given
a cause all findings are independent; that is what makes posteriors exact (`oracle.py`). What a finding *looks* like (a
shadow, a sentence, a value) is drawn elsewhere.

The two switches make modalities need each other. `onset` (a sign) says which of two diseases a shadow on the film belongs
to; `steroids` (a line of the note) says the same of the laboratory values. Neither says anything alone.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.records.clinic.config import ClinicConfig

DISEASES: tuple[str, ...] = ("pneumonia", "heart_failure", "pulmonary_embolism", "lung_cancer")
PARTNER: tuple[int, ...] = (3, 2, 1, 0)
"""Which disease makes this disease's shadow or value when the switch is on."""
SITES: tuple[str, ...] = ("north", "harbour", "valley")
SITE_SHARES: tuple[float, ...] = (0.5, 0.3, 0.2)
MODALITIES: tuple[str, ...] = ("film", "note", "labs", "signs")
"""What may be absent as a whole. Demographics and site are always known."""

SHADOWS: tuple[str, ...] = ("patch", "mesh", "band", "nodule")
SYMPTOMS: tuple[str, ...] = ("productive_cough", "orthopnoea", "pleuritic_pain", "weight_loss")
MARKERS: tuple[str, ...] = ("crp", "nt_probnp", "d_dimer", "ldh")
ONSET, STEROIDS = "onset", "steroids"

_BASE_PREVALENCE = np.array([0.22, 0.20, 0.17, 0.17])
# Log-odds added in each age band (18-44, 45-69, 70 and over), and for men.
_BY_AGE = np.array([[0.0, -0.5, 0.1, -0.6], [0.0, 0.0, 0.0, 0.1], [0.1, 0.4, -0.1, 0.3]])
_BY_MALE = np.array([0.0, 0.1, -0.1, 0.1])
_BY_SITE = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, -0.8, 0.8, -0.6], [-0.8, 0.8, -0.6, 1.0]])
AGE_BANDS: tuple[float, ...] = (45.0, 70.0)

# (sensitivity, rate without any cause) of a finding that its disease brings about; chosen by benchmarks/clinic.py.
_SHADOW = (0.76, 0.15)
_SYMPTOM = (0.60, 0.20)
_MARKER = (0.70, 0.18)
SWITCH_RATE = 0.35
_DENIED = 0.6
"""Share of symptoms that are not there of which a note says so; the others it passes over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """A categorical fact about a patient: `table[cause, level]` is its probability under every cause.

    `told[level]` is the probability that evidence of its modality, where there is any, tells it.
    """

    name: str
    modality: str
    levels: tuple[str, ...]
    table: Float[np.ndarray, "cause level"]
    told: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """All causes and all findings of one config.

    `diseases[cause, disease]` and `switches[cause, switch]` (onset, steroids) enumerate the causes.
    """

    diseases: Bool[np.ndarray, "cause disease"]
    switches: Bool[np.ndarray, "cause switch"]
    findings: tuple[Finding, ...]

    def place(self, name: str) -> int:
        """Index of the finding of this name."""
        return next(place for place, finding in enumerate(self.findings) if finding.name == name)


def build_world(config: ClinicConfig) -> World:
    """The causes and finding tables under the config's `interaction` and `overlap`."""
    causes = np.array(list(itertools.product((False, True), repeat=len(DISEASES) + 2)))
    diseases, switches = causes[:, : len(DISEASES)], causes[:, len(DISEASES) :]
    never = np.zeros(len(causes), dtype=bool)
    kept = 1.0 - config.field_missing_rate
    told = {"film": (1.0, 1.0), "note": (kept * _DENIED, kept), "labs": (kept, kept)}
    findings = []
    for names, modality, rates, switch in (
        (SHADOWS, "film", _SHADOW, switches[:, 0]),
        (SYMPTOMS, "note", _SYMPTOM, never),
        (MARKERS, "labs", _MARKER, switches[:, 1]),
    ):
        present = _present(diseases, switch * config.interaction, rates[0] * (1.0 - config.overlap), rates[1])
        levels = ("normal", "high") if modality == "labs" else ("absent", "present")
        for place, name in enumerate(names):
            table = np.stack([1.0 - present[:, place], present[:, place]], axis=1)
            findings.append(Finding(name=name, modality=modality, levels=levels, table=table, told=told[modality]))
    findings.append(_switch(STEROIDS, "note", ("absent", "present"), switches[:, 1], told=(kept, kept)))
    findings.append(_switch(ONSET, "signs", ("sudden", "gradual"), switches[:, 0], told=(kept, kept)))
    cancer, embolism = diseases[:, 3], diseases[:, 2]
    smoker = np.where(cancer[:, None], (0.35, 0.30, 0.35), (0.45, 0.30, 0.25))
    swelling = np.where(embolism[:, None], (0.68, 0.20, 0.12), (0.78, 0.12, 0.10))
    for name, three, table in (
        ("smoker", ("never", "former", "current"), smoker),
        ("leg_swelling", ("none", "one side", "both sides"), swelling),
    ):
        findings.append(Finding(name=name, modality="signs", levels=three, table=table, told=(kept, kept, kept)))
    return World(diseases=diseases, switches=switches, findings=tuple(findings))


def log_prior(
    config: ClinicConfig,
    world: World,
    *,
    site: Int[np.ndarray, " case"],
    age_band: Int[np.ndarray, " case"],
    male: Bool[np.ndarray, " case"],
) -> Float[np.ndarray, "case cause"]:
    """Log-probability of every cause before any finding, given site, age band and sex."""
    probability = disease_probability(config, site=site, age_band=age_band, male=male)
    log_yes, log_no = np.log(probability), np.log1p(-probability)
    by_disease = log_yes @ world.diseases.T.astype(float) + log_no @ (~world.diseases).T.astype(float)
    by_switch = np.log(np.where(world.switches, SWITCH_RATE, 1.0 - SWITCH_RATE)).sum(axis=1)
    log_joint = by_disease + by_switch
    if config.shortcut is not None and config.shortcut.kind == "site":
        log_joint = log_joint + np.log(site_given_first_disease(config)[world.diseases[:, 0].astype(int)][:, site].T)
    return log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True)


def disease_probability(
    config: ClinicConfig,
    *,
    site: Int[np.ndarray, " case"],
    age_band: Int[np.ndarray, " case"],
    male: Bool[np.ndarray, " case"],
) -> Float[np.ndarray, "case disease"]:
    """Probability of each disease given age band, sex and the site's own prevalence; diseases are independent given these."""
    log_odds = np.log(_BASE_PREVALENCE / (1.0 - _BASE_PREVALENCE)) + np.log(config.prevalence)
    log_odds = log_odds + _BY_AGE[age_band] + male[:, None] * _BY_MALE + config.site_shift.prevalence * _BY_SITE[site]
    return 1.0 / (1.0 + np.exp(-log_odds))


def site_given_first_disease(config: ClinicConfig) -> Float[np.ndarray, "disease site"]:
    """Share of each site among patients without (row 0) and with (row 1) the first disease."""
    shares = np.array([SITE_SHARES, SITE_SHARES])
    if config.shortcut is not None and config.shortcut.kind == "site":
        strength = min(config.shortcut.strength, 1.0 - 1e-6)
        shares[1] = (1.0 - strength) * shares[1] + strength * np.array([0.0, 1.0, 0.0])
        others = np.array([SITE_SHARES[0], 0.0, SITE_SHARES[2]])
        shares[0] = (1.0 - strength) * shares[0] + strength * others / others.sum()
    return shares


def missing_probability(
    config: ClinicConfig,
    diseases: Bool[np.ndarray, "*row disease"],
    *,
    site: Int[np.ndarray, "*row"],
    age_band: Int[np.ndarray, "*row"],
) -> Float[np.ndarray, "*row modality"]:
    """Probability that each modality is absent, for diseases (`mnar`) or age and site (`mar`); broadcasts over rows."""
    shape = (*np.broadcast_shapes(diseases.shape[:-1], site.shape), len(MODALITIES))
    odds = np.zeros(shape)
    if config.missing == "mar":
        odds = odds + np.array([[0.8, 0.0, 0.6, 0.0], [0.0, 0.0, 0.0, 0.0], [-1.2, 0.3, -0.9, 0.2]])[age_band]
        odds = odds + np.array([[0.0, 0.0, 0.0, 0.0], [0.3, -0.5, 0.0, 0.5], [-0.3, 0.5, 0.3, -0.5]])[site]
    elif config.missing == "mnar":
        # A film is not ordered for those who look well; a note is short-cut and bloods are taken where embolism is feared.
        effect = np.array([[-1.0, 0.8, -0.6, 0.3], [-0.6, 0.3, -0.8, 0.0], [0.3, 0.0, -1.5, 0.4], [-0.8, -0.6, 0.6, 0.0]])
        odds = odds + diseases.astype(float) @ effect
    rate = max(config.missing_rate, 1e-12)
    return 1.0 / (1.0 + np.exp(-(odds + np.log(rate / (1.0 - rate)))))


def _present(
    diseases: Bool[np.ndarray, "cause disease"], swap: Float[np.ndarray, " cause"], sensitivity: float, background: float
) -> Float[np.ndarray, "cause finding"]:
    own = 1.0 - (1.0 - background) * (1.0 - sensitivity * diseases)
    partner = own[:, list(PARTNER)]
    return (1.0 - swap[:, None]) * own + swap[:, None] * partner


def _switch(
    name: str, modality: str, levels: tuple[str, str], on: Bool[np.ndarray, " cause"], *, told: tuple[float, float]
) -> Finding:
    return Finding(name=name, modality=modality, levels=levels, table=np.stack([~on, on], axis=1).astype(float), told=told)
