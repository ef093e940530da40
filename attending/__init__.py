"""attending: multi-modal medical diagnosis on attention mechanisms that you can choose, measure and see.

    table = attending.read_table("patients.csv")
    schema = attending.infer_schema(table, targets=["diagnosis"])
    intake = attending.take_in(table, schema, key_file=Path("privacy.key"))     # charts, then de-identified cases
    study = attending.hold_study(intake, plan=attending.Plan(), out=Path("out/diagnosis"))
    model = attending.load("out/diagnosis")
    (diagnosis,) = model.diagnose([case])

The two steps of `take_in` are `read_charts` and `deidentify`. Names are imported when they are first used, so that
`import attending` itself costs nothing.
Research software, not a medical device; not for decisions about patients.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attending.case import Case, Chart, Demographics, Embedding, Lab, Note, Scan, Sign, Unit
    from attending.diagnosis import Diagnosis, Task
    from attending.estimator import DiagnosisEstimator
    from attending.intake import Intake, take_in
    from attending.model.trained import TrainedModel
    from attending.model.trained import load_model as load
    from attending.privacy import deidentify
    from attending.records import infer_schema, read_charts, read_table
    from attending.study import Plan, Study, hold_study

__all__ = [
    "Case",
    "Chart",
    "Demographics",
    "Diagnosis",
    "DiagnosisEstimator",
    "Embedding",
    "Intake",
    "Lab",
    "Note",
    "Plan",
    "Scan",
    "Sign",
    "Study",
    "Task",
    "TrainedModel",
    "Unit",
    "deidentify",
    "hold_study",
    "infer_schema",
    "load",
    "read_charts",
    "read_table",
    "take_in",
]

_HOMES = {
    "case": ("Case", "Chart", "Demographics", "Embedding", "Lab", "Note", "Scan", "Sign", "Unit"),
    "diagnosis": ("Diagnosis", "Task"),
    "estimator": ("DiagnosisEstimator",),
    "intake": ("Intake", "take_in"),
    "model.trained": ("TrainedModel",),
    "privacy": ("deidentify",),
    "records": ("infer_schema", "read_charts", "read_table"),
    "study": ("Plan", "Study", "hold_study"),
}
_FOUND_IN = {name: (home, name) for home, names in _HOMES.items() for name in names} | {"load": ("model.trained", "load_model")}


def __getattr__(name: str) -> Any:
    """The public name, imported now (PEP 562)."""
    if name not in _FOUND_IN:
        raise AttributeError(f"module 'attending' has no attribute {name!r}; public are {', '.join(__all__)}")
    home, called = _FOUND_IN[name]
    found = getattr(import_module(f"attending.{home}"), called)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
