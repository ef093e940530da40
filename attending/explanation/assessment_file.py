"""What was found of a model's explanations, kept in the model's folder: `explanations/assessment-<sum>.json` and its manifest.

A folder of its own with a manifest of its own, because the model's manifest stands for the model in reports and in predictions
under way. The file is named by its content and the manifest is exchanged last: whoever is killed in between leaves the old one
intact. Figures and names of tables, never a patient.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attending.artefacts import MANIFEST, ArtefactError, seal, verify, write_text
from attending.evaluation.estimate import Estimate
from attending.explanation.assessment import Assessed, Figures, Ground, Pointed
from attending.model.trained import MODEL

FOLDER = "explanations"
FORMAT = 1
_STEM = "assessment-"


def folder_of(path: Path) -> Path:
    """Where it lies for MODEL, which is a model's folder or that of its run."""
    return (path / MODEL if (path / MODEL).is_dir() else path) / FOLDER


def read_assessed(path: Path, *, model: str) -> Mapping[str, Assessed]:
    """By method, what was found of the model of this id; empty where nothing was measured, or of other weights.

    Raises `ArtefactError` for a file that is damaged.
    """
    folder = folder_of(path)
    if not (folder / MANIFEST).is_file():  # nothing was ever sealed here
        return {}
    remedy = "attending assess measures and writes it anew"
    try:
        names = verify(folder)
        (name,) = names
        plain = json.loads((folder / name).read_text(encoding="utf-8"))
        if plain["format"] != FORMAT:
            raise ArtefactError(f"{folder}: format {plain['format']}, this version reads {FORMAT}")
        if plain["model"] != model:
            return {}
        found = [_assessed(entry) for entry in plain["methods"]]
    except ArtefactError as error:
        raise ArtefactError(f"{error}; {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder}: is not what attending assess writes; {remedy}") from error
    return {each.figures.method: each for each in found}


def write_assessed(path: Path, *, model: str, found: Sequence[Assessed]) -> Path:
    """Keep what was found, all of it; the file that was there before goes."""
    folder = folder_of(path)
    content = json.dumps({"format": FORMAT, "model": model, "methods": [asdict(each) for each in found]}, indent=1) + "\n"
    name = f"{_STEM}{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"
    write_text(folder / name, content)
    seal(folder, [name])
    for other in folder.glob(f"{_STEM}*.json"):
        if other.name != name:
            other.unlink()
    return folder / name


def _assessed(plain: Mapping[str, Any]) -> Assessed:
    figures = dict(plain["figures"])
    pointing = tuple(
        Pointed(modality=each["modality"], hits=Estimate(**each["hits"]), chance=each["chance"])
        for each in figures.pop("pointing")
    )
    estimates = {name: Estimate(**value) for name, value in figures.items() if isinstance(value, dict)}
    return Assessed(figures=Figures(**{**figures, **estimates}, pointing=pointing), ground=Ground(**plain["ground"]))
