"""The modalities by name, for where a model is written down or read: names exist nowhere else."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from attending.attention import MechanismConfig, config_from, name_of, settings_of
from attending.model.absence import EvidenceDropout
from attending.model.demographics import DemographicsConfig
from attending.model.diagnoser import DiagnoserConfig
from attending.model.frozen_image import FrozenImageConfig
from attending.model.frozen_text import FrozenTextConfig
from attending.model.image import ImageConfig
from attending.model.modality import ModalityConfig
from attending.model.numbers import NumbersConfig
from attending.model.signs import SignsConfig
from attending.model.text import TextConfig
from attending.model.tuned_text import TunedTextConfig
from attending.model.vectors import VectorsConfig

MODALITIES: Mapping[str, type[ModalityConfig]] = {
    "numbers": NumbersConfig,
    "signs": SignsConfig,
    "demographics": DemographicsConfig,
    "text": TextConfig,
    "frozen-text": FrozenTextConfig,
    "tuned-text": TunedTextConfig,
    "image": ImageConfig,
    "frozen-image": FrozenImageConfig,
    "vectors": VectorsConfig,
}


def modality_name(config: ModalityConfig) -> str:
    """The name under which a modality is known."""
    return next(name for name, kind in MODALITIES.items() if type(config) is kind)


def to_plain(config: DiagnoserConfig) -> dict[str, Any]:
    """The configuration as JSON values, mechanisms and modalities by name."""
    return {
        "modalities": [_modality_to_plain(modality) for modality in config.modalities],
        "fusion": [mechanism_to_plain(attention) for attention in config.fusion],
        "readout": mechanism_to_plain(config.readout),
        "expansion": config.expansion,
        "pair_rank": config.pair_rank,
        "switches": config.switches,
        "dropout": config.dropout,
        "evidence_dropout": asdict(config.evidence_dropout),
    }


def from_plain(plain: Mapping[str, Any]) -> DiagnoserConfig:
    """The configuration that `to_plain` wrote. Unknown names and left-over settings raise `ValueError` with what is known."""
    known = {field.name for field in fields(DiagnoserConfig)}
    if set(plain) != known:
        raise ValueError(f"model configuration: found the keys {sorted(plain)}, expected {sorted(known)}")
    return DiagnoserConfig(
        modalities=tuple(_modality_from_plain(entry) for entry in plain["modalities"]),
        fusion=tuple(mechanism_from_plain(entry) for entry in plain["fusion"]),
        readout=mechanism_from_plain(plain["readout"]),
        expansion=plain["expansion"],
        pair_rank=plain["pair_rank"],
        switches=plain["switches"],
        dropout=plain["dropout"],
        evidence_dropout=EvidenceDropout(**plain["evidence_dropout"]),
    )


def mechanism_to_plain(config: MechanismConfig) -> dict[str, Any]:
    """A mechanism's configuration as JSON values, by its name."""
    return {"mechanism": name_of(config), **settings_of(config)}


def mechanism_from_plain(plain: Mapping[str, Any]) -> MechanismConfig:
    """The inverse of `mechanism_to_plain`."""
    settings = dict(plain)
    return config_from(settings.pop("mechanism"), settings)


def _modality_to_plain(config: ModalityConfig) -> dict[str, Any]:
    plain: dict[str, Any] = {"modality": modality_name(config)}
    for field in fields(config):
        value = getattr(config, field.name)
        plain[field.name] = mechanism_to_plain(value) if isinstance(value, MechanismConfig) else value
    return plain


def _modality_from_plain(plain: Mapping[str, Any]) -> ModalityConfig:
    settings = dict(plain)
    name = settings.pop("modality")
    if name not in MODALITIES:
        raise ValueError(f'modality "{name}": known are {", ".join(MODALITIES)}')
    kind = MODALITIES[name]
    unknown = set(settings) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f'modality "{name}": unknown settings {", ".join(sorted(unknown))}')
    if isinstance(settings.get("attention"), Mapping):
        settings["attention"] = mechanism_from_plain(settings["attention"])
    if "visible" in settings:
        settings["visible"] = tuple(settings["visible"])
    return kind(**settings)
