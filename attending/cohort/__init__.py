"""Who is in which part: groups, splits and the protocol under which a procedure is judged.

`parts` holds the nouns, `roll` the members as counts and how they are spread, `protocol` what is planned with them.
"""

from attending.cohort.parts import CohortError, Fold, Kind, Member, Part, Protocol, Split
from attending.cohort.protocol import (
    FRACTIONS,
    PATIENTS_TO_CARRY_A_SPLIT,
    nested_folds,
    patient_weights,
    plan_protocol,
    split_members,
)

__all__ = [
    "FRACTIONS",
    "PATIENTS_TO_CARRY_A_SPLIT",
    "CohortError",
    "Fold",
    "Kind",
    "Member",
    "Part",
    "Protocol",
    "Split",
    "nested_folds",
    "patient_weights",
    "plan_protocol",
    "split_members",
]
