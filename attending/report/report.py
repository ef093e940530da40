"""What a report is made of: the evidence gathered by every other room, as one frozen noun. Nothing is computed here.

Counts and names only: no patient's text, film or id has a place in these nouns. What counts under 5 may leave the house is
decided in `sharing.py`, what is said about it in `words.py`, and how it looks in `templates/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from attending.evaluation import Result
from attending.evaluation.curve import CalibrationCurve, DecisionCurve, RiskCoverage, RiskDistribution
from attending.report.characteristics import Characteristics

UNSTATED = "unstated"
LEFT_OUT, JOINED, UNLABELLED = "left out", "joined", "unlabelled"
"""Where records leave the flow although nothing is wrong with them."""


class ReportError(ValueError):
    """A report cannot be written from what was gathered; the message says what is lacking."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked, of whom, and when. Each part is words; "unstated" is printed as such, never left out.

    `target` is the target as recorded, such as `diagnosis = "appendicitis"`. `sampling` is cohort, case-control,
    convenience or unstated. `decision_range` are the declared ends of the decision curve; None: nobody declared any.
    """

    target: str
    population: str = UNSTATED
    unit: str = "one row per case"
    prediction_time: str = UNSTATED
    reference_standard: str = UNSTATED
    sampling: str = UNSTATED
    decision_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Events:
    """How often one finding is recorded: `known` cases, `events` among them with the finding (None: may not be told)."""

    finding: str
    known: int
    events: int | None


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Records that were not used, and why; `what` says what is counted (rows, cases, images, values). `step` is where they
    leave the flow: `LEFT_OUT`, `JOINED` or `UNLABELLED`; "" for rows refused and for what leaves nothing.
    """

    reason: str
    count: int
    what: str = "rows"
    step: str = ""


@dataclass(frozen=True, kw_only=True)
class Held:
    """How many cases hold a kind of evidence (None: the number, or that of the others, may not be told)."""

    kind: str
    cases: int | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a split and what is recorded in it."""

    name: str
    cases: int
    patients: int
    findings: tuple[Events, ...]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """`n` rounds of training and testing, over `repeats`. The fewest and the most cases that one of them trains on and judges,
    and the fewest and most events among the judged, by finding (None: may not be told).
    """

    n: int
    repeats: int
    trained: tuple[int, int]
    judged: tuple[int, int]
    events: Mapping[str, tuple[int | None, int | None]]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """From the table to the analysis: rows read, cases and patients used, findings, and what was refused.

    `rows` and `patients` are None where nobody can know them: a predictions file tells of cases and groups only. `parts` are
    those of one split, `rounds` those of cross-validation or of sites left out; without either nothing was trained.
    """

    rows: int | None
    cases: int
    patients: int | None
    groups: int
    findings: tuple[Events, ...]
    refused: tuple[Refusal, ...] = ()
    reported: tuple[Refusal, ...] = ()
    held: tuple[Held, ...] = ()
    parts: tuple[Part, ...] = ()
    rounds: Rounds | None = None

    @property
    def rows_refused(self) -> int:
        """Rows that were not used."""
        return sum(refusal.count for refusal in self.refused if refusal.what == "rows")

    @property
    def rows_left_out(self) -> int:
        """Rows that a condition left out."""
        return self._leaving(LEFT_OUT)

    @property
    def rows_joined(self) -> int:
        """Rows that are part of a case that another row began."""
        return self._leaving(JOINED)

    @property
    def cases_unlabelled(self) -> int:
        """Cases of which no finding is known: they took no part."""
        return self._leaving(UNLABELLED)

    @property
    def rows_unaccounted(self) -> int:
        """Rows of which nothing says where they went: 0 unless somebody miscounted."""
        told = self.rows_refused + self.rows_left_out + self.rows_joined + self.cases_unlabelled + self.cases
        return 0 if self.rows is None else self.rows - told

    def _leaving(self, step: str) -> int:
        return sum(refusal.count for refusal in self.reported if refusal.step == step)


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """One check: what it found, in words; `level` is blocks, warns or notes."""

    check: str
    level: str
    told: str


@dataclass(frozen=True, kw_only=True)
class AuditShortcut:
    """AUROC that a model of one input alone reaches for one finding, with its adjusted interval.

    `n_asked`: for how many findings the input was asked, where it ranks this one most surely; 0 for the others.
    """

    check: str
    input: str
    finding: str
    auroc: float
    low: float
    high: float
    is_alarm: bool
    n_asked: int = 0


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What the audit said. `verdict` None: no audit was run. `waivers` map a check to the reason why it was waived. `shortcuts`
    are what circumstances alone reach, the surest of each input first.
    """

    verdict: str | None = None
    findings: tuple[AuditFinding, ...] = ()
    waivers: Mapping[str, str] = field(default_factory=dict)
    shortcuts: tuple[AuditShortcut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How the procedure was judged, and how often outer results were opened (`openings`; None: unknown).

    `kind` is split, cv, site or quick; `evaluation` of a finished model on a further table; or `foreign`: a predictions file,
    of which nothing else is known. The last two have no `folds` (0) and no `hash` of who is where.
    """

    kind: str
    reason: str
    seed: int
    folds: int = 0
    repeats: int = 1
    openings: int | None = None
    hash: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The one comparison declared beforehand. `chosen` says in words how the comparator was chosen."""

    model: str = "fused"
    comparator: str | None = None
    finding: str | None = None
    metric: str = "auroc"
    chosen: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """The curves of one finding. `risk` and `calibration` are those of the primary model; `before` is its calibration before
    recalibration, None where nothing was recalibrated. `coverage` is by model, the primary first; empty where cases are few.
    """

    finding: str
    calibration: CalibrationCurve
    risk: RiskDistribution
    decision: DecisionCurve | None = None
    before: CalibrationCurve | None = None
    coverage: Mapping[str, RiskCoverage] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ColumnRow:
    """One column of the schema: its role, why it has it, its unit and whether its being missing may be seen."""

    name: str
    role: str
    why: str = ""
    unit: str = ""
    is_visible: bool = False


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Cases that hold exactly these kinds of evidence; `events` is for the primary finding, among `known`."""

    present: tuple[str, ...]
    n: int
    known: int
    events: int


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """What de-identification did, in counts (None: may not be told), and what it cannot find."""

    identity_columns: tuple[str, ...]
    counts: Mapping[str, int | None]
    promises: Mapping[str, str]
    not_found: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Everything a report shows. `warning` is a headline such as "shows confounding, not performance".

    `cautions` are sentences that a person declared for the first screen; what may not be concluded follows from the figures
    and stands beside them. `labels` map a model's name to what readers are told; known names need none. `kinds` are the
    kinds of evidence that patterns speak of.
    """

    title: str
    question: Question
    flow: Flow
    conduct: Conduct
    results: tuple[Result, ...]
    primary: Primary = field(default_factory=Primary)
    audit: Audit = field(default_factory=Audit)
    curves: tuple[Curves, ...] = ()
    columns: tuple[ColumnRow, ...] = ()
    kinds: tuple[str, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    characteristics: tuple[Characteristics, ...] = ()
    privacy: Privacy | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    undeclared: tuple[str, ...] = ()
    warning: str = ""
    cautions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.results:
            raise ReportError("a report needs results; judge the predictions first")
        if not self.flow.findings:
            raise ReportError("a report needs at least one finding with its counts")

    @property
    def finding(self) -> str:
        """The finding of the first screen: the primary one, else the only one, else the macro average where there is one."""
        if self.primary.finding is not None:
            return self.primary.finding
        names = [one.finding for one in self.flow.findings]
        has_macro = any(row.finding == "macro" for row in self.results)
        return "macro" if len(names) > 1 and has_macro else names[0]
