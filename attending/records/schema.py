"""What is declared about a table and the study on it: its columns, targets, companions, thresholds and the rest of the design.

Only nouns: inference makes a schema (`infer`), a TOML file keeps it (`schema_file`), `charts` reads a table by it. What one
column means stands in `column`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from attending.records.column import AT_QUESTION, INPUTS, UNRECORDED_TIME, UNSTATED, Column, Role, ValueRules
from attending.records.error import SchemaError, did_you_mean
from attending.records.units import UnitError, measure

EACH_ROW = "each row"
"""Declared instead of a patient column: every row is a different person."""


class TargetKind(Enum):
    """How a target column becomes findings."""

    BINARY = "binary"  # one finding, named after the column
    CLASSES = "classes"  # one finding per class, exactly one true
    LIST = "list"  # cells are lists of labels, each a finding


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target column. `classes` are its known values; `positive` is the one that makes a binary finding true."""

    column: str
    kind: TargetKind
    classes: tuple[str, ...]
    positive: str | None = None
    separator: str = ";"

    def __post_init__(self) -> None:
        if self.kind is TargetKind.BINARY and self.positive not in self.classes:
            hint = did_you_mean(str(self.positive), self.classes)
            raise SchemaError(
                f'target "{self.column}": no value "{self.positive}" (its positive value) among its {len(self.classes)}.{hint}'
            )
        if len(self.classes) < (1 if self.kind is TargetKind.LIST else 2):
            raise SchemaError(
                f'target "{self.column}" has {len(self.classes)} class, expected at least two; '
                "choose another target or another --where"
            )

    @property
    def findings(self) -> tuple[str, ...]:
        return (self.column,) if self.kind is TargetKind.BINARY else self.classes


class Sampling(Enum):
    """How patients came into the table; unless COHORT, predictive values and absolute calibration do not transfer."""

    COHORT = "cohort"
    CASE_CONTROL = "case-control"
    CONVENIENCE = "convenience"
    UNSTATED = UNSTATED


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Rule by which a decision threshold is chosen: a sensitivity or specificity to reach, a risk, or harm : benefit."""

    rule: str
    value: float

    def __post_init__(self) -> None:
        if self.rule not in ("sensitivity", "specificity", "risk", "harm_benefit"):
            raise SchemaError(
                f'threshold rule "{self.rule}": expected sensitivity, specificity, risk or harm_benefit.'
                + did_you_mean(self.rule, ("sensitivity", "specificity", "risk", "harm_benefit"))
            )
        if not (0.0 < self.value < 1.0 or (self.rule == "harm_benefit" and self.value > 0.0)):
            raise SchemaError(f"threshold {self.rule} = {self.value:g}: expected a number between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The one comparison declared before outer results are opened; `against` is a baseline's name or "best baseline"."""

    finding: str
    metric: str = "auroc"
    against: str = "best baseline"


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A long-format file beside the table: one value, note or image a row.

    `kind` is labs, notes or images. `id` is a column that the table has too (row, case, visit or patient); `value` holds the
    number, text or path; the others name columns where there are any. `time_unit` is "datetime", "h" or "d". `units` is
    the unit in which each code's values are held.
    """

    kind: str
    id: str
    value: str
    code: str | None = None
    unit: str | None = None
    time: str | None = None
    time_unit: str | None = None
    low: str | None = None
    high: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    rules: ValueRules = field(default_factory=ValueRules)

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", MappingProxyType(dict(self.units)))
        if self.kind == "labs" and self.code is None:
            raise SchemaError('companion "labs": names no column for the code; expected code = "COLUMN"')
        if self.time is not None and self.time_unit is None:
            raise SchemaError(f'companion "{self.kind}": a time without time_unit; write "datetime", "h" or "d"')
        if self.kind not in ("labs", "notes", "images"):
            raise SchemaError(f'companion "{self.kind}": expected labs, notes or images')


@dataclass(frozen=True, kw_only=True)
class Schema:
    """All that is declared about a table. The schema wins over inference.

    `waivers` map a trap or check to the reason why it does not apply. `target_prevalence` maps findings to the prevalence
    where the model is to be used. `decision_range` are the lowest and the highest risk at which anybody would act: the ends of
    the decision curve. `patient_rows` is `EACH_ROW` where a person declared that no patient has two rows.
    `warning` heads the report, such as "shows confounding, not performance"; `cautions` are sentences for its first screen,
    such as "label partly composed of inputs; differential verification". `masks_label_words` takes words that name a finding
    out of all notes on reading, in training and in use.
    """

    columns: tuple[Column, ...]
    targets: tuple[Target, ...] = ()
    population: str = UNSTATED
    prediction_time: str = UNSTATED
    reference_standard: str = UNSTATED
    sampling: Sampling = Sampling.UNSTATED
    warning: str = ""
    cautions: tuple[str, ...] = ()
    target_prevalence: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    decision_range: tuple[float, float] | None = None
    primary: Primary | None = None
    waivers: Mapping[str, str] = field(default_factory=dict)
    companions: tuple[Companion, ...] = ()
    look_back_hours: float | None = None
    patient_rows: str | None = None
    masks_label_words: bool = False

    def __post_init__(self) -> None:
        for name in ("target_prevalence", "thresholds", "waivers"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if self.decision_range is not None and not 0.0 < self.decision_range[0] < self.decision_range[1] < 1.0:
            raise SchemaError(
                f"schema: decision_range = {list(self.decision_range)}, expected two risks between 0 and 1, the lower first"
            )
        if any(not caution.strip() for caution in self.cautions):
            raise SchemaError("schema: cautions holds an empty text; say in a sentence what readers must know, or take it out")
        names = [column.name for column in self.columns]
        doubled = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
        if doubled:
            raise SchemaError(f"schema: columns declared twice: {', '.join(sorted(doubled))}")
        for role in (Role.ID, Role.CASE, Role.PATIENT, Role.VISIT, Role.SITE, Role.ASKED_AT, Role.AGE, Role.SEX):
            found = [column.name for column in self.of(role)]
            if len(found) > 1:
                raise SchemaError(
                    f'schema: the role "{role.value}" is held by {", ".join(found)}; expected one column, ignore the others'
                )
        if not self.of(Role.PATIENT) and self.patient_rows != EACH_ROW:
            raise SchemaError(
                "schema: no column has the role patient, so visits of one person could part; name the patient column, "
                f'or declare patient_rows = "{EACH_ROW}"'
            )
        repeated = [finding for finding in self.findings if self.findings.count(finding) > 1]
        if repeated:
            raise SchemaError(
                f'schema: the finding "{repeated[0]}" comes from two targets; rename one of the columns or values'
            )
        self._check_units()
        self._check_references(set(names))
        self._check_findings()

    def _check_units(self) -> None:
        """A unit that nobody can read is as good as none: it is refused here rather than at the first value beside it."""
        declared = [
            (f'column "{column.name}"', column.unit) for column in self.columns if column.role in (Role.NUMBER, Role.AGE)
        ]
        declared += [
            (f'companion "{each.kind}", code "{code}"', unit) for each in self.companions for code, unit in each.units.items()
        ]
        for place, unit in declared:
            if unit in (None, UNSTATED):
                continue
            try:
                measure(str(unit))
            except UnitError as error:
                raise SchemaError(
                    f'schema: {place}: {error} Write "1" for a pure number, "{{points}}" for a count of something, '
                    f'or "{UNSTATED}"'
                ) from None

    def _check_findings(self) -> None:
        """What is declared of findings is declared of findings that exist."""
        declared = [(key, finding) for key in ("thresholds", "target_prevalence") for finding in getattr(self, key)]
        declared += [("primary", self.primary.finding)] if self.primary is not None and self.primary.finding != "macro" else []
        for key, finding in declared:
            if self.targets and finding not in self.findings:
                hint = did_you_mean(finding, self.findings)
                raise SchemaError(f'schema: {key} names the finding "{finding}", expected one of {self.findings}.{hint}')

    def _check_references(self, names: set[str]) -> None:
        for column in self.columns:
            for key, other in (("time", column.time), ("unit_column", column.unit_column)):
                if other in (None, AT_QUESTION, UNRECORDED_TIME) or other in names:
                    continue
                raise SchemaError(
                    f'schema: {key} of column "{column.name}" is "{other}", expected a column, '
                    f'"{AT_QUESTION}" or "{UNRECORDED_TIME}".{did_you_mean(str(other), names)}'
                )
        for target in self.targets:
            if target.column not in names or self.column(target.column).role is not Role.TARGET:
                raise SchemaError(f'schema: target "{target.column}" needs a column with the role target')
        seen: dict[str, str] = {}
        parts = {column.name for columns in self.parts.values() for column in columns}
        for column in self.inputs:
            clash = seen.setdefault(column.field_name, column.name)
            if clash != column.name and not {clash, column.name} <= parts:
                raise SchemaError(
                    f'schema: columns "{clash}" and "{column.name}" both give evidence named "{column.field_name}"; '
                    "give one a code of its own"
                )

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of all findings, in the order of the targets."""
        return tuple(finding for target in self.targets for finding in target.findings)

    @property
    def exclusive(self) -> bool:
        """Whether exactly one finding is true of every case."""
        return len(self.targets) == 1 and self.targets[0].kind is TargetKind.CLASSES

    @property
    def inputs(self) -> tuple[Column, ...]:
        """Columns that become evidence."""
        return tuple(column for column in self.columns if column.role in INPUTS)

    @property
    def parts(self) -> Mapping[str, tuple[Column, ...]]:
        """Embeddings that lie in several columns, a number each: field name → its columns in order."""
        held: dict[str, list[Column]] = {}
        for column in self.of(Role.EMBEDDING):
            held.setdefault(column.field_name, []).append(column)
        return {name: tuple(columns) for name, columns in held.items() if len(columns) > 1}

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns as a person reads them: those of one embedding as one, named `emb_0 … emb_383`."""
        last = {columns[0].name: columns[-1].name for columns in self.parts.values()}
        inner = {column.name for columns in self.parts.values() for column in columns[1:]}
        return tuple(
            replace(column, name=f"{column.name} … {last[column.name]}") if column.name in last else column
            for column in self.columns
            if column.name not in inner
        )

    def named(self, name: str) -> tuple[str, ...]:
        """The columns that a person means by a name: those of an embedding, or the one column."""
        parts = self.parts.get(name, ())
        return tuple(column.name for column in parts) if parts else (self.column(name).name,)

    @property
    def visible(self) -> frozenset[str]:
        """Field names whose missingness a person declared visible to the model."""
        return frozenset(column.field_name for column in self.inputs if column.is_missingness_visible)

    def of(self, role: Role) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role is role)

    def one(self, role: Role) -> Column | None:
        """The column with a role that at most one may hold."""
        return next(iter(self.of(role)), None)

    def column(self, name: str) -> Column:
        found = next((column for column in self.columns if column.name == name), None)
        if found is None:
            raise SchemaError(f'schema: no column "{name}".{did_you_mean(name, (c.name for c in self.columns))}')
        return found

    def undeclared(self) -> tuple[str, ...]:
        """What nobody declared, one sentence each: units and times of inputs. An error under strict; the audit repeats it."""
        sentences = []
        for column in self.shown:
            if column.role not in INPUTS:
                continue
            if column.role is Role.NUMBER and column.unit in (None, UNSTATED):
                sentences.append(f'column "{column.name}": unit unstated')
            if column.time in (None, UNRECORDED_TIME):
                sentences.append(f'column "{column.name}": time {UNRECORDED_TIME}')
        for companion in self.companions:
            if companion.time is None:
                sentences.append(f'companion "{companion.kind}": time {UNRECORDED_TIME}')
            if companion.kind == "labs" and companion.unit is None and not companion.units:
                sentences.append('companion "labs": unit unstated')
        return tuple(sentences)
