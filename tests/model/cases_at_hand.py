"""Small real cases for the tests of the model: a few patients with every kind of evidence, some of it absent."""

import numpy as np

from attending.case import Case, CaseId, Demographics, Embedding, Evidence, GroupId, Lab, Note, PatientId, Scan, Sign, Unit

LEVELS = ("no", "slight", "marked")
WORDS = ["no", "fever", "cough", "sputum", "dry", "productive", "chest", "pain", "left", "right", "worse", "days", ",", "."]


def patient(number: int, *, kinds: tuple[type[Evidence], ...] = (Note, Scan, Lab, Sign, Demographics, Embedding)) -> Case:
    """Patient `number`, with evidence of these kinds: a finding "sick" that crp, cough and a bright corner tell of."""
    rng = np.random.default_rng(number)
    sick = bool(rng.random() < 0.5)
    evidence: list[Evidence] = []
    if Note in kinds:
        evidence.append(
            Note(text=" ".join(rng.choice(WORDS, 20)) + (" cough" if sick else " dry"), field_name="history", at=-2.0)
        )
    if Scan in kinds:
        pixels = rng.random((40, 32)) * 0.2
        pixels[4:12, 4:12] += 0.6 * sick
        evidence.append(Scan(pixels=pixels.astype(np.float32)))
    if Lab in kinds:
        evidence += [Lab(code="crp", value=float(rng.gamma(2) + 3 * sick), unit=Unit("mg/L"), at=-h) for h in (1.0, 30.0)]
        evidence.append(Lab(code="wbc", value=float(rng.normal(8, 2)), unit=Unit("10^9/L")))
    if Sign in kinds:
        evidence.append(Sign(name="pain", value=str(rng.choice(LEVELS)), levels=LEVELS, at=-5.0))
    if Demographics in kinds:
        evidence.append(Demographics(age_years=float(rng.integers(1, 90)), sex=str(rng.choice(["f", "m"]))))
    if Embedding in kinds:
        evidence.append(Embedding(name="ecg", vector=rng.normal(size=5) + sick, at=-3.0))
    return Case(
        id=CaseId(f"case-{number}"),
        patient=PatientId(f"patient-{number}"),
        group=GroupId(f"patient-{number}"),
        evidence=tuple(evidence),
        truth={"sick": sick, "old": bool(rng.random() < 0.5)},
        site="north" if number % 2 else "south",
    )


def patients(n: int) -> list[Case]:
    """The first `n` patients; every third lacks a kind of evidence."""
    every = (Note, Scan, Lab, Sign, Demographics, Embedding)
    return [patient(i, kinds=every if i % 3 else tuple(k for k in every if k is not every[i // 3 % 6])) for i in range(n)]
