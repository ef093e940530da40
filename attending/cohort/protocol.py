"""The protocol under which a procedure is judged: one split, cross-validation, one site left out; and the folds inside of them.

Standard library and numpy only. Parts are always whole groups. Rules: evidence.md §3 "Protocol" of the design notes (four-way
split only where it can carry an estimate, otherwise repeated nested cross-validation).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from attending.cohort.parts import CohortError, Fold, Kind, Member, Part, Protocol, Split
from attending.cohort.roll import Roll, assign_filled

FRACTIONS: Mapping[str, float] = {"train": 0.55, "tune": 0.10, "calibrate": 0.15, "test": 0.20}
PATIENTS_TO_CARRY_A_SPLIT = 100
"""Patients with, and as many without, every primary finding that test and calibrate must each hold (evidence.md §3)."""
FEWEST_TOLD = 5
"""Counts of patients under this stand in no words that a report passes on (evidence.md §3, "Sharing")."""


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
    roll = Roll(members)
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
            f"cross-validation, because a four-way split would leave {_told(carried)} patients of the rarer class of "
            f'"{weakest}" in test or calibrate, and fewer than {PATIENTS_TO_CARRY_A_SPLIT} carry no estimate'
        )
    else:
        reason = "cross-validation, as asked"
    return _cross_validation(roll, folds, repeats, seed, asked=asked, is_named=primary is not None, reason=reason)


def split_members(members: Iterable[Member], fractions: Mapping[Part, float] = FRACTIONS, *, seed: int) -> Split:  # type: ignore[assignment]
    """Parts of about these fractions of the patients, stratified, groups whole. Fractions sum to 1."""
    if abs(sum(fractions.values()) - 1.0) > 1e-9 or min(fractions.values()) <= 0.0:
        raise CohortError(f"fractions are above 0 and sum to 1, found {dict(fractions)}")
    roll = Roll(members)
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
    roll = Roll(members)
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


def _estimable(
    roll: Roll, asked: Sequence[str], parts: int, *, is_named: bool, remedy: str
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
    notes = tuple(f'"{finding}": rarer class in fewer groups than the {parts} parts' for finding in short)
    return enough, notes


def _told(n: int) -> str:
    """A count of patients as words that are passed on may tell it."""
    return str(n) if n >= FEWEST_TOLD else f"fewer than {FEWEST_TOLD}"


def _cross_validation(
    roll: Roll, folds: int, repeats: int, seed: int, *, asked: Sequence[str], is_named: bool, reason: str
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
        part = assign_filled(roll, np.full(folds, 1.0 / folds), findings, (seed, 2, repeat))
        rounds.extend(roll.folds(part, folds, repeat=repeat))
    how = f"{folds} folds × {repeats} repeats, stratified by {len(findings)} findings, groups whole"
    return Protocol(kind="cv", folds=tuple(rounds), repeats=repeats, seed=seed, reason=f"{reason}; {how}", notes=notes)


def _split_parts(roll: Roll, findings: Sequence[str], seed: int) -> np.ndarray:
    return assign_filled(roll, np.array(list(FRACTIONS.values())), findings, (seed, 3))


def _carried(roll: Roll, asked: Sequence[str], seed: int) -> tuple[str, int]:
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


def _one_split(roll: Roll, kind: str, seed: int, asked: Sequence[str], *, is_named: bool) -> Protocol:
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


def _leave_sites_out(roll: Roll, seed: int) -> Protocol:
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
