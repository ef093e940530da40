"""A recipe: one model and how it is trained. The default follows from what evidence the cases hold.

Sizes are for hundreds to a few thousand patients. What was tried, with figures: docs/journal.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from attending.attention import GroupedConfig
from attending.case import Case, Chart, Note, Scan
from attending.model.absence import EvidenceDropout
from attending.model.demographics import DemographicsConfig
from attending.model.diagnoser import DiagnoserConfig
from attending.model.image import ImageConfig
from attending.model.modality import ModalityConfig
from attending.model.numbers import NumbersConfig
from attending.model.signs import SignsConfig
from attending.model.text import TextConfig
from attending.model.vectors import VectorsConfig
from attending.training.settings import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, and how."""

    diagnoser: DiagnoserConfig
    training: TrainingConfig


def tabular_recipe(*, visible: frozenset[str] = frozenset(), members: int = 5) -> Recipe:
    """Numbers, signs, demographics: feature tokens read by the findings' queries directly, no self-attention.

    On a few hundred patients a self-attention block costs four times the time and gains nothing (journal, "appendicitis").
    """
    attention = GroupedConfig(dim=32, n_heads=4)
    seen = tuple(sorted(visible))
    return Recipe(
        diagnoser=DiagnoserConfig(
            modalities=(
                NumbersConfig(visible=seen),
                SignsConfig(visible=seen),
                DemographicsConfig(visible=seen),
                VectorsConfig(visible=seen),
            ),
            fusion=(),
            readout=attention,
            evidence_dropout=EvidenceDropout(most_tokens=0.4, modality=0.0),
        ),
        training=TrainingConfig(members=members),
    )


FEW = 500
"""Cases under which batches are smaller, so that there are enough steps without hundreds of epochs."""
EPOCHS = 40
STEPS = (300, 640)
"""A multi-modal model trains for `EPOCHS`, but not for fewer or more steps than these: twice as many took twice
the time and gained nothing (journal, "Clinic")."""
EPOCHS_BETWEEN = (20, 100)
SWITCHES = 4
"""Facts that may change how other evidence is read. So many are there rarely; what chance explains is not taken anyway."""


def multimodal_recipe(n_cases: int, *, visible: frozenset[str] = frozenset(), members: int = 2) -> Recipe:
    """Every kind of evidence; words and film cells are read by the findings' queries directly.

    Self-attention over all tokens took twice the time on the synthetic clinic and learned more slowly (journal, "clinic").
    """
    attention = GroupedConfig(dim=64, n_heads=8)
    seen = tuple(sorted(visible))
    modalities: tuple[ModalityConfig, ...] = (
        NumbersConfig(visible=seen),
        SignsConfig(visible=seen),
        DemographicsConfig(visible=seen),
        VectorsConfig(visible=seen),
        TextConfig(visible=seen),
        ImageConfig(visible=seen),
    )
    batch_size = 32 if n_cases < FEW else 64
    least, enough = (math.ceil(steps * batch_size / max(1, n_cases)) for steps in STEPS)
    epochs = min(max(EPOCHS, least), enough)
    fewest, most = EPOCHS_BETWEEN
    return Recipe(
        diagnoser=DiagnoserConfig(
            modalities=modalities, fusion=(), readout=attention, pair_rank=8, switches=SWITCHES, dropout=0.1
        ),
        training=TrainingConfig(
            epochs=min(max(epochs, fewest), most),
            members=members,
            batch_size=batch_size,
            weight_decay=1.0,
            alone_weight=0.3,
        ),
    )


def default_repeats(cases: Sequence[Case] | Sequence[Chart]) -> int:
    """How often cross-validation is repeated unless somebody says.

    Five times for tables, which takes minutes; with notes or films, whose networks train far longer, twice under `FEW` cases,
    where partitions differ most, and once above.
    """
    if not any(case.of(Note) or case.of(Scan) for case in cases):
        return 5
    return 2 if len(cases) < FEW else 1


def default_recipe(cases: Sequence[Case], *, visible: frozenset[str] = frozenset(), members: int | None = None) -> Recipe:
    """The recipe for the evidence that these cases hold."""
    chosen = {} if members is None else {"members": members}
    if any(case.of(Note) or case.of(Scan) for case in cases):
        return multimodal_recipe(len(cases), visible=visible, **chosen)
    return tabular_recipe(visible=visible, **chosen)
