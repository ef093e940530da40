"""A finished model with cheaper attention: converted, and judged beside what it was on patients that nothing was fitted to.

Patients are parted in two: on one half conversions are calibrated (and the short recovery is trained), on the other layers are
measured and the models judged, case by case, patients resampled. What can become what is `attention.conversion`'s word.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from attending.attention.conversion import ConversionError, LayerReceipt, conversion_from, convert_layers
from attending.case import Case
from attending.comparison.conversion_recovery import Recovery, recover
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import Result
from attending.model.diagnoser import Diagnoser
from attending.model.trained import TrainedModel
from attending.training.bridge import outcomes_of

ORIGINAL, CONVERTED, RECOVERED = "original", "converted", "recovered"
FEWEST = 8
"""Patients of each half below which nothing is calibrated or judged."""
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class ConversionPlan:
    """What is asked for. `to` as in `conversion_from`. `recover` steps of training follow, 0 for none.

    `refits`: output projections are fitted once more on the calibration half, where that helps patients left out of the fit.
    """

    to: str
    only: tuple[str, ...] | None = None
    refits: bool = True
    recover: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class MemberReceipt:
    """One network: its layers, those that stayed (and why), and its bytes before and after."""

    layers: tuple[LayerReceipt, ...]
    left: Mapping[str, str]
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ConversionReceipt:
    """What a conversion cost. `results` are the metrics of each model and the paired differences to the original."""

    plan: ConversionPlan
    before: str
    after: str
    members: tuple[MemberReceipt, ...]
    results: tuple[Result, ...]
    recovery: Recovery | None
    n_calibration: int
    n_judged: int
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvertedModel:
    """The new model, and its receipt."""

    model: TrainedModel
    receipt: ConversionReceipt


def convert_model(
    model: TrainedModel,
    cases: Sequence[Case],
    plan: ConversionPlan,
    *,
    trained_on_these: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> ConvertedModel:
    """The model with its attention converted; `model` stays as it is. Raises `ConversionError` for what is impossible.

    `trained_on_these`: the cases come from the file that the model was trained on, which the receipt then cautions about.
    """
    conversion = conversion_from(plan.to)
    if model.converted:
        raise ConversionError("convert: this model was converted before; convert the original, which its provenance names")
    fitted, judged = parted(cases, seed=plan.seed)
    known = [case for case in judged if case.truth]
    networks, members, configs = [], [], []
    for number, old in enumerate(model.networks):
        told(f"converting network {number + 1} of {len(model.networks)}")
        network = copy.deepcopy(old)
        done = convert_layers(
            network,
            conversion,
            fit=_answering(network, model, fitted),
            held_out=_answering(network, model, judged),
            only=plan.only,
            refits=plan.refits,
        )
        networks.append(network)
        configs.append({layer.name: layer.after for layer in done.layers})
        sizes = (_bytes(old), _bytes(network))
        members.append(MemberReceipt(layers=done.layers, left=done.left, bytes_before=sizes[0], bytes_after=sizes[1]))
    provenance = dict(model.provenance) | {
        "converted_from": model.id,
        "conversion": plan.to,
        "conversion_refitted": plan.refits,
        "conversion_recovery_steps": plan.recover,
        "conversion_cases": len(fitted),
        "conversion_seed": plan.seed,
    }
    new = replace(model, networks=tuple(networks), provenance=provenance, converted=tuple(configs))
    answers = {ORIGINAL: _outcomes(model, known), CONVERTED: _outcomes(new, known)}
    recovery = None
    if plan.recover:
        told(f"recovering for {plan.recover} steps")
        recovery = recover(model, new, fitted, steps=plan.recover, seed=plan.seed)
        new = replace(new)  # the name of a model is that of its weights, and these have changed
        answers[RECOVERED] = _outcomes(new, known)
    receipt = ConversionReceipt(
        plan=plan,
        before=model.id,
        after=new.id,
        members=tuple(members),
        results=_judged(answers, seed=plan.seed),
        recovery=recovery,
        n_calibration=len(fitted),
        n_judged=len(known),
        cautions=_cautions(trained_on_these, known, members),
    )
    return ConvertedModel(model=new, receipt=receipt)


def parted(cases: Sequence[Case], *, seed: int) -> tuple[list[Case], list[Case]]:
    """Calibration and judged cases: whole groups, half each, by a hash that no order of rows changes."""
    names = sorted({case.group for case in cases}, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    half = set(names[: len(names) // 2])
    parts = [c for c in cases if c.group in half], [c for c in cases if c.group not in half]
    if min(len(half), len(names) - len(half)) < FEWEST:
        raise ConversionError(
            f"convert: found {len(names)} patients, expected {2 * FEWEST} or more, half to calibrate and half to judge on"
        )
    return parts


def _answering(network: Diagnoser, model: TrainedModel, cases: Sequence[Case]) -> Callable[[], None]:
    """Lets one network answer the cases."""

    def run() -> None:
        network.eval()
        with torch.no_grad():
            for start in range(0, len(cases), _BATCH):
                batch = model.tokenizers.batch(cases[start : start + _BATCH], model.task)
                network(batch.to(network.register.device).inputs)

    return run


def _outcomes(model: TrainedModel, cases: Sequence[Case]) -> Outcomes:
    return model.settling.apply(outcomes_of(cases, model.raw_probability(cases), task=model.task))


def _judged(answers: Mapping[str, Outcomes], *, seed: int) -> tuple[Result, ...]:
    """Each model's metrics, and each converted one's paired differences to the original."""
    rows: list[Result] = []
    for name in [name for name in answers if name != ORIGINAL]:
        terms = Terms(protocol="evaluation", split="evaluation", primary_comparator=ORIGINAL, seed=seed)
        pair = {name: answers[name], ORIGINAL: answers[ORIGINAL]}
        found = judge(pair, primary=name, terms=terms, metrics=("auroc", "auprc", "brier", "log_loss"), slices=())
        rows += [row for row in found if row.model == name or not any(r.model == row.model for r in rows)]
    return tuple(rows)


def _cautions(trained_on_these: bool, known: Sequence[Case], members: Sequence[MemberReceipt]) -> tuple[str, ...]:
    said = []
    if trained_on_these:
        said.append("these cases are rows of the file that the model was trained on: it has seen these patients")
    if not known:
        said.append("no judged case has a recorded target: the model's metric could not be compared")
    left = {name: why for member in members for name, why in member.left.items()}
    said += [f"{name} stayed as it was: {why}" for name, why in left.items()]
    return tuple(said)


def _bytes(network: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
