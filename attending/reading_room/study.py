"""A reader study: each reader judges each case before and after the model's estimates are shown, in an order of their own.

What a reader may see is said here and nowhere else: nothing of the model before the first judgement of a case is on the disk.
Times are the server's. Knows no HTTP; the file is `study_file`.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import numpy as np

from attending.diagnosis import Diagnosis
from attending.model.trained import TrainedModel
from attending.reading_room.judgement import SCORES, Judgement, Scale
from attending.reading_room.study_file import AFTER, BEFORE, OPENED, StudyFile

EVEN = 0.5
"""The threshold where the schema has none for a finding."""
MOST_REASON = 500
"""Characters of a reason."""


class NotNowError(Exception):
    """What was sent does not belong to where the reader is: judged already, or not opened yet."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a reader is: the case `number` at `position` of `of` (from 0), and the stage that is asked for."""

    number: int
    position: int
    of: int
    stage: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """Where the model stands on one finding: its estimate, the threshold, and whether it is at or above. None: it abstains."""

    finding: str
    estimate: float | None
    threshold: float

    @property
    def is_above(self) -> bool | None:
        return None if self.estimate is None else self.estimate >= self.threshold

    def is_against(self, judgement: Judgement) -> bool:
        """Whether a judgement lies on the other side than the model does."""
        return self.is_above is not None and judgement.is_above(self.threshold) != self.is_above


@dataclass(kw_only=True)
class _Reading:
    """One reader's way through the cases. `began` is the server's clock when a stage was first shown by this process.

    `here` are the cases of which this process took the first judgement; `interrupted` the stages that another one had shown.
    """

    order: Sequence[int]
    done_before: dict[int, Mapping[str, Judgement]]
    done_after: set[int]
    opened: set[int]
    began: dict[tuple[int, str], float]
    here: set[int]
    interrupted: set[tuple[int, str]]


class Study:
    """One study over the cases of a table. Safe to be asked from several threads."""

    def __init__(
        self,
        path: Path,
        *,
        ids: Sequence[str],
        model: TrainedModel,
        seed: int,
        scale: Scale = SCORES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ids, self.seed, self.scale = tuple(ids), seed, scale
        self.findings = model.task.findings
        self.model_id = model.id
        self._thresholds = {finding: float(model.settling.thresholds.get(finding, EVEN)) for finding in self.findings}
        self.declared = frozenset(model.settling.thresholds)
        self.name = _name(ids, model.id, seed, scale)
        self._clock = clock
        self._lock = Lock()
        self._readings: dict[str, _Reading] = {}
        self._file = StudyFile(path, study=self.name, findings=self.findings, scale=scale)
        self._take_up()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def place(self, reader: str) -> Place | None:
        """Where this reader is; None: all cases are judged."""
        with self._lock:
            return self._place(self._reading(reader))

    def show(self, reader: str) -> Place | None:
        """The same, and the clock of the stage runs: call it when the page goes out."""
        with self._lock:
            reading = self._reading(reader)
            place = self._place(reading)
            if place is None or (place.number, place.stage) in reading.began:
                return place
            key = (place.number, place.stage)
            if place.stage == BEFORE and place.number not in reading.opened:
                self._file.add([self._row(reader, place, stage=OPENED)])
                reading.opened.add(place.number)
            elif place.stage == BEFORE or place.number not in reading.here:
                reading.interrupted.add(key)  # shown by a process that has ended: timed anew, and marked
            reading.began[key] = self._clock()
            return place

    def may_tell(self, reader: str, number: int) -> bool:
        """Whether this reader may be told what the model says of a case."""
        with self._lock:
            return number in self._reading(reader).done_before

    def judge_before(self, reader: str, number: int, judgements: Mapping[str, Judgement]) -> None:
        """Keep the judgements (by finding) of a reader who saw the evidence alone.

        Raises `NotNowError` unless this is the case that is asked about. `OSError`: nothing was kept.
        """
        with self._lock:
            reading, place = self._at(reader, number, BEFORE)
            rows = [self._row(reader, place, stage=BEFORE, finding=name, **judgements[name].cells()) for name in self.findings]
            self._file.add(rows)
            reading.done_before[number] = dict(judgements)
            reading.here.add(number)

    def judge_after(
        self, reader: str, number: int, judgements: Mapping[str, Judgement], *, diagnosis: Diagnosis, reasons: Mapping[str, str]
    ) -> None:
        """Keep the judgements of a reader who has seen the estimates. `reasons` say why one goes against the model.

        Raises `NotNowError` as above. `OSError`: nothing was kept.
        """
        with self._lock:
            reading, place = self._at(reader, number, AFTER)
            rows = []
            for side in self.sides(diagnosis):
                name = side.finding
                told = {
                    "estimate": "" if side.estimate is None else side.estimate,
                    "threshold": side.threshold,
                    "model_side": "" if side.is_above is None else "at or above" if side.is_above else "below",
                    "abstained": diagnosis.abstained or "",
                    "override_reason": reasons.get(name, "") if side.is_against(judgements[name]) else "",
                }
                rows.append(self._row(reader, place, stage=AFTER, finding=name, **judgements[name].cells(), **told))
            self._file.add(rows)
            reading.done_after.add(number)

    def before(self, reader: str, number: int) -> Mapping[str, Judgement]:
        """What the reader judged of a case without the model; empty where nothing yet."""
        with self._lock:
            return self._reading(reader).done_before.get(number, {})

    def sides(self, diagnosis: Diagnosis) -> tuple[Side, ...]:
        """Where the model stands, finding by finding."""
        held = diagnosis.probability() if diagnosis.abstained is None else {}
        return tuple(Side(finding=name, estimate=held.get(name), threshold=self._thresholds[name]) for name in self.findings)

    def _at(self, reader: str, number: int, stage: str) -> tuple[_Reading, Place]:
        reading = self._reading(reader)
        place = self._place(reading)
        if place is None or place.number != number or place.stage != stage or (number, stage) not in reading.began:
            raise NotNowError
        return reading, place

    def _reading(self, reader: str) -> _Reading:
        if reader not in self._readings:
            order = order_for(reader, n=len(self.ids), seed=self.seed)
            self._readings[reader] = _Reading(
                order=order, done_before={}, done_after=set(), opened=set(), began={}, here=set(), interrupted=set()
            )
        return self._readings[reader]

    def _place(self, reading: _Reading) -> Place | None:
        for position, number in enumerate(reading.order):
            if number not in reading.done_after:
                stage = AFTER if number in reading.done_before else BEFORE
                return Place(number=number, position=position, of=len(self.ids), stage=stage)
        return None

    def _row(self, reader: str, place: Place, *, stage: str, **told: object) -> dict[str, object]:
        reading = self._readings[reader]
        began = reading.began.get((place.number, stage))
        return {
            "study": self.name,
            "reader": reader,
            "position": place.position + 1,
            "case": self.ids[place.number],
            "stage": stage,
            "finding": "",
            "judgement": "",
            **dict.fromkeys(self.scale.more_columns, ""),
            "seconds": "" if began is None else round(self._clock() - began, 1),
            "interrupted": "" if stage == OPENED else "yes" if (place.number, stage) in reading.interrupted else "no",
            "estimate": "",
            "threshold": "",
            "model_side": "",
            "abstained": "",
            "override_reason": "",
            "model": self.model_id,
            "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            **told,
        }

    def _judged(self, row: Mapping[str, str]) -> Judgement:
        return self.scale.read(row["judgement"], row.get("confidence", ""))

    def _take_up(self) -> None:
        """Go on from what the file holds."""
        number_of = {id: number for number, id in enumerate(self.ids)}
        for group in self._file.groups:
            row = group[0]
            reading, number = self._reading(row["reader"]), number_of[row["case"]]
            if row["stage"] == OPENED:
                reading.opened.add(number)
            elif row["stage"] == BEFORE:
                reading.done_before[number] = {each["finding"]: self._judged(each) for each in group}
            else:
                reading.done_after.add(number)


def order_for(reader: str, *, n: int, seed: int) -> tuple[int, ...]:
    """The order in which a reader sees `n` cases: by the seed and the reader's name alone, so a restart finds it again."""
    digest = hashlib.sha256(f"{seed}\0{reader}".encode()).digest()
    return tuple(int(i) for i in np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(n))


def _name(ids: Sequence[str], model: str, seed: int, scale: Scale) -> str:
    """What a study is of: these cases, this model, this seed, and this scale, where it is not that of numbers."""
    chosen = str(seed) if scale is SCORES else f"{seed} {scale.name}"
    return hashlib.sha256("\0".join([chosen, model, *ids]).encode()).hexdigest()[:12]
