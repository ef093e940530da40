"""What an explanation is worth, said in lines that stand beside it: each with what was asked, what came out, measured on what.

An explanation that stays the same with random weights is refused. One that is no better than chance is shown, and labelled so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from attending.case import Case
from attending.diagnosis import Explanation
from attending.drawing.contributions import signed
from attending.explanation.agreement import SURVIVES, Likeness, agreement_of_siblings, survival
from attending.explanation.curves import Curve, CurveTest
from attending.explanation.explainer import ExplainerConfig
from attending.explanation.pointing import Target, point, says_absent
from attending.model.trained import TrainedModel

OWN, SYNTHETIC = "this case, your data", "this case, synthetic clinic"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One line. `is_good` None: neither good nor bad by itself, or not assessed."""

    asked: str
    answer: str
    measured_on: str
    is_good: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Examined:
    """All lines of one explanation. `refused` says why it may not be shown; `gain` is its faithfulness over random orders."""

    scores: tuple[Score, ...]
    refused: str | None
    gain: float


def examine(
    config: ExplainerConfig,
    model: TrainedModel,
    case: Case,
    explanation: Explanation,
    *,
    curves: CurveTest,
    reference: Sequence[Case],
    targets: Sequence[Target] = (),
    is_synthetic: bool = False,
) -> Examined:
    """Hold one explanation against the model. `targets` are the known reasons, where the case is of the synthetic clinic."""
    where = SYNTHETIC if is_synthetic else OWN
    found = curves.of(explanation, has_sign=config.has_sign)
    survived = survival(config, model, case, explanation, reference=reference)
    siblings = agreement_of_siblings(config, model, case, explanation.finding, reference=reference)
    moves = "falls by" if config.has_sign else "moves by"
    scores = [
        Score(
            asked=f"As its places go, heaviest first, the answer {moves} (mean over the steps)",
            answer=_curve(found.deletion),
            measured_on=where,
            is_good=found.deletion.is_above,
        ),
        Score(
            asked=f"As they come in, heaviest first, it {'rises by' if config.has_sign else 'is off the full answer by'}",
            answer=_curve(found.insertion),
            measured_on=where,
            is_good=found.insertion.is_above,
        ),
        Score(
            asked="Networks that differ by seed explain alike (mean rank correlation of two)",
            answer=_likeness(siblings),
            measured_on=where,
            is_good=None if siblings.value is None else siblings.value >= SURVIVES,
        ),
        Score(
            asked=f"Networks with random weights explain alike: refused from {SURVIVES:g} on",
            answer=_likeness(survived),
            measured_on=where,
            is_good=None if survived.value is None else survived.value < SURVIVES,
        ),
        *(_pointed(case, explanation, target) for target in _asked(targets, explanation.finding)),
    ]
    refused = None
    if survived.value is not None and survived.value >= SURVIVES:
        refused = (
            f"Refused: networks with random weights give the same picture (rank correlation {survived.value:.2f}), so it does "
            "not show what this model learned."
        )
    return Examined(scores=tuple(scores), refused=refused, gain=found.gain)


def _curve(curve: Curve) -> str:
    low, high = curve.range
    verdict = "above chance" if curve.is_above else "not above chance"
    return f"{signed(curve.area)}; in random orders {signed(low)} to {signed(high)}: {verdict}"


def _likeness(found: Likeness) -> str:
    return found.note if found.value is None else signed(found.value)


def _asked(targets: Sequence[Target], finding: str) -> list[Target]:
    """The weightiest known reason of each modality for this finding; words that deny are not asked about."""
    chosen: dict[str, Target] = {}
    for target in targets:
        held = chosen.get(target.modality)
        weighs = abs(target.log_odds) >= LEAST and not says_absent(target)
        if target.disease == finding and weighs and (held is None or abs(target.log_odds) > abs(held.log_odds)):
            chosen[target.modality] = target
    return list(chosen.values())


LEAST = 0.3
"""Log-odds under which a known reason is not asked about: it hardly is one."""


def _pointed(case: Case, explanation: Explanation, target: Target) -> Score:
    found = point(case, explanation, target)
    asked = (
        f"Its heaviest place of the {target.modality} lies in the known reason ({target.finding}, {signed(target.log_odds)})"
    )
    if found is None:
        return Score(asked=asked, answer="weighs nothing there", measured_on=SYNTHETIC, is_good=False)
    answer = f"{'yes' if found.is_hit else 'no'}; a random place would in {100 * found.chance:.0f} %"
    return Score(asked=asked, answer=answer, measured_on=SYNTHETIC, is_good=found.is_hit)
