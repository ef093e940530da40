"""One row of `report.json`: a number about predictions, with all that is needed to read it. Frozen: reports are compared."""

from dataclasses import asdict, dataclass, replace
from typing import Any


class EvaluationError(ValueError):
    """Predictions cannot be judged as asked; the message says what was found and what to do."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A value with its interval, and what it is about. None: unused, or not estimable and `note` says why.

    `n`, `events` count cases, `clusters` the groups that were resampled. With a `comparator` the value is the difference
    model − comparator. `adjusted` names the adjustment for several comparisons. `slice` and `slice_value` name a subgroup.
    """

    target: str | None
    finding: str
    split: str
    model: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    events: int | None = None
    comparator: str | None = None
    slice: str | None = None
    slice_value: str | None = None
    threshold: float | None = None
    level: float | None = None
    clusters: int | None = None
    prevalence: float | None = None
    method: str | None = None
    protocol: str | None = None
    repeats: int | None = None
    seed: int | None = None
    adjusted: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.note:
            raise ValueError("a result without a value needs a note that says why it cannot be estimated")

    def to_row(self) -> dict[str, Any]:
        """The row of `report.json`."""
        return asdict(self)

    def noted(self, note: str) -> "Result":
        """The same with one more note."""
        return replace(self, note=f"{self.note}; {note}" if self.note else note)


def verdict_of_margin(difference: Result, margin: float) -> str:
    """Whether "no worse by `margin`" is "shown", for a metric of which more is better. The margin is declared beforehand."""
    if margin <= 0.0:
        raise EvaluationError(f"a margin of non-inferiority is above 0, found {margin:g}")
    return "shown" if difference.low is not None and difference.low > -margin else "not shown"


def verdict(difference: Result) -> str:
    """ "shown" where the interval of a difference excludes zero, otherwise "not shown" (never "equal")."""
    if difference.low is None or difference.high is None:
        return "not shown"
    return "shown" if difference.low > 0.0 or difference.high < 0.0 else "not shown"
