"""What the pages of cases show: estimates, what each modality adds, what would be if, and the list. Data only, no HTTP.

Where the model abstains there are no numbers, as in the API: a number that nobody should use is not shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from attending.case import kind_name
from attending.drawing.contributions import signed
from attending.explanation.drawn import NAMES
from attending.explanation.neighbours import Neighbour
from attending.explanation.truth import Examined, Score
from attending.model.trained import TrainedModel
from attending.reading_room.asking import Weighed
from attending.reading_room.change import Changed
from attending.reading_room.drawings import bar
from attending.reading_room.evidence import TOLD, EvidenceView
from attending.reading_room.forms import Fields
from attending.reading_room.listing import Row
from attending.reading_room.words import SPREAD, percent, set_told
from attending.service.worker import Answered


@dataclass(frozen=True, kw_only=True)
class EstimateView:
    """One finding's estimate in words. `tenths` is its length as a bar, from 0 to 1000."""

    finding: str
    told: str
    per_mille: int
    in_set: str
    spread: str = ""


@dataclass(frozen=True, kw_only=True)
class AnswerView:
    """The model's answer for a case: estimates, or why there are none."""

    estimates: tuple[EstimateView, ...]
    abstained: str | None
    guarantee: str | None


@dataclass(frozen=True, kw_only=True)
class RowView:
    """A row of the list. `answer` None: the case is being read."""

    id: str
    number: int
    there: tuple[tuple[str, bool], ...]
    answer: AnswerView | None


@dataclass(frozen=True, kw_only=True)
class SharesView:
    """What each modality adds to one finding: name, bar (None: it is missing) and number; `sums` says what they make."""

    finding: str
    rows: tuple[tuple[str, Markup | None, str], ...]
    sums: str


@dataclass(frozen=True, kw_only=True)
class IfView:
    """The answer with something changed, finding by finding beside the answer without. `now` is empty where it abstains."""

    told: tuple[str, ...]
    abstained: str | None
    rows: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class SimilarView:
    """One similar case."""

    id: str
    distance: str
    recorded: str
    answered: str


@dataclass(frozen=True, kw_only=True)
class CasePage:
    """Everything of a case's page. `finding` is the one that is looked at; None where the model abstains.

    `truth` is what the marks were measured to be worth on this case; None: not assessed. `as_a_rule` is what their method was
    over many patients; empty: not assessed.
    """

    id: str
    number: int
    of: int
    previous: str | None
    next: str | None
    evidence: EvidenceView
    answer: AnswerView
    finding: str | None
    shares: SharesView | None
    truth: Examined | None
    as_a_rule: tuple[Score, ...]
    similar: tuple[SimilarView, ...] | None
    has_similar: bool
    if_: IfView | None
    kinds: tuple[tuple[str, str], ...]
    n_networks: int
    form: Fields


def answer_view(
    answered: Answered, model: TrainedModel, *, spread: Mapping[str, tuple[float, float]] | None = None
) -> AnswerView:
    """The answer in words. `spread` are the ranges of the single networks' uncalibrated answers, where there are several."""
    diagnosis, conformal = answered.diagnosis, model.settling.conformal
    if diagnosis.abstained is not None:
        return AnswerView(estimates=(), abstained=diagnosis.abstained, guarantee=None)
    absence = answered.absence_in_set
    estimates = []
    for finding in diagnosis.findings:
        presence = finding.in_set if conformal is not None else None
        low, high = (spread or {}).get(finding.name, (0.0, 0.0))
        told = f"{percent(low)} to {percent(high)} before calibration, {SPREAD.format(n=len(model.networks))}"
        estimates.append(
            EstimateView(
                finding=finding.name,
                told=percent(finding.probability),
                per_mille=round(1000 * finding.probability),
                in_set=set_told(presence=presence, absence=None if absence is None else absence[finding.name]),
                spread=told if spread and finding.name in spread else "",
            )
        )
    return AnswerView(estimates=tuple(estimates), abstained=None, guarantee=None if conformal is None else conformal.guarantee)


def row_view(id: str, number: int, row: Row | None, model: TrainedModel) -> RowView:
    """A row of the list, with which of the model's modalities are there."""
    if row is None:
        return RowView(id=id, number=number, there=(), answer=None)
    names = {kind_name(kind): NAMES.get(kind, kind_name(kind)) for kind in model.tokenizers.by_kind}
    there = tuple((told, name in row.kinds) for name, told in names.items())
    return RowView(id=id, number=number, there=there, answer=answer_view(row.answered, model))


def likeliest(answered: Answered) -> str | None:
    """The finding with the highest estimate; None where the model abstains."""
    if answered.diagnosis.abstained is not None:
        return None
    return max(answered.diagnosis.findings, key=lambda finding: finding.probability).name


def shares_view(weighed: Weighed, finding: str, *, missing: Sequence[str]) -> SharesView | None:
    """The bars of one finding; None where there is nothing to weigh."""
    if weighed.shares is None:
        return None
    shares = weighed.shares[finding]
    heaviest = sorted(shares.values.items(), key=lambda entry: -abs(entry[1]))
    reach = abs(heaviest[0][1])
    names = {kind: NAMES.get(kind, kind_name(kind)) for kind in shares.values}
    rows = [(names[kind], bar(value, reach=reach, name=names[kind]), signed(value)) for kind, value in heaviest]
    return SharesView(
        finding=finding,
        rows=(*rows, *((TOLD.get(name, name), None, "missing") for name in missing)),
        sums=f"In {shares.unit}: {signed(shares.empty)} without any evidence, {signed(shares.full)} with all of it.",
    )


def if_view(now: Answered, then: Answered, changed: Changed, model: TrainedModel) -> IfView:
    """Both answers side by side."""
    before = answer_view(now, model)
    after = answer_view(then, model)
    told_now = {each.finding: each.told for each in before.estimates}
    return IfView(
        told=changed.told,
        abstained=after.abstained,
        rows=tuple((each.finding, told_now.get(each.finding, ""), each.told, each.in_set) for each in after.estimates),
    )


def if_plain(now: Answered, then: Answered, changed: Changed, model: TrainedModel) -> dict[str, Any]:
    """The same as JSON values, with the numbers themselves (null where the model abstains)."""
    view = if_view(now, then, changed, model)
    held_now = now.diagnosis.probability() if now.diagnosis.abstained is None else {}
    held_then = then.diagnosis.probability() if then.diagnosis.abstained is None else {}
    return {
        "changed": list(view.told),
        "abstained": view.abstained,
        "findings": [
            {
                "finding": finding,
                "now": held_now.get(finding),
                "then": held_then[finding],
                "now_told": was,
                "then_told": is_,
                "set": held,
            }
            for finding, was, is_, held in view.rows
        ],
    }


def similar_view(found: Sequence[Neighbour], finding: str) -> tuple[SimilarView, ...]:
    """Hashed ids, distances and labels of similar cases."""
    recorded = {None: "not known", True: finding, False: f"not {finding}"}
    return tuple(
        SimilarView(
            id=str(each.case),
            distance=f"{each.distance:.3f}",
            recorded=recorded[each.recorded],
            answered=percent(each.probability),
        )
        for each in found
    )
