"""Recorded labels → findings: binary, one class of several, or lists of labels. A blank or unknown label is never negative."""

from collections import Counter
from collections.abc import Mapping, Sequence

from attending.records.error import SchemaError, did_you_mean
from attending.records.schema import Target, TargetKind
from attending.records.table import Table
from attending.records.values import is_unknown

_AFFIRMATIVE = {
    "no": "yes",
    "n": "y",
    "0": "1",
    "0.0": "1.0",
    "false": "true",
    "absent": "present",
    "negative": "positive",
    "-": "+",
}
_NO_LABEL = ("none", "[]", "no finding", "no_finding")
"""Cells of a list column that say "looked, and found none": every label is false, not unknown."""


def infer_targets(table: Table, columns: Sequence[str], *, positive: str | None) -> tuple[Target, ...]:
    """One `Target` per column.

    Two values, or `positive` given: binary, true where `positive` (default: the rarer value; with several target columns the
    affirmative one where there is one, as in yes/no). More values: classes that exclude each other. Cells with `;`: lists.
    """
    return tuple(_infer(table, column, positive=positive, is_alone=len(columns) == 1) for column in columns)


def _infer(table: Table, column: str, *, positive: str | None, is_alone: bool) -> Target:
    known = [cell.strip() for cell in table.frame[column].drop_nulls().to_list() if not is_unknown(cell)]
    place = f'{table.name} column "{column}"'
    if any(";" in cell for cell in known):
        labels = sorted({label for cell in known for label in labels_of(cell, ";")})
        if positive is not None:
            raise SchemaError(f"{place}: cells are lists of labels, so --positive does not apply; leave it out")
        return Target(column=column, kind=TargetKind.LIST, classes=tuple(labels))
    counts = Counter(known)
    if len(counts) < 2:
        raise SchemaError(
            f"{place}: the target has {len(counts)} class among {len(known)} known rows, expected at least two; "
            "choose another target or another --where"
        )
    classes = tuple(sorted(counts))
    if positive is not None:
        if positive not in counts:
            # labels are no patient text, but a note named as target by mistake is
            are_labels = len(classes) <= 30 and max(map(len, classes)) <= 40
            shown = f"{did_you_mean(positive, classes)} Its values: {', '.join(classes)}" if are_labels else ""
            raise SchemaError(f'{place}: no row has the positive value "{positive}", expected one of {len(classes)}.{shown}')
        return Target(column=column, kind=TargetKind.BINARY, classes=classes, positive=positive)
    if len(counts) == 2:
        return Target(column=column, kind=TargetKind.BINARY, classes=classes, positive=_positive(counts, is_alone=is_alone))
    if not is_alone:
        raise SchemaError(
            f"{place}: has {len(counts)} values beside other targets, expected two; give each class its own column"
        )
    if len(counts) > max(20, len(known) // 5):
        raise SchemaError(
            f"{place}: has {len(counts)} values in {len(known)} known rows, expected a label; "
            "numbers and free text are no target"
        )
    return Target(column=column, kind=TargetKind.CLASSES, classes=classes)


def _positive(counts: Counter[str], *, is_alone: bool) -> str:
    (rarer, few), (other, many) = sorted(counts.items(), key=lambda pair: (pair[1], pair[0]))
    affirmative = next((v for v in (rarer, other) for w in (rarer, other) if _AFFIRMATIVE.get(w.lower()) == v.lower()), None)
    if affirmative is not None and (few == many or not is_alone):
        return affirmative
    return rarer


def labels_of(cell: str, separator: str) -> tuple[str, ...]:
    """The labels of a list cell, without doubles; none for a cell that says that nothing was found."""
    labels = (label.strip() for label in cell.strip().strip("[]").split(separator))
    return tuple(dict.fromkeys(label for label in labels if label and label.lower() not in _NO_LABEL))


def read_truth(target: Target, cell: str | None) -> Mapping[str, bool] | None:
    """Finding → whether it is true, for one cell: empty where unknown, None for a value that the schema does not list."""
    if cell is None or is_unknown(cell):
        return {}
    text = cell.strip()
    if target.kind is TargetKind.LIST:
        labels = labels_of(text, target.separator)
        return {label: label in labels for label in target.classes} if set(labels) <= set(target.classes) else None
    if text not in target.classes:
        return None
    if target.kind is TargetKind.BINARY:
        return {target.column: text == target.positive}
    return {label: text == label for label in target.classes}
