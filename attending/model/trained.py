"""A trained model: networks that are averaged, what they read through, and how their answers are settled.

This is what a MODEL folder holds: configuration, tokenizers, weights (safetensors), settling, schema, and a manifest of SHA-256
sums. No pickle. It answers any case, also the empty one, and says what was missing.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from attending.artefacts import ArtefactError, seal, verify, write_bytes, write_text
from attending.attention import MechanismConfig
from attending.case import Case, Evidence, kind_name
from attending.diagnosis import Diagnosis, Finding, Task
from attending.evaluation.gate import Gate
from attending.model.catalog import (
    MODALITIES,
    from_plain,
    mechanism_from_plain,
    mechanism_to_plain,
    modality_name,
    to_plain,
)
from attending.model.diagnoser import Diagnoser, DiagnoserConfig, Tokenizers
from attending.model.settling import Settling
from attending.model.switches import Switch
from attending.model.tokens import Inputs, Kind

FORMAT = 3
READABLE = (2, FORMAT)
"""Formats that are read; 2 has no gate."""
MODEL = "model"
"""Name of the model's folder in that of the run that made it."""
CONFIG, TOKENIZERS, SETTLING, SCHEMA = "config.json", "tokenizers.json", "settling.json", "schema.toml"
EVALUATION_BATCH = 256
ID_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """Answers for cases. `schema` is the text of the schema file that its table was read with.

    `converted` says for each network which layers are no longer what `config` makes them, by the module's name; empty: none.
    """

    task: Task
    config: DiagnoserConfig
    tokenizers: Tokenizers
    networks: tuple[Diagnoser, ...]
    settling: Settling
    schema: str
    provenance: Mapping[str, Any]
    converted: tuple[Mapping[str, MechanismConfig], ...] = ()

    @cached_property
    def id(self) -> str:
        """Name of these very weights: the start of the SHA-256 over them."""
        digest = hashlib.sha256()
        for network in self.networks:
            for name, value in sorted(network.state_dict().items()):
                digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:ID_DIGITS]

    def member_probabilities(self, cases: Sequence[Case]) -> Float[np.ndarray, "member case finding"]:
        """Each network's uncalibrated probabilities."""
        return np.stack([network_probabilities(n, self.tokenizers, cases, task=self.task) for n in self.networks])

    def raw_probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The mean over networks, before calibration."""
        return self.member_probabilities(cases).mean(axis=0)

    def probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """Calibrated probability of each recorded label, in the order of `task.findings`."""
        return self.settling.calibrated(self.raw_probability(cases))

    def probability_of_subsets(
        self, case: Case, kept: Sequence[Collection[type[Evidence]]]
    ) -> Float[np.ndarray, "subset finding"]:
        """Calibrated, of the case as if it had evidence of those kinds only, a row per entry of `kept`.

        The same as `probability` of the case rebuilt for each entry, but a film or a note is read once for all of them.
        """
        pieces = [np.zeros((0, len(self.task.findings)))]
        for start in range(0, len(kept), EVALUATION_BATCH):
            inputs = self.tokenizers.subsets(case, kept[start : start + EVALUATION_BATCH])
            pieces.append(np.mean([_said(network.eval(), inputs, task=self.task) for network in self.networks], axis=0))
        return self.settling.calibrated(np.concatenate(pieces))

    def diagnose(self, cases: Sequence[Case]) -> tuple[Diagnosis, ...]:
        """Estimated probability of each recorded label, its conformal set, what was missing, and why none is given if so."""
        return self.settled(cases, self.raw_probability(cases))

    def settled(self, cases: Sequence[Case], raw: Float[np.ndarray, "case finding"]) -> tuple[Diagnosis, ...]:
        """What `diagnose` gives, from probabilities before calibration that are there already."""
        probability = self.settling.calibrated(raw)
        in_set = self.settling.in_set(probability)
        why_not = self.tokenizers.unusable(cases)
        return tuple(self._diagnosis(c, p, s, why) for c, p, s, why in zip(cases, probability, in_set, why_not, strict=True))

    def missing(self, case: Case) -> tuple[str, ...]:
        """Inputs that the model reads and this case lacks: kinds without any evidence."""
        return tuple(kind_name(kind) for kind in self.tokenizers.by_kind if not case.of(kind))

    def _diagnosis(self, case: Case, probability: np.ndarray, in_set: np.ndarray, why_not: str | None) -> Diagnosis:
        return Diagnosis(
            case=case.id,
            findings=tuple(
                Finding(name=name, probability=float(p), in_set=bool(s))
                for name, p, s in zip(self.task.findings, probability, in_set, strict=True)
            ),
            abstained=why_not,
            missing=self.missing(case),
            model=self.id,
        )

    def save(self, folder: Path) -> None:
        """Write the folder; its manifest last."""
        names = [CONFIG, TOKENIZERS, SETTLING, SCHEMA]
        plain: dict[str, Any] = {
            "format": FORMAT,
            "task": {"findings": list(self.task.findings), "exclusive": self.task.exclusive},
            "diagnoser": to_plain(self.config),
            "members": len(self.networks),
            "provenance": dict(self.provenance),
        }
        if self.converted:
            plain["converted"] = [
                {name: mechanism_to_plain(config) for name, config in layers.items()} for layers in self.converted
            ]
        write_text(folder / CONFIG, json.dumps(plain, indent=2) + "\n")
        by_name = {modality_name(m): self.tokenizers.by_kind[m.kind].state() for m in self._modalities()}
        switches = [switch.to_plain() for switch in self.tokenizers.switches]
        gate = None if self.tokenizers.gate is None else self.tokenizers.gate.to_dict()
        write_text(folder / TOKENIZERS, json.dumps({"modalities": by_name, "switches": switches, "gate": gate}) + "\n")
        write_text(folder / SETTLING, json.dumps(self.settling.to_plain(), indent=2) + "\n")
        write_text(folder / SCHEMA, self.schema)
        for number, network in enumerate(self.networks):
            names.append(weights_name(number))
            write_bytes(
                folder / names[-1], tensors_to_bytes({k: v.cpu().contiguous() for k, v in network.state_dict().items()})
            )
        seal(folder, names)

    def _modalities(self) -> list:
        return [modality for modality in self.config.modalities if modality.kind in self.tokenizers.by_kind]


def weights_name(member: int) -> str:
    """File of one network's weights."""
    return f"member-{member}.safetensors"


def load_model(path: Path | str) -> TrainedModel:
    """The model in a folder, or in the folder of the run that it lies in; every file is checked against the manifest.

    Raises `ArtefactError` when it is not there or not intact.
    """
    folder = Path(path)
    folder = folder / MODEL if (folder / MODEL).is_dir() else folder
    if not folder.is_dir():
        raise ArtefactError(f"{folder}: no such folder; MODEL is the folder `model` that `attending run --out DIR` wrote")
    verify(folder)
    try:
        plain = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if plain["format"] not in READABLE:
            raise ArtefactError(
                f"{folder}: format {plain['format']}, this version reads {' and '.join(map(str, READABLE))}; "
                "use the version that wrote it"
            )
        config = from_plain(plain["diagnoser"])
        task = Task(findings=tuple(plain["task"]["findings"]), exclusive=plain["task"]["exclusive"])
        states = json.loads((folder / TOKENIZERS).read_text(encoding="utf-8"))
        tokenizers = _restored(config, states)
        converted = tuple(
            {name: mechanism_from_plain(entry) for name, entry in layers.items()} for layers in plain.get("converted", ())
        )
        networks = tuple(
            network_from(
                tensors_from_bytes((folder / weights_name(n)).read_bytes()),
                config,
                tokenizers,
                task,
                converted=converted[n] if converted else {},
            )
            for n in range(plain["members"])
        )
        settling = Settling.from_plain(json.loads((folder / SETTLING).read_text(encoding="utf-8")))
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ArtefactError(f"{folder}: {CONFIG} and the other files do not fit together; restore the whole folder") from error
    return TrainedModel(
        task=task,
        config=config,
        tokenizers=tokenizers,
        networks=networks,
        settling=settling,
        schema=(folder / SCHEMA).read_text(encoding="utf-8"),
        provenance=plain["provenance"],
        converted=converted,
    )


def network_from(
    weights: Mapping[str, Tensor],
    config: DiagnoserConfig,
    tokenizers: Tokenizers,
    task: Task,
    *,
    converted: Mapping[str, MechanismConfig] = MappingProxyType({}),
) -> Diagnoser:
    """A network with these weights, ready to answer. `converted` are layers that became another mechanism, by name."""
    with torch.random.fork_rng(devices=[]):
        network = Diagnoser(config, tokenizers=tokenizers, n_findings=len(task.findings))
        for name, attention in converted.items():
            parent, _, own = name.rpartition(".")
            network.get_submodule(parent).register_module(own, attention.build())
    network.load_state_dict(dict(weights))
    return network.eval()


def network_probabilities(
    network: Diagnoser, tokenizers: Tokenizers, cases: Sequence[Case], *, task: Task
) -> Float[np.ndarray, "case finding"]:
    """One network's probabilities as float64, some hundred cases at a time; rows of an exclusive task sum to 1."""
    network.eval()
    pieces = [np.zeros((0, len(task.findings)))]
    for start in range(0, len(cases), EVALUATION_BATCH):
        pieces.append(_said(network, tokenizers.batch(cases[start : start + EVALUATION_BATCH], task).inputs, task=task))
    return np.concatenate(pieces)


@torch.inference_mode()
def _said(network: Diagnoser, inputs: Mapping[Kind, Inputs], *, task: Task) -> Float[np.ndarray, "case finding"]:
    device = network.register.device
    logits = network({kind: each.to(device) for kind, each in inputs.items()}).double()
    found: np.ndarray = (logits.softmax(dim=-1) if task.exclusive else logits.sigmoid()).cpu().numpy()
    return found


def _restored(config: DiagnoserConfig, plain: Mapping[str, Any]) -> Tokenizers:
    states = plain["modalities"]
    unknown = set(states) - set(MODALITIES)
    if unknown:
        raise ArtefactError(f"{TOKENIZERS}: unknown modalities {', '.join(sorted(unknown))}; known are {', '.join(MODALITIES)}")
    found: dict[type[Evidence], Any] = {}
    for modality in config.modalities:
        name = modality_name(modality)
        if name in states:
            found[modality.kind] = modality.restore(states[name])
    gate = plain.get("gate")
    return Tokenizers(
        by_kind=found,
        switches=tuple(Switch.from_plain(entry, tuple(found)) for entry in plain["switches"]),
        gate=None if gate is None else Gate.from_dict(gate),
    )
