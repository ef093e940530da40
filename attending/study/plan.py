"""What is asked of a study before anything is trained: how it is held, and what the schema fixed beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from attending.cohort import Protocol
from attending.evaluation.inquiry import Terms
from attending.evaluation.threshold import Rule
from attending.records import Schema
from attending.training.recipe import Recipe
from attending.training.trial import BEST_BASELINE

ProtocolKind = Literal["auto", "split", "cv", "site", "quick"]


class StudyError(ValueError):
    """A study cannot be held as asked; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a study is held. `repeats` None takes as many as `default_repeats` says, `members` None the recipe's; `recipe` None
    takes the one for the evidence there is.

    `text_encoder` is a pretrained encoder for the notes: `minilm`, or a local folder. It stays as it is unless
    `tunes_encoder`. `image_encoder` is a local folder with one for the films.
    """

    protocol: ProtocolKind = "auto"
    folds: int = 5
    repeats: int | None = None
    members: int | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int = 2
    recipe: Recipe | None = None
    text_encoder: str | None = None
    tunes_encoder: bool = False
    image_encoder: str | None = None


def split_name(protocol: Protocol) -> str:
    """What rows of results call the part that was judged."""
    return "test" if protocol.kind in ("split", "quick") else "cv"


def terms_of(schema: Schema, protocol: Protocol, *, seed: int) -> Terms:
    """What the schema and the protocol fixed before results were opened."""
    primary = schema.primary
    return Terms(
        target=", ".join(target.column for target in schema.targets),
        protocol=protocol.kind,
        split=split_name(protocol),
        rules=rules_of(schema),
        primary_metric=primary.metric if primary else "auroc",
        primary_finding=primary.finding if primary else None,
        primary_comparator=BEST_BASELINE if primary is None or primary.against == "best baseline" else primary.against,
        sampling=schema.sampling.value,
        target_prevalence=schema.target_prevalence,
        seed=seed,
    )


def primary_findings(schema: Schema) -> Sequence[str] | None:
    """The findings that must be estimable: the one that was declared primary, or None where that is their mean or none was."""
    return None if schema.primary is None or schema.primary.finding == "macro" else (schema.primary.finding,)


def rules_of(schema: Schema) -> Mapping[str, Rule]:
    names = {"harm_benefit": "harm_to_benefit"}
    return {
        finding: Rule.from_dict({names.get(threshold.rule, threshold.rule): threshold.value})
        for finding, threshold in schema.thresholds.items()
    }
