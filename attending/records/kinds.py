"""The kind of evidence that a column's name and cells suggest: age, sex, image, note, number, sign, embedding or nothing.

Asked by `infer` after structure and outcomes are placed, so everything here is a candidate input.
"""

import json
from collections import Counter
from dataclasses import dataclass

from attending.records import names, units
from attending.records.column import AT_QUESTION, UNSTATED, Role, ValueRules
from attending.records.values import Reading, decimal_mark, read_number

PLAIN = ValueRules()
MOST_LEVELS = 20
FEWEST_PER_LEVEL = 5
"""A category with fewer rows than this on average is free text in disguise, and rare words identify people."""
_ORDERS = (
    ("no", "+", "++", "+++", "++++"), ("-", "+", "++", "+++", "++++"), ("none", "mild", "moderate", "severe"),
    ("low", "normal", "high"), ("no", "yes"), ("n", "y"), ("false", "true"), ("negative", "positive"), ("absent", "present"),
    ("no", "suspected", "yes"), ("never", "former", "current"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A suggestion: the role, the reason, and what reading the column needs."""

    role: Role
    why: str
    code: str | None = None
    unit: str | None = None
    levels: tuple[str, ...] = ()
    rules: ValueRules = PLAIN
    separator: str | None = None
    time: str | None = None


def find_kind(name: str, cells: list[str], *, n_rows: int, place: str) -> Evidence:
    """What a column with these filled, known cells is. `place` names file and column for errors."""
    key = "_".join(names.words(name))
    n_values = len(set(cells))
    if key in names.AGE and _is_numeric(cells):
        unit, said = {"months": ("mo", "months"), "days": ("d", "days")}.get(key.rsplit("_", 1)[-1], ("a", "years"))
        return Evidence(
            role=Role.AGE, why=f"its name says age, in {said}", unit=unit, time=AT_QUESTION, rules=_rules(cells, place)
        )
    if key in names.SEX and n_values <= 6:
        return Evidence(role=Role.SEX, why="its name says sex", levels=_ordered(set(cells)), time=AT_QUESTION)
    if is_image(cells):
        separator = ";" if any(";" in cell for cell in cells) else None
        return Evidence(role=Role.IMAGE, why=f"{len(cells)} cells are paths of pictures", separator=separator)
    if _is_embedding(name, cells):
        return Evidence(role=Role.EMBEDDING, why="cells are lists of numbers of one length")
    return _text_or_number(name, cells, n_rows=n_rows, place=place)


def _text_or_number(  # noqa: PLR0911 -- one return per kind
    name: str, cells: list[str], *, n_rows: int, place: str
) -> Evidence:
    n_values = len(set(cells))
    n_words = sum(len(cell.split()) for cell in cells) / max(1, len(cells))
    filled = f"{len(cells)} of {n_rows} rows filled"
    if names.has_word(name, names.NOTE) and n_words >= 2:
        return Evidence(role=Role.NOTE, why=f"its name says free text, {n_words:.0f} words on average; {filled}")
    numeric = _numeric_share(cells)
    code, unit = units.from_column_name(name)
    if numeric >= 0.9 and (n_values > 2 or unit is not None):
        said = f'unit "{unit}" from its name' if unit else f"unit {UNSTATED}"
        rest = f", {100 * (1 - numeric):.0f} % of cells are not numbers" if numeric < 1 else ""
        rules = _rules(cells, place)
        marked = " with decimal commas" if rules.decimal == "comma" else ""
        return Evidence(
            role=Role.NUMBER,
            why=f"numbers{marked}, {said}{rest}; {filled}",
            code=code if unit else None,
            unit=unit or UNSTATED,
            rules=rules,
        )
    if 2 <= n_values <= MOST_LEVELS and (n_values <= 3 or len(cells) >= FEWEST_PER_LEVEL * n_values):
        return Evidence(role=Role.SIGN, why=f"{n_values} levels; {filled}", levels=_ordered(set(cells)))
    if n_values == 1:
        return Evidence(role=Role.IGNORED, why=f"one value only, {filled}: it would say nothing but that it is filled")
    if n_words >= 5:
        return Evidence(role=Role.NOTE, why=f"free text, {n_words:.0f} words on average; {filled}")
    if len(cells) < FEWEST_PER_LEVEL * n_values and len(cells) < FEWEST_PER_LEVEL * MOST_LEVELS and numeric < 0.9:
        return Evidence(
            role=Role.IGNORED, why=f"{n_values} different values in {len(cells)} filled rows: too few to learn a level from"
        )
    return Evidence(
        role=Role.IGNORED, why=f"{n_values} different values in {len(cells)} filled rows: neither numbers, levels nor prose"
    )


def _is_numeric(cells: list[str]) -> bool:
    return _numeric_share(cells) >= 0.9


def _numeric_share(cells: list[str]) -> float:
    if not cells:
        return 0.0
    counts = Counter(cells)
    point, comma = ValueRules(), ValueRules(decimal="comma")
    limits = ("inf", "infinity", "∞")
    readable = sum(
        count
        for cell, count in counts.items()
        if read_number(cell, point).reading is not Reading.REFUSED
        or read_number(cell, comma).reading is not Reading.REFUSED
        or cell.strip("+- ").lower() in limits
    )
    return readable / len(cells)


def _rules(cells: list[str], place: str) -> ValueRules:
    """The decimal mark, and the largest and smallest readable value where `inf` stands for beyond them."""
    plain = ValueRules(decimal=decimal_mark(cells, place=place))
    infinite = {cell.strip().lower() for cell in cells if cell.strip("+- ").lower() in ("inf", "infinity", "∞")}
    if not infinite:
        return plain
    seen = [number.value for number in (read_number(cell, plain) for cell in set(cells)) if number.reading is Reading.READ]
    is_low, is_high = any(cell[0] == "-" for cell in infinite), any(cell[0] != "-" for cell in infinite)
    return ValueRules(
        decimal=plain.decimal,
        detection_low=min(seen) if seen and is_low else None,
        detection_high=max(seen) if seen and is_high else None,
    )


def is_image(cells: list[str]) -> bool:
    """Whether the cells are paths of pictures, one or several separated by semicolons."""
    paths = [path for cell in cells for path in cell.split(";")]
    return bool(paths) and sum(path.strip().lower().endswith(names.IMAGE_ENDINGS) for path in paths) >= 0.9 * len(paths)


def _is_embedding(name: str, cells: list[str]) -> bool:
    lengths = {len(read_vector(cell) or ()) for cell in cells[:50]}
    least = 2 if names.has_word(name, names.EMBEDDING) else 16
    return len(lengths) == 1 and lengths.pop() >= least


def read_vector(cell: str) -> list[float] | None:
    """The numbers of a JSON list or of a list with semicolons, or None."""
    text = cell.strip()
    try:
        values = json.loads(text) if text.startswith("[") else [float(part) for part in text.split(";")]
        return [float(value) for value in values]
    except (ValueError, TypeError):
        return None


def _ordered(levels: set[str]) -> tuple[str, ...]:
    """Levels in their clinical order where it is known, else by alphabet."""
    for order in _ORDERS:
        if {level.lower() for level in levels} <= set(order):
            return tuple(sorted(levels, key=lambda level: order.index(level.lower())))
    return tuple(sorted(levels))
