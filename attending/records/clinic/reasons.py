"""Why each case is as likely to have each disease as it is: which places of its evidence tell, and how much.

The weight of a finding is exact: the log-odds of the disease given all that is seen, less the log-odds without this finding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from jaxtyping import Bool, Float

from attending.case import Place


@dataclass(frozen=True, kw_only=True, eq=False)
class Reason:
    """One expressed finding of a case, and where it is.

    `level` is what it says ("present", "high", …). `log_odds` is what it adds to the log-odds of the disease. `mask` marks the
    pixels of a shadow and is None elsewhere; a shadow that is absent has no place and is no reason.
    """

    finding: str
    modality: str
    level: str
    place: Place
    log_odds: float
    mask: Bool[np.ndarray, "height width"] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """One finding as the evidence of a case tells it: which finding, where, and its mask."""

    finding: int
    name: str
    modality: str
    level: str
    place: Place
    mask: Bool[np.ndarray, "height width"] | None = field(default=None, repr=False)


class Reasons(Sequence[Mapping[str, tuple[Reason, ...]]]):
    """Per case (in the order of the charts): disease → its reasons, the weightiest first. Made when asked for."""

    def __init__(
        self, told: Sequence[tuple[Told, ...]], weights: Float[np.ndarray, "finding case disease"], diseases: tuple[str, ...]
    ) -> None:
        self._told, self._weights, self._diseases = told, weights, diseases

    def __len__(self) -> int:
        return len(self._told)

    @overload
    def __getitem__(self, case: int) -> Mapping[str, tuple[Reason, ...]]: ...

    @overload
    def __getitem__(self, case: slice) -> Sequence[Mapping[str, tuple[Reason, ...]]]: ...

    def __getitem__(self, case: int | slice) -> Mapping[str, tuple[Reason, ...]] | Sequence[Mapping[str, tuple[Reason, ...]]]:
        if isinstance(case, slice):
            return [self._of(place) for place in range(*case.indices(len(self)))]
        return self._of(range(len(self))[case])

    def __iter__(self) -> Iterator[Mapping[str, tuple[Reason, ...]]]:
        return (self._of(case) for case in range(len(self)))

    def _of(self, case: int) -> Mapping[str, tuple[Reason, ...]]:
        found = {}
        for column, disease in enumerate(self._diseases):
            reasons = [
                Reason(
                    finding=told.name,
                    modality=told.modality,
                    level=told.level,
                    place=told.place,
                    log_odds=float(self._weights[told.finding, case, column]),
                    mask=told.mask,
                )
                for told in self._told[case]
            ]
            found[disease] = tuple(sorted(reasons, key=lambda reason: -abs(reason.log_odds)))
        return found
