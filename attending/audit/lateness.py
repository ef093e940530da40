"""T2: evidence that was known only after the question. What the schema dates is left out on reading, and counted here; what it
calls known although a time column beside it says otherwise is used, and blocks."""

from dataclasses import dataclass

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material
from attending.records import names
from attending.records.column import AT_QUESTION, UNRECORDED_TIME, Column
from attending.records.times import hours_of, time_unit

_REASON = "later than the question"
_MOST_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class LatenessCheck(Check):
    """Counts late values that were left out, finds those that were not, and names what has no time."""

    name: str = "lateness"
    traps: tuple[str, ...] = ("T2",)

    def look(self, material: Material) -> tuple[Finding, ...]:
        """Late values in use, late values left out, and inputs of which nobody knows when they were known."""
        found = (self._used(material), self._left_out(material), self._undated(material))
        return tuple(one for one in found if one is not None)

    def _used(self, material: Material) -> Finding | None:
        late = {}
        for column in material.schema.inputs:
            if column.time not in (AT_QUESTION, UNRECORDED_TIME, None):
                continue
            for time in _times_beside(material, column):
                cases = _late_cases(material, column, time)
                if cases:
                    late[column.name, time] = cases
        if not late:
            return None
        told = "; ".join(f'"{name}": {len(cases)} values later by "{time}"' for (name, time), cases in late.items())
        return Finding(
            trap="T2",
            check=self.name,
            severity=Severity.BLOCK,
            told="values later than the question are inputs, because the schema does not use the time column beside them",
            evidence=told,
            effect="the model sees what was not known when the question is asked, so that results are too good",
            remedy=f'in the schema file name the time of the column: time = "{next(iter(late))[1]}", '
            f"or leave it out (--ignore {','.join(dict.fromkeys(name for name, _ in late))})",
            columns=tuple(dict.fromkeys(name for name, _ in late)),
            rows=tuple(dict.fromkeys(material.ids[case] for cases in late.values() for case in cases)),
        )

    def _left_out(self, material: Material) -> Finding | None:
        counts = {name: tally.late for name, tally in material.records.counts.items() if tally.late}
        counts |= {f"--{kind}": tally.late for kind, tally in material.records.companions.items() if tally.late}
        if not counts:
            return None
        named = ",".join(name for name in counts if not name.startswith("--")) or "a,b"
        held = [(chart.id, absence.name) for chart in material.charts for absence in chart.absent if absence.reason == _REASON]
        return Finding(
            trap="T2",
            check=self.name,
            severity=Severity.WARN,
            told=f"values of {', '.join(counts)} were taken after the question and are left out",
            evidence="; ".join(f'"{name}": {n} values after the question' for name, n in counts.items()),
            effect="left out on reading; another program would use them. Who has values only afterwards may itself tell",
            remedy=f"nothing for this run; to leave the columns out: --ignore {named}",
            columns=tuple(name for name in counts if not name.startswith("--")),
            rows=tuple(dict.fromkeys(str(id) for id, _ in held)),
        )

    def _undated(self, material: Material) -> Finding | None:
        columns = tuple(column.name for column in material.schema.inputs if column.time in (None, UNRECORDED_TIME))
        if not columns:
            return None
        return Finding(
            trap="T2",
            check=self.name,
            severity=Severity.NOTE,
            told="nobody declared when the values of some inputs were known; they are taken as known at the question",
            evidence=f"{len(columns)} inputs without a time: {', '.join(columns[:_MOST_NAMED])}"
            + (f" and {len(columns) - _MOST_NAMED} more" if len(columns) > _MOST_NAMED else ""),
            effect="values from after the question cannot be told from earlier ones",
            remedy=f'in the schema file name the time column, or declare time = "{AT_QUESTION}"; --strict insists',
            columns=columns,
        )


def _times_beside(material: Material, column: Column) -> tuple[str, ...]:
    present = {name.lower(): name for name in material.table.frame.columns}
    endings = (f"{column.name}_{ending}".lower() for ending in names.TIME_ENDINGS)
    return tuple(present[name] for name in endings if name in present)


def _late_cases(material: Material, column: Column, time: str) -> list[int]:
    cells = material.cells(time)
    unit = time_unit(time, [cell for cell in cells if cell is not None])
    if unit is None:
        return []
    late = []
    for case, (value, cell) in enumerate(zip(material.cells(column.name), cells, strict=True)):
        hours = hours_of(cell, unit=unit, asked_at=material.charts[case].asked_at, column=time)
        if value is not None and not isinstance(hours, str) and hours > 0.0:
            late.append(case)
    return late
