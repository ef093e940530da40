"""Putting somebody else's encoder into a recipe: which folder is meant, and where its states are kept while a study runs."""

from dataclasses import fields, replace
from pathlib import Path

from attending.model.bert import BertConfig
from attending.model.diagnoser import DiagnoserConfig
from attending.model.frozen_image import FrozenImageConfig
from attending.model.frozen_text import FrozenTextConfig
from attending.model.modality import ModalityConfig
from attending.model.pretrained import IMAGE_FILES, MINILM, TEXT_FILES, EncoderFolder, find_encoder
from attending.model.tuned_text import TunedTextConfig
from attending.training.recipe import Recipe

STATES = "embeddings"


def with_frozen_text(recipe: Recipe, encoder: str) -> Recipe:
    """The recipe, reading notes through `encoder` (`minilm`, or a local folder with a BERT), which stays as it is.

    Raises `EncoderError` where the encoder is not there.
    """
    folder = find_encoder(encoder, needed=TEXT_FILES)
    reads = FrozenTextConfig(encoder=_resolved(encoder), digest=folder.digest)
    return _with(recipe, replace(reads, chunk=_most_pieces(folder, reads.chunk)))


def with_tuned_text(recipe: Recipe, encoder: str) -> Recipe:
    """The same with an encoder whose weights are trained on, in small steps."""
    folder = find_encoder(encoder, needed=TEXT_FILES)
    reads = TunedTextConfig(encoder=_resolved(encoder), digest=folder.digest)
    return _with(recipe, replace(reads, chunk=_most_pieces(folder, reads.chunk)))


def with_frozen_images(recipe: Recipe, encoder: str) -> Recipe:
    """The recipe, looking at films through `encoder` (a local folder with a vision transformer), which stays as it is."""
    folder = find_encoder(encoder, needed=IMAGE_FILES)
    return _with(recipe, FrozenImageConfig(encoder=_resolved(encoder), digest=folder.digest))


def _with(recipe: Recipe, reads: ModalityConfig) -> Recipe:
    """What every modality may be told (`visible`, …) is taken over from how this kind of evidence was read before."""
    before = [modality for modality in recipe.diagnoser.modalities if modality.kind is reads.kind]
    others = [modality for modality in recipe.diagnoser.modalities if modality.kind is not reads.kind]
    told = {field.name: getattr(before[0], field.name) for field in fields(ModalityConfig)} if before else {}
    modalities = (*others, replace(reads, **told))
    return replace(recipe, diagnoser=replace(recipe.diagnoser, modalities=modalities))


def _most_pieces(folder: EncoderFolder, chunk: int) -> int:
    return min(chunk, BertConfig.from_architecture(folder.architecture).n_positions)


def _resolved(encoder: str) -> str:
    """A folder by its full path, so that a later command finds it from anywhere."""
    return encoder if encoder == MINILM else str(Path(encoder).resolve())


def with_cache(config: DiagnoserConfig, work: Path | None) -> DiagnoserConfig:
    """The same model, keeping the states of frozen encoders below `work`, unless it names a place for them itself."""
    return replace(config, modalities=tuple(_cached(modality, work) for modality in config.modalities))


def _cached(modality: ModalityConfig, work: Path | None) -> ModalityConfig:
    if isinstance(modality, FrozenTextConfig | FrozenImageConfig) and modality.cache is None and work is not None:
        return replace(modality, cache=str((work / STATES).resolve()))
    return modality
