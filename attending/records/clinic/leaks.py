"""The traps T1 to T12 of the audit, planted: repeated patients, late values, columns written after the fact, and their like.

What each plants, at strength s:
T1  15 % · s of the patients come again under another patient id, with the same identity columns
T2  a lactate, taken after the visit in a share s of the rows, that knows the disease
T3  a share s of those with the first disease is watched for days, the others for hours: more values, older ones
T4  `discharge_code`, a sign that codes the recorded disease of a share s, and `days_of_antibiotics`
T5  "Known <disease>." in the notes of a share s of the diseased (`cues.py`)
T6  a share s of those with the first disease is seen at the second site, whose films carry a letter (`cues.py`)
T7  `source` is one archive for the first disease and another for the rest, but for a share 1 − s
T8  the first disease's films lie in their own folder, are larger and 16 bit deep, in a share s
T9  half · s of the films is saturated (`cues.py`) and written with 16 bit
T10 30 % · s of the films cannot be read
T11 patients without any disease have no laboratory values, in a share s
T12 15 % · s of the cases occur again under another patient and name: the film exact, brighter, mirrored or cropped
T2, T4, T7, T8 and T10 are in the written files only; the others change the charts too. No oracle and no reason knows of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.people import People
from attending.records.clinic.streams import Streams
from attending.records.clinic.world import DISEASES, MODALITIES
from attending.records.column import AT_QUESTION, Column, Role

DISCHARGE_CODES: tuple[str, ...] = ("J18.9", "I50.9", "I26.9", "C34.9")
_NO_CODE = "R07.4"
_REPEATED = 0.15


@dataclass(frozen=True, kw_only=True)
class ExtraColumn:
    """A table column that is in no chart: what it means, and its cell for each case."""

    column: Column
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FilmFile:
    """How the film of a case is written: path in the clinic's folder, bits per pixel, enlargement, and whether it is whole."""

    path: str
    bits: int = 8
    enlarged: int = 1
    is_readable: bool = True


def repeat_people(config: ClinicConfig, streams: Streams, people: People) -> tuple[People, Int[np.ndarray, " case"]]:
    """The people with repeats (T1, T12) at the end, and per case which disguise its film wears (-1: not a repeated film)."""
    leaks = config.leak_strengths
    disguise = np.full(len(people.patient), -1)
    for trap, is_same_person in (("T1", True), ("T12", False)):
        n = len(people.patient)
        u = streams.uniform(f"leak {trap}", people.row, 2)
        original = people.written_as == people.patient
        again = np.flatnonzero(original & (u[:, 0] < _REPEATED * leaks.get(trap, 0.0)))
        if not len(again):
            continue
        number = config.n_patients * (2 if is_same_person else 3) + again
        later = timedelta(days=4 if is_same_person else 400)
        people = replace(
            people,
            patient=np.concatenate([people.patient, people.patient[again]]),
            # The same person comes again with new findings; the same case comes again as it was.
            visit=np.concatenate([people.visit, people.visit[again] + (500 if is_same_person else 0)]),
            written_as=np.concatenate([people.written_as, number]),
            name_of=np.concatenate([people.name_of, people.patient[again] if is_same_person else number]),
            age_years=np.concatenate([people.age_years, people.age_years[again]]),
            male=np.concatenate([people.male, people.male[again]]),
            born=(*people.born, *(people.born[case] for case in again)),
            asked_at=(*people.asked_at, *(people.asked_at[case] + later for case in again)),
        )
        kind = (u[again, 1] * 4).astype(int) if not is_same_person else np.full(len(again), -1)
        disguise = np.concatenate([disguise[:n], kind])
    return people, disguise


def written_sites(
    config: ClinicConfig, streams: Streams, people: People, *, diseases: Bool[np.ndarray, "case disease"], site: np.ndarray
) -> Int[np.ndarray, " case"]:
    """The site that the table gives (T6)."""
    moved = streams.uniform("leak T6", people.patient, 1)[:, 0] < config.leak_strengths.get("T6", 0.0)
    return np.where(moved & diseases[:, 0], 1, np.where(moved & (site == 1), 0, site))


def withhold(
    config: ClinicConfig, streams: Streams, people: People, diseases: np.ndarray, present: Bool[np.ndarray, "case modality"]
) -> Bool[np.ndarray, "case modality"]:
    """Which modalities are there after T11."""
    withheld = streams.uniform("leak T11", people.row, 1)[:, 0] < config.leak_strengths.get("T11", 0.0)
    kept = present.copy()
    kept[:, MODALITIES.index("labs")] &= diseases.any(axis=1) | ~withheld
    return kept


def watch_longer(
    config: ClinicConfig, streams: Streams, people: People, diseases: np.ndarray, hours: Float[np.ndarray, " case"]
) -> tuple[Float[np.ndarray, " case"], Int[np.ndarray, " case"]]:
    """When values were taken, and how often each was, after T3. Repeats lie evenly between that hour and the visit."""
    u = streams.uniform("leak T3", people.row, 2)
    watched = diseases[:, 0] & (u[:, 0] < config.leak_strengths.get("T3", 0.0))
    return np.where(watched, -np.round(24.0 + 48.0 * u[:, 1]), hours), np.where(watched, 3, 1)


def disguised(
    pixels: Float[np.ndarray, "height width"], masks: Bool[np.ndarray, "shadow height width"], disguise: int
) -> tuple[Float[np.ndarray, "height width"], Bool[np.ndarray, "shadow height width"]]:
    """A film again: 0 exactly, 1 brighter, 2 mirrored, 3 cropped by a sixteenth on each side."""
    if disguise == 1:
        return (np.round(pixels**0.9 * 255.0) / 255.0).astype(np.float32), masks
    if disguise == 2:
        return pixels[:, ::-1].copy(), masks[:, :, ::-1].copy()
    if disguise == 3:
        size = len(pixels)
        margin = size // 16
        back = margin + (np.arange(size) * (size - 2 * margin)) // size
        return pixels[np.ix_(back, back)], masks[:, back][:, :, back]
    return pixels, masks


def extra_columns(
    config: ClinicConfig, streams: Streams, people: People, diseases: Bool[np.ndarray, "case disease"]
) -> tuple[ExtraColumn, ...]:
    """Columns without meaning, and those of T2, T4 and T7."""
    noise = streams.normal("noise columns", people.row, config.noise_columns)
    columns = [
        _number(f"measure_{k + 1:03d}", "1", AT_QUESTION, [f"{value:.4g}" for value in noise[:, k]])
        for k in range(config.noise_columns)
    ]
    leaks = config.leak_strengths
    n, first = len(people.patient), diseases[:, 0]
    if "T2" in leaks:
        u, z = streams.uniform("leak T2", people.row, 2), streams.normal("leak T2 value", people.row, 1)[:, 0]
        late = u[:, 0] < leaks["T2"]
        value = np.exp(0.3 + 0.35 * z + 1.2 * (late & first))
        hours = np.where(late, 6.0 + 30.0 * u[:, 1], -6.0 * u[:, 1])
        moments = [_moment(asked, hour) for asked, hour in zip(people.asked_at, hours, strict=True)]
        columns.append(_number("lactate", "mmol/L", "lactate_taken_at", [f"{v:.3g}" for v in value]))
        columns.append(_extra(Column(name="lactate_taken_at", role=Role.TIME, unit="datetime"), moments))
    if "T4" in leaks:
        coded = streams.uniform("leak T4", people.row, 1)[:, 0] < leaks["T4"]
        codes = [DISCHARGE_CODES[int(diseases[k].argmax())] if coded[k] and diseases[k].any() else _NO_CODE for k in range(n)]
        levels = (*DISCHARGE_CODES, _NO_CODE)
        columns.append(_extra(Column(name="discharge_code", role=Role.SIGN, levels=levels, time=AT_QUESTION), codes))
        days = np.where(coded & first, 5 + people.row % 5, people.row % 2)
        columns.append(_number("days_of_antibiotics", "d", AT_QUESTION, [str(day) for day in days]))
    if "T7" in leaks:
        honest = streams.uniform("leak T7", people.row, 2)
        in_first = np.where(honest[:, 0] < leaks["T7"], first, honest[:, 1] < 0.5)
        columns.append(_extra(Column(name="source", role=Role.STRATUM), [f"archive {'A' if a else 'B'}" for a in in_first]))
    return tuple(columns)


def film_files(
    config: ClinicConfig, streams: Streams, people: People, *, names: list[str], diseases: np.ndarray, saturated: np.ndarray
) -> tuple[FilmFile, ...]:
    """How each film is written, by the name of its case, after T8, T9 and T10."""
    u = streams.uniform("leak film file", people.row, 2)
    leaks: Mapping[str, float] = config.leak_strengths
    files = []
    for case, name in enumerate(names):
        folder, bits, enlarged = "images", 8, 1
        if u[case, 0] < leaks.get("T8", 0.0):
            is_first = bool(diseases[case, 0])
            folder = f"images/{DISEASES[0] if is_first else 'controls'}"
            bits, enlarged = (16, 2) if is_first else (8, 1)
        if saturated[case]:
            bits = 16
        is_readable = bool(u[case, 1] >= 0.3 * leaks.get("T10", 0.0))
        files.append(FilmFile(path=f"{folder}/{name}.png", bits=bits, enlarged=enlarged, is_readable=is_readable))
    return tuple(files)


def _number(name: str, unit: str, time: str, cells: list[str]) -> ExtraColumn:
    return _extra(Column(name=name, role=Role.NUMBER, unit=unit, time=time), cells)


def _extra(column: Column, cells: list[str]) -> ExtraColumn:
    return ExtraColumn(column=column, cells=tuple(cells))


def _moment(asked_at: datetime, hours: float) -> str:
    return f"{asked_at + timedelta(minutes=round(hours * 60.0)):%Y-%m-%d %H:%M:%S}"
