"""Small drawn cases in which what each modality knows is set by hand."""

import numpy as np

from attending.case import Case, CaseId, Demographics, Evidence, GroupId, Lab, Note, PatientId, Scan, Sign, Unit
from attending.diagnosis import Task

TASK = Task(findings=("fever",))


def draw(n: int, *, seed: int = 0, absent: float = 0.25, visits: int = 1) -> list[Case]:
    """`n` cases; a laboratory value, a word, a bright corner and a sign each speak, noisily, for `fever`."""
    random = np.random.default_rng(seed)
    return [_one(number, random, absent=absent, visits=visits) for number in range(n)]


def _one(number: int, random: np.random.Generator, *, absent: float, visits: int) -> Case:
    ill = bool(random.random() < 0.35)
    evidence: list[Evidence] = [Demographics(age_years=float(random.integers(20, 90)), sex=str(random.choice(["f", "m"])))]
    if random.random() > absent:
        evidence.append(Lab(code="crp", value=float(random.normal(3.0 if ill else 2.0)), unit=Unit("mg/l")))
    if random.random() > absent:
        told = random.random() < (0.85 if ill else 0.15)
        evidence.append(Note(text=f"patient reports {'shivering' if told else 'nothing'} since {random.integers(1, 9)} days"))
    if random.random() > absent:
        pixels = random.random((40, 48)) * 0.5
        pixels[:12, :12] += 0.4 * (random.random() < (0.75 if ill else 0.25))
        evidence.append(Scan(pixels=pixels, view="AP"))
    if random.random() > absent:
        evidence.append(Sign(name="cough", value=str(random.choice(["no", "yes"])), levels=("no", "yes")))
    patient = f"p{number // visits}"
    return Case(
        id=CaseId(f"c{number}"),
        patient=PatientId(patient),
        group=GroupId(patient),
        evidence=tuple(evidence),
        truth={"fever": ill},
        site=str(random.choice(["north", "south"])),
    )


def auroc(probability: np.ndarray, truth: np.ndarray) -> float:
    """Share of pairs in the right order, counted pair by pair."""
    ahead = probability[truth][:, None] - probability[~truth][None, :]
    return float((ahead > 0).mean() + 0.5 * (ahead == 0).mean())
