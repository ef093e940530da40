"""What the pages say wherever they say it. A label was recorded, nothing is diagnosed, no number stands bare."""

from attending.service.words import COVERAGE, NOTICE, SHARES

HEADER = "Research software, not a medical device."
HEADER_MORE = "Not for decisions about patients."
ESTIMATED = "estimated probability of the recorded label"
IF = "What the model would answer if …"
IF_TOLD = (
    "The answer of the model to another question: if this evidence were absent, or this value another. It is not the effect of "
    "a treatment, and not what would happen to the patient."
)
NO_CAUSE = (
    "What is marked is what this model goes by. It is not what is wrong with the patient, not a cause, and not the effect of a "
    "treatment."
)
ADDS = (
    "Exact Shapley values: what each kind of evidence adds, the mean over all orders in which the kinds may come in, each "
    "absent until it does."
)
NOT_ASSESSED = "Is it true of the model? Not assessed."
OF_THIS_CASE = (
    "Measured on this case alone. That a method points well here does not show that it does so elsewhere; attending explain "
    "has the other methods beside it."
)
OF_MANY = "Over many patients, as each line says. It does not show that the marks of this case are true of the model."
NOT_OF_MANY = "Over many patients it was not assessed: attending assess does that."
ALIKE = "Alike to the model is not alike to a clinician. Cases by their hashed ids only; their evidence is not shown."
OF_PATIENTS = "Cases are de-identified by rules that do not find everything: keep these pages as you keep the patients' data."
SPREAD = "spread over {n} refits (not a confidence interval)"

__all__ = [
    "ADDS", "ALIKE", "COVERAGE", "ESTIMATED", "HEADER", "HEADER_MORE", "IF", "IF_TOLD", "NOTICE", "NOT_ASSESSED", "NOT_OF_MANY",
    "NO_CAUSE", "OF_MANY", "OF_PATIENTS", "OF_THIS_CASE", "SHARES", "SPREAD",
]  # fmt: skip


def percent(probability: float) -> str:
    """A probability as it is read: whole per cent, and nothing rounded to never or always."""
    if probability < 0.01:
        return "below 1 %"
    if probability > 0.99:
        return "above 99 %"
    return f"{100 * probability:.0f} %"


def set_told(*, presence: bool | None, absence: bool | None) -> str:
    """What the conformal set of a finding holds, in words."""
    if presence is None:
        return "no conformal set was fitted"
    if absence is None:
        return "in the conformal set" if presence else "not in the conformal set"
    held = {(True, True): "both, so it tells nothing apart", (True, False): "present", (False, True): "absent"}
    return f"conformal set: {held.get((presence, absence), 'neither, which is unusual')}"
