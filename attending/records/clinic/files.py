"""A drawn clinic as the files a hospital would hand over, and apart from them what only the maker knows.

    DIR/patients.csv  labs.csv  images/*.png  schema.toml  README.md     what `attending run` reads
    DIR/truth/oracle.csv  reasons.json  masks/*.png                      what no model may read

`labs.csv` is a long-format companion (`--labs`), because a value's reference range belongs to the value.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from attending import artefacts
from attending.case import Box, Characters, Chart, Demographics, Lab, Note, Place, Scan, Sign
from attending.records.clinic.config import ClinicError
from attending.records.clinic.draw import Clinic
from attending.records.clinic.leaks import FilmFile
from attending.records.clinic.reasons import Reason
from attending.records.clinic.world import DISEASES, SHADOWS, build_world
from attending.records.column import AT_QUESTION, Column, Role
from attending.records.schema import Companion, Sampling, Schema, Target, TargetKind
from attending.records.schema_file import to_toml

_IDENTITY = ("name", "record_number", "date_of_birth", "telephone")
_TIME = "%Y-%m-%d %H:%M:%S"


def write_clinic(clinic: Clinic, directory: str | Path) -> tuple[Path, ...]:
    """Write all files of a clinic into `directory` and return their paths, the table first.

    Raises `ClinicError` where the directory already holds something.
    """
    folder = Path(directory)
    if folder.exists() and any(folder.iterdir()):
        raise ClinicError(f"{folder}: is not empty; a clinic is written into a new folder, name another or remove it")
    written = []

    def write(name: str, content: bytes) -> None:
        artefacts.write_bytes(folder / name, content)
        written.append(folder / name)

    schema = clinic_schema(clinic)
    write("patients.csv", _csv(_patients(clinic, schema)))
    write("labs.csv", _csv(_labs(clinic.charts)))
    write("schema.toml", to_toml(schema).encode())
    write("README.md", _readme(clinic).encode())
    write("truth/oracle.csv", _csv(_oracle(clinic)))
    write("truth/reasons.json", (json.dumps(_reasons(clinic), indent=0) + "\n").encode())
    (folder / "images").mkdir()
    (folder / "truth" / "masks").mkdir()
    for case, chart in enumerate(clinic.charts):
        for scan in chart.of(Scan):
            # A film is a file among thousands: one rename each would cost more than the drawing.
            path = folder / clinic.films[case].path
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_png(scan.pixels, clinic.films[case]))
            written.append(path)
            flags = _mask_flags(clinic, case, scan.pixels.shape)
            if flags.any():
                path = folder / "truth" / "masks" / f"{chart.id}.png"
                Image.fromarray(flags).save(path)
                written.append(path)
    return tuple(written)


def clinic_schema(clinic: Clinic) -> Schema:
    """What the columns of `patients.csv` mean, and those of its companion `labs.csv`."""
    columns = [
        Column(name="visit_id", role=Role.ID, why="one row per visit"),
        Column(name="patient_id", role=Role.PATIENT, why="the person"),
        *(Column(name=name, role=Role.IDENTITY, why="names a person") for name in _IDENTITY),
        Column(name="site", role=Role.SITE, why="where the patient was seen"),
        Column(name="visited_at", role=Role.ASKED_AT, why="when the question is asked", unit="datetime"),
        Column(name="age", role=Role.AGE, unit="a", time=AT_QUESTION),
        Column(name="sex", role=Role.SEX, levels=("female", "male"), time=AT_QUESTION),
        Column(name="film", role=Role.IMAGE, why="path of the chest film", time=AT_QUESTION),
        Column(name="note", role=Role.NOTE, why="written before the question", time=AT_QUESTION),
        *(Column(name=name, role=Role.SIGN, levels=levels, time=AT_QUESTION) for name, levels in _sign_levels(clinic).items()),
        *(extra.column for extra in clinic.columns),
        *(Column(name=name, role=Role.TARGET, why="recorded diagnosis") for name in DISEASES),
    ]
    return Schema(
        columns=tuple(columns),
        targets=tuple(Target(column=name, kind=TargetKind.BINARY, classes=("0", "1"), positive="1") for name in DISEASES),
        population="patients of an invented clinic",
        prediction_time="the visit",
        reference_standard="the disease that the generator drew",
        sampling=Sampling.COHORT,
        companions=(
            Companion(
                kind="labs",
                id="visit_id",
                value="value",
                code="code",
                unit="unit",
                time="taken_at",
                time_unit="datetime",
                low="low",
                high="high",
            ),
        ),
    )


def _sign_levels(clinic: Clinic) -> dict[str, tuple[str, ...]]:
    levels = {f.name: f.levels for f in build_world(clinic.config).findings if f.modality == "signs"}
    for chart in clinic.charts:
        for sign in chart.of(Sign):
            levels.setdefault(sign.name, sign.levels)
    return levels


def _patients(clinic: Clinic, schema: Schema) -> Iterable[Sequence[str]]:
    header = [column.name for column in schema.columns]
    yield header
    for case, chart in enumerate(clinic.charts):
        cells = {
            "visit_id": chart.id,
            "patient_id": chart.patient,
            "site": chart.site or "",
            "visited_at": f"{chart.asked_at:{_TIME}}" if chart.asked_at else "",
            **chart.identity.values,
            **{extra.column.name: extra.cells[case] for extra in clinic.columns},
            **{name: str(int(value)) for name, value in chart.truth.items()},
        }
        for piece in chart.evidence:
            if isinstance(piece, Demographics):
                cells["age"] = f"{piece.age_years:g}" if piece.age_years is not None else ""
                cells["sex"] = piece.sex or ""
            elif isinstance(piece, Note):
                cells[piece.field_name] = piece.text
            elif isinstance(piece, Scan):
                cells[piece.field_name] = clinic.films[case].path
            elif isinstance(piece, Sign):
                cells[piece.name] = piece.value
        yield [cells.get(name, "") for name in header]


def _labs(charts: Iterable[Chart]) -> Iterable[Sequence[str]]:
    yield ("visit_id", "taken_at", "code", "value", "unit", "low", "high")
    for chart in charts:
        for lab in chart.of(Lab):
            assert chart.asked_at is not None
            assert lab.reference is not None
            taken = chart.asked_at + timedelta(hours=lab.at)
            low, high = lab.reference
            yield (chart.id, f"{taken:{_TIME}}", lab.code, f"{lab.value:.6g}", lab.unit.symbol, f"{low:.6g}", f"{high:.6g}")


def _oracle(clinic: Clinic) -> Iterable[Sequence[str]]:
    oracle = clinic.oracle
    posteriors: Mapping[str, np.ndarray] = {"full": oracle.full, "seen": oracle.seen, **oracle.modality}
    yield ("visit_id", *(f"{d}_true" for d in DISEASES), *(f"{d}_{name}" for name in posteriors for d in DISEASES))
    for case, chart in enumerate(clinic.charts):
        truth = [str(int(value)) for value in clinic.diseases[case]]
        yield (chart.id, *truth, *(f"{p:.9g}" for table in posteriors.values() for p in table[case]))


def _reasons(clinic: Clinic) -> dict[str, dict[str, list[dict[str, object]]]]:
    return {
        str(chart.id): {disease: [_reason(reason) for reason in found] for disease, found in reasons.items()}
        for chart, reasons in zip(clinic.charts, clinic.reasons, strict=True)
    }


def _reason(reason: Reason) -> dict[str, object]:
    plain: dict[str, object] = {"finding": reason.finding, "modality": reason.modality, "level": reason.level}
    return {**plain, "log_odds": round(reason.log_odds, 4), **_place(reason.place)}


def _place(place: Place) -> dict[str, object]:
    part = place.part
    if isinstance(part, Characters):
        return {"evidence": place.evidence, "characters": [part.start, part.stop]}
    if isinstance(part, Box):
        return {"evidence": place.evidence, "box": [part.top, part.left, part.bottom, part.right]}
    return {"evidence": place.evidence}


def _mask_flags(clinic: Clinic, case: int, shape: tuple[int, ...]) -> np.ndarray:
    """One byte per pixel; bit k is set within shadow k of `SHADOWS`."""
    flags = np.zeros(shape, dtype=np.uint8)
    for reason in clinic.reasons[case][DISEASES[0]]:
        if reason.mask is not None:
            flags |= reason.mask.astype(np.uint8) << SHADOWS.index(reason.finding)
    return flags


def _png(pixels: np.ndarray, file: FilmFile) -> bytes:
    """The film in the form it is written in; one that is not readable ends early."""
    whole = np.kron(pixels, np.ones((file.enlarged, file.enlarged), dtype=pixels.dtype))
    if file.bits == 16:
        image = Image.fromarray(np.round(whole * 65535.0).astype(np.uint16))
    else:
        image = Image.fromarray(np.round(whole * 255.0).astype(np.uint8))
    handle = io.BytesIO()
    image.save(handle, format="PNG")
    content = handle.getvalue()
    return content if file.is_readable else content[: len(content) // 3]


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    handle = io.StringIO()
    csv.writer(handle, lineterminator="\n").writerows(rows)
    return handle.getvalue().encode("utf-8")


def _readme(clinic: Clinic) -> str:
    bits = ", ".join(f"{1 << k} {name}" for k, name in enumerate(SHADOWS))
    return f"""# A synthetic clinic

Invented patients; no line of this describes a person, and nothing here is medical knowledge. {len(clinic.charts)} visits of
{clinic.config.n_patients} patients, seed {clinic.config.seed}.

    attending run patients.csv --labs labs.csv --schema schema.toml --target {",".join(DISEASES)} --out run

`truth/` is what only the maker knows and no model may read: `oracle.csv` (the diseases before label noise, and the exact
posteriors: full, seen, and per modality), `reasons.json` (for each visit and disease the findings expressed, where they
are, and what each adds to the log-odds) and `masks/` (one byte per pixel; bits {bits}).

Drawn with: `{clinic.config!r}`
"""
