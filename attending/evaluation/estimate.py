"""A number with its uncertainty, or the reason why there is none."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`value` with the interval [`low`, `high`]. A value of None cannot be estimated, and `note` says why.

    `n` and `events` count cases and cases with the finding; `method` names how the interval was made.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    events: int
    method: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.note:
            raise ValueError("an estimate without a value needs a note that says why it cannot be estimated")
