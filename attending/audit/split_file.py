"""A split that somebody made, as a protocol: a CSV of `id,part`, or `id,repeat,fold,part` as `attending run` writes it.

Ids are those of the table's cases. With folds, a case that is "test" in one fold is trained on in the others of its repeat.
"""

import csv
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import cast

from attending.audit.check import AuditError
from attending.cohort import Fold, Part, Protocol, Split
from attending.records.error import did_you_mean

_WORDS = {"train": "train", "training": "train", "tune": "tune", "val": "tune", "valid": "tune", "validation": "tune",
          "dev": "tune", "calibrate": "calibrate", "calibration": "calibrate", "test": "test", "testing": "test"}  # fmt: skip


def read_split(path: Path, ids: Collection[str]) -> Protocol:
    """The split of these cases. Raises `AuditError` for a column that is lacking, an unknown part or an id that is no case."""
    parts: dict[tuple[int, int], dict[str, str]] = defaultdict(dict)
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = csv.DictReader(handle, strict=True)
            for name in ("id", "part"):
                if name not in (lines.fieldnames or ()):
                    raise AuditError(f'{path}: no column "{name}"; expected id,part or id,repeat,fold,part')
            for row, line in enumerate(lines, start=2):
                word = (line["part"] or "").strip().lower()
                if word not in _WORDS:
                    known = ("train", "tune", "calibrate", "test")
                    raise AuditError(f'{path} row {row}, column "part": expected one of {", ".join(known)}.')
                place = (_whole(path, row, line, "repeat"), _whole(path, row, line, "fold"))
                id = (line["id"] or "").strip()
                if parts[place].setdefault(id, _WORDS[word]) != _WORDS[word]:
                    raise AuditError(f"{path} row {row}: this id stands in two parts of one fold; a case has one part")
    except (UnicodeDecodeError, csv.Error) as error:
        raise AuditError(f"{path}: not a readable CSV in UTF-8 ({type(error).__name__})") from None
    known_ids, named = set(ids), {id for held in parts.values() for id in held}
    if not named & known_ids:
        hint = did_you_mean(next(iter(named), ""), ids)
        raise AuditError(f"{path}: none of its {len(named)} ids is a case of the table; use the ids of the table.{hint}")
    return _protocol(path, {place: {k: v for k, v in held.items() if k in known_ids} for place, held in parts.items()})


def _protocol(path: Path, parts: dict[tuple[int, int], dict[str, str]]) -> Protocol:
    is_one = len(parts) == 1
    members: dict[int, set[str]] = defaultdict(set)
    for (repeat, _), held in parts.items():
        members[repeat] |= set(held)
    folds = tuple(
        Fold(
            repeat=repeat,
            fold=fold,
            train=tuple(sorted(id for id in members[repeat] if held.get(id, "train") != "test")),
            test=tuple(sorted(id for id, part in held.items() if part == "test")),
        )
        for (repeat, fold), held in sorted(parts.items())
    )
    return Protocol(
        kind="split" if is_one else "cv",
        folds=folds,
        repeats=len(members),
        seed=0,
        reason=f"the split of {path.name}",
        split=Split(parts={id: cast(Part, part) for id, part in next(iter(parts.values())).items()}) if is_one else None,
    )


def _whole(path: Path, row: int, line: dict[str, str], name: str) -> int:
    text = (line.get(name) or "0").strip()
    if not text.isdecimal():
        raise AuditError(f'{path} row {row}, column "{name}": expected a whole number from 0')
    return int(text)
