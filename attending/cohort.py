"""Who is in which part: groups, splits and the protocol under which a procedure is judged.

Standard library and numpy only. It never sees evidence, only ids, groups, sites and what was recorded; parts are always whole
groups. Rules: evidence.md §3 "Protocol" of the design notes (four-way split only where it can carry an estimate, otherwise
repeated nested cross-validation).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

Part = Literal["train", "tune", "calibrate", "test"]
Kind = Literal["split", "cv", "site", "quick"]

FRACTIONS: Mapping[str, float] = {"train": 0.55, "tune": 0.10, "calibrate": 0.15, "test": 0.20}
PATIENTS_TO_CARRY_A_SPLIT = 100
"""Patients with, and as many without, every primary finding that test and calibrate must each hold (evidence.md §3)."""
SITE_WEIGHT = 0.2
"""How much an even spread of sites and strata counts against an even spread of the findings."""
DRAWS = 20
"""Assignments that are tried until every part holds what it must hold."""


class CohortError(ValueError):
    """The members cannot be parted as asked; the message says what can be done instead."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One case as a line in a list: no evidence. A finding missing from `truth` is unknown.

    `group` is the widest group (patient, family, article) and is never parted. `stratum` is anything else whose levels should
    be spread evenly. `Case` and `Chart` have the same first five fields.
    """

    id: str
    patient: str
    group: str
    truth: Mapping[str, bool] = field(default_factory=dict)
    site: str | None = None
    stratum: str = ""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Each id's part. Parts are whole groups."""

    parts: Mapping[str, Part]

    def ids(self, part: Part) -> tuple[str, ...]:
        """The ids of one part, in the order of the members."""
        return tuple(id for id, held in self.parts.items() if held == part)

    @property
    def hash(self) -> str:
        """SHA-256 of who is where; equal for equal assignments, whatever the order they were written in."""
        return _digest(sorted(self.parts.items()))


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One round: fit everything on `train`, predict `test`. They share no group."""

    repeat: int
    fold: int
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a procedure is judged, and why so (`reason`, in words for the report).

    `split` names all four parts under the kinds `split` and `quick` (whose single fold trains on everything but test); under
    `cv` and `site` it is None and tuning, calibration and thresholds are fitted inside each `Fold.train` (`nested_folds`).
    """

    kind: Kind
    folds: tuple[Fold, ...]
    repeats: int
    seed: int
    reason: str
    split: Split | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_exploratory(self) -> bool:
        """Nothing may be concluded: one quick split."""
        return self.kind == "quick"

    @property
    def hash(self) -> str:
        """SHA-256 of the whole assignment."""
        folds = [[fold.repeat, fold.fold, sorted(fold.train), sorted(fold.test)] for fold in self.folds]
        return _digest([self.kind, folds, None if self.split is None else self.split.hash])


def plan_protocol(
    members: Iterable[Member],
    *,
    kind: Literal["auto", "split", "cv", "site", "quick"] = "auto",
    folds: int = 5,
    repeats: int = 5,
    seed: int,
    primary: Sequence[str] | None = None,
) -> Protocol:
    """The protocol for these members; the same for the same seed and order, whatever ids and groups are called.

    `auto` takes one four-way split only where test and calibrate each hold ≥ 100 patients with and ≥ 100 without every
    primary finding, otherwise repeated cross-validation. `primary` names the findings that must be estimable (None: at least
    one of all). `site` leaves one site out at a time. Raises `CohortError` with what can be done instead.
    """
    kinds = ("auto", *get_args(Kind))
    if kind not in kinds:
        raise CohortError(f'unknown protocol "{kind}"; known: {", ".join(kinds)}')
    roll = _Roll(members)
    asked = roll.findings if primary is None else tuple(primary)
    strange = [finding for finding in asked if finding not in roll.findings]
    if strange:
        raise CohortError(f"primary findings {strange} are recorded for nobody; recorded are {list(roll.findings)}")
    if kind == "site":
        return _leave_sites_out(roll, seed)
    if kind in ("split", "quick"):
        return _one_split(roll, kind, seed, asked, is_named=primary is not None)
    if kind == "auto":
        weakest, carried = _carried(roll, asked, seed)
        if carried >= PATIENTS_TO_CARRY_A_SPLIT:
            return _one_split(roll, "split", seed, asked, is_named=primary is not None)
        reason = (
            f"cross-validation, because a four-way split would leave {carried} patients of the rarer class of "
            f'"{weakest}" in test or calibrate, and fewer than {PATIENTS_TO_CARRY_A_SPLIT} carry no estimate'
        )
    else:
        reason = "cross-validation, as asked"
    return _cross_validation(roll, folds, repeats, seed, asked=asked, is_named=primary is not None, reason=reason)


def split_members(members: Iterable[Member], fractions: Mapping[Part, float] = FRACTIONS, *, seed: int) -> Split:  # type: ignore[assignment]
    """Parts of about these fractions of the patients, stratified, groups whole. Fractions sum to 1."""
    if abs(sum(fractions.values()) - 1.0) > 1e-9 or min(fractions.values()) <= 0.0:
        raise CohortError(f"fractions are above 0 and sum to 1, found {dict(fractions)}")
    roll = _Roll(members)
    if roll.n_groups < len(fractions):
        raise CohortError(f"{roll.n_groups} groups cannot fill {len(fractions)} parts; groups are never parted")
    part = roll.assign(np.array(list(fractions.values())), np.random.default_rng([seed, 0]))
    names = tuple(fractions)
    return Split(parts={id: names[part[group]] for id, group in zip(roll.ids, roll.group_of, strict=True)})


def nested_folds(members: Iterable[Member], n: int, *, seed: int) -> tuple[Fold, ...]:
    """`n` stratified folds inside one training part, for tuning, calibration and thresholds. Groups stay whole.

    Raises `CohortError` when there are fewer groups than folds; a class that is too rare for the folds is spread as far as it
    goes, because what cannot be fitted inside is decided by the fit (under 10 events calibration is the identity).
    """
    roll = _Roll(members)
    if not 2 <= n <= roll.n_groups:
        raise CohortError(f"{n} inner folds of {roll.n_groups} groups: choose between 2 and the number of groups")
    part = roll.assign(np.full(n, 1.0 / n), np.random.default_rng([seed, 1]))
    return roll.folds(part, n, repeat=0)


def patient_weights(members: Iterable[Member]) -> Mapping[str, float]:
    """Id → 1 / (number of cases of its patient), so that every patient counts once."""
    listed = tuple(members)
    cases: dict[str, int] = {}
    for member in listed:
        cases[member.patient] = cases.get(member.patient, 0) + 1
    return {member.id: 1.0 / cases[member.patient] for member in listed}


class _Roll:
    """The members as arrays: ids as given, the group of each, and per group how many patients carry each label.

    Groups are numbered as they are met, never by name: ids are hashed with a key of the project, and two projects that hold
    the same table part it in the same way.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        self.members = tuple(members)
        if not self.members:
            raise CohortError("there is nobody to part: the list of members is empty")
        self.ids = tuple(member.id for member in self.members)
        twice = {id for id, count in Counter(self.ids).items() if count > 1}
        if twice:
            raise CohortError(f"{len(twice)} ids occur more than once, the first is {min(twice)!r}; an id names one case")
        index = {name: i for i, name in enumerate(dict.fromkeys(member.group for member in self.members))}
        self.n_groups = len(index)
        self.group_of = np.array([index[member.group] for member in self.members])
        home: dict[str, str] = {}
        for member in self.members:
            if home.setdefault(member.patient, member.group) != member.group:
                raise CohortError(
                    f"patient {member.patient!r} is in the groups {home[member.patient]!r} and {member.group!r}; "
                    "group by something wider than the patient, or by the patient"
                )
        self.group_of_patient = {patient: index[group] for patient, group in home.items()}
        self.findings = tuple(sorted({finding for member in self.members for finding in member.truth}))
        self.with_, self.without = self._count_patients()
        self.sizes = np.bincount(np.fromiter(self.group_of_patient.values(), int), minlength=self.n_groups).astype(float)
        self.other = self._count_levels()

    def _count_patients(self) -> tuple[np.ndarray, np.ndarray]:
        """Patients of each group with and without each finding (with: in any case; unknown: in neither)."""
        column = {finding: i for i, finding in enumerate(self.findings)}
        told: dict[tuple[str, int], bool] = {}
        for member in self.members:
            for finding, is_true in member.truth.items():
                key = (member.patient, column[finding])
                told[key] = told.get(key, False) or bool(is_true)
        with_ = np.zeros((self.n_groups, len(self.findings)))
        without = np.zeros_like(with_)
        for (patient, finding_index), is_true in told.items():
            (with_ if is_true else without)[self.group_of_patient[patient], finding_index] += 1.0
        return with_, without

    def _count_levels(self) -> np.ndarray:
        """Patients of each group per site and per stratum level."""
        levels: dict[tuple[str, str], int] = {}
        told: set[tuple[str, int]] = set()
        for member in self.members:
            for kind, level in (("site", member.site), ("stratum", member.stratum)):
                if level:
                    told.add((member.patient, levels.setdefault((kind, level), len(levels))))
        counts = np.zeros((self.n_groups, len(levels)))
        for patient, level_index in told:
            counts[self.group_of_patient[patient], level_index] += 1.0
        return counts

    def assign(self, fractions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Part of each group: greedy, rarest label first, each group to the part that lacks most of what it carries.

        Minimises the chi-square distance between the parts' label counts and their fair share (after Sechidis et al. 2011,
        with groups as the unit and all labels weighed at once).
        """
        labels = np.concatenate([self.with_, self.without, self.sizes[:, None], self.other], axis=1)
        told = 2 * len(self.findings) + 1
        totals = labels.sum(axis=0)
        fair = np.maximum(fractions[:, None] * totals[None, :], 1e-9)
        worth = np.where(np.arange(labels.shape[1]) < told, 1.0 / fair, SITE_WEIGHT / np.maximum(fair, 1.0))
        lacking = fair.copy()
        rarest = np.where(labels[:, : told - 1] > 0, totals[: told - 1], np.inf).min(axis=1, initial=np.inf)
        order = rng.permutation(self.n_groups)
        order = order[np.lexsort((-self.sizes[order], rarest[order]))]
        part = np.zeros(self.n_groups, dtype=int)
        jitter = rng.random((self.n_groups, len(fractions))) * 1e-9
        for group in order:
            carried = labels[group]
            cost = ((carried - 2.0 * lacking) * carried * worth).sum(axis=1)
            part[group] = chosen = int(np.argmin(cost + jitter[group]))
            lacking[chosen] -= carried
        return part

    def folds(self, part: np.ndarray, n: int, *, repeat: int) -> tuple[Fold, ...]:
        held = part[self.group_of]
        ids = np.array(self.ids, dtype=object)
        return tuple(Fold(repeat=repeat, fold=k, train=tuple(ids[held != k]), test=tuple(ids[held == k])) for k in range(n))

    def rarer_groups(self, finding: str) -> int:
        """Groups that hold the rarer class of a finding."""
        column = self.findings.index(finding)
        return int(min((self.with_[:, column] > 0).sum(), (self.without[:, column] > 0).sum()))


def _estimable(
    roll: _Roll, asked: Sequence[str], parts: int, *, is_named: bool, remedy: str
) -> tuple[list[str], tuple[str, ...]]:
    """Findings whose rarer class can be in every part, and a note on each other; raises when nothing or no primary is left."""
    enough = [finding for finding in asked if roll.rarer_groups(finding) >= parts]
    short = [finding for finding in asked if finding not in enough]
    if short and (is_named or not enough):
        worst = min(short, key=roll.rarer_groups)
        raise CohortError(
            f'"{worst}" has its rarer class in {roll.rarer_groups(worst)} groups, and {parts} parts need one each; {remedy}'
        )
    if not asked:
        raise CohortError("no finding is recorded for anybody; there is nothing to stratify by or to estimate")
    notes = tuple(
        f'"{finding}": rarer class in {roll.rarer_groups(finding)} groups, fewer than {parts} parts' for finding in short
    )
    return enough, notes


def _is_filled(roll: _Roll, part: np.ndarray, n: int, findings: Sequence[str]) -> bool:
    """Every part holds both classes of every one of these findings."""
    columns = [roll.findings.index(finding) for finding in findings]
    for counts in (roll.with_, roll.without):
        for k in range(n):
            if (counts[part == k][:, columns].sum(axis=0) == 0).any():
                return False
    return True


def _assign_filled(roll: _Roll, fractions: np.ndarray, findings: Sequence[str], key: Sequence[int]) -> np.ndarray:
    for draw in range(DRAWS):
        part = roll.assign(fractions, np.random.default_rng([*key, draw]))
        if _is_filled(roll, part, len(fractions), findings):
            return part
    raise CohortError(
        f"no assignment in {DRAWS} draws puts both classes of {list(findings)} into each of {len(fractions)} parts, because "
        "classes lie in few large groups; ask for fewer folds, or group by something narrower if it is still never parted"
    )


def _cross_validation(
    roll: _Roll, folds: int, repeats: int, seed: int, *, asked: Sequence[str], is_named: bool, reason: str
) -> Protocol:
    if folds < 2 or repeats < 1:
        raise CohortError(f"cross-validation needs at least 2 folds and 1 repeat, found {folds} folds and {repeats} repeats")
    most = max((roll.rarer_groups(finding) for finding in asked), default=0)
    remedy = (
        f"ask for at most {most} folds (--folds {most}), or merge the finding with a wider one"
        if most >= 2
        else "there are too few to estimate anything: collect more, or merge the finding with a wider one"
    )
    findings, notes = _estimable(roll, asked, folds, is_named=is_named, remedy=remedy)
    rounds: list[Fold] = []
    for repeat in range(repeats):
        part = _assign_filled(roll, np.full(folds, 1.0 / folds), findings, (seed, 2, repeat))
        rounds.extend(roll.folds(part, folds, repeat=repeat))
    how = f"{folds} folds × {repeats} repeats, stratified by {len(findings)} findings, groups whole"
    return Protocol(kind="cv", folds=tuple(rounds), repeats=repeats, seed=seed, reason=f"{reason}; {how}", notes=notes)


def _split_parts(roll: _Roll, findings: Sequence[str], seed: int) -> np.ndarray:
    return _assign_filled(roll, np.array(list(FRACTIONS.values())), findings, (seed, 3))


def _carried(roll: _Roll, asked: Sequence[str], seed: int) -> tuple[str, int]:
    """The primary finding that a four-way split carries worst, and its patients of the rarer class in test or calibrate."""
    worst = ("", 0)
    if not asked or min(roll.rarer_groups(finding) for finding in asked) < len(FRACTIONS):
        return min(((finding, 0) for finding in asked), key=lambda f: roll.rarer_groups(f[0]), default=worst)
    part = _split_parts(roll, asked, seed)
    held = []
    for finding in asked:
        column = roll.findings.index(finding)
        for name in ("calibrate", "test"):
            inside = part == list(FRACTIONS).index(name)
            held.append((int(min(roll.with_[inside, column].sum(), roll.without[inside, column].sum())), finding))
    fewest, finding = min(held)
    return finding, fewest


def _one_split(roll: _Roll, kind: str, seed: int, asked: Sequence[str], *, is_named: bool) -> Protocol:
    remedy = "use cross-validation (--protocol cv), which needs one per fold"
    findings, notes = _estimable(roll, asked, len(FRACTIONS), is_named=is_named, remedy=remedy)
    part = _split_parts(roll, findings, seed)
    names: tuple[Part, ...] = get_args(Part)
    split = Split(parts={id: names[part[group]] for id, group in zip(roll.ids, roll.group_of, strict=True)})
    test = split.ids("test")
    held = set(test)
    fold = Fold(repeat=0, fold=0, train=tuple(id for id in roll.ids if id not in held), test=test)
    shares = " / ".join(f"{name} {len(split.ids(name))}" for name in names)
    if kind == "quick":
        reason = f"exploratory: one quick split ({shares} cases); nothing may be concluded from it"
    else:
        reason = f"one four-way split by whole groups ({shares} cases); it describes this model, not the procedure"
    return Protocol(
        kind="quick" if kind == "quick" else "split",
        folds=(fold,),
        repeats=1,
        seed=seed,
        reason=reason,
        split=split,
        notes=notes,
    )


def _leave_sites_out(roll: _Roll, seed: int) -> Protocol:
    nowhere = sum(member.site is None for member in roll.members)
    sites = sorted({member.site for member in roll.members if member.site is not None})
    if nowhere:
        raise CohortError(f"{nowhere} cases have no site, so leaving a site out is undefined; state it, or use --protocol cv")
    if len(sites) < 2:
        raise CohortError(f"leaving one site out needs at least 2 sites, found {len(sites)}; use --protocol cv")
    folds = []
    apart = 0
    for k, site in enumerate(sites):
        away = {member.group for member in roll.members if member.site == site}
        # A group seen at the left-out site and elsewhere would tell the model about its own test cases: it sits this round out.
        train = tuple(member.id for member in roll.members if member.group not in away)
        test = tuple(member.id for member in roll.members if member.site == site)
        apart += len(roll.members) - len(train) - len(test)
        if not train:
            raise CohortError(f"every group has a case at site {site!r}, so nothing is left to train on; use --protocol cv")
        folds.append(Fold(repeat=0, fold=k, train=train, test=test))
    notes = (f"{apart} times a case sat a round out because its group was seen at the left-out site",) if apart else ()
    return Protocol(
        kind="site",
        folds=tuple(folds),
        repeats=1,
        seed=seed,
        reason=f"one of {len(sites)} sites left out at a time",
        notes=notes,
    )


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()
