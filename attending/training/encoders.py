"""Putting somebody else's encoder into a recipe: which folder is meant, and where its states are kept while a study runs."""

from dataclasses import replace
from pathlib import Path

from attending.case import Note
from attending.model.diagnoser import DiagnoserConfig
from attending.model.frozen_text import FILES, FrozenTextConfig
from attending.model.modality import ModalityConfig
from attending.model.pretrained import find_encoder
from attending.training.recipe import Recipe

STATES = "embeddings"


def with_text_encoder(recipe: Recipe, encoder: str, *, visible: frozenset[str] = frozenset()) -> Recipe:
    """The recipe, reading notes through `encoder` (`minilm`, or a local folder with a BERT), which stays as it is.

    Raises `EncoderError` where the encoder is not there.
    """
    folder = find_encoder(encoder, needed=FILES)
    reads = FrozenTextConfig(encoder=encoder, digest=folder.digest, visible=tuple(sorted(visible)))
    others = tuple(modality for modality in recipe.diagnoser.modalities if modality.kind is not Note)
    return replace(recipe, diagnoser=replace(recipe.diagnoser, modalities=(*others, reads)))


def with_cache(config: DiagnoserConfig, work: Path | None) -> DiagnoserConfig:
    """The same model, keeping the states of frozen encoders below `work`, unless it names a place for them itself."""
    return replace(config, modalities=tuple(_cached(modality, work) for modality in config.modalities))


def _cached(modality: ModalityConfig, work: Path | None) -> ModalityConfig:
    if isinstance(modality, FrozenTextConfig) and modality.cache is None and work is not None:
        return replace(modality, cache=str((work / STATES).resolve()))
    return modality
