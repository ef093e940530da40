"""Films that are one are found, mirrored, cropped, brighter and noisier; films that share their anatomy only are not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from attending.audit import Material, Severity
from attending.audit.repeats import RepeatsCheck
from attending.audit.twins import Box, Likeness, film_twins
from attending.case import Embedding, Scan
from attending.intake import LONGEST_SIDE
from attending.records import infer_schema, read_charts, read_table
from tests.tables import rows, write_rows

SIDE = 192
CROPS = (0.05, 0.10, 0.20)
"""Shares cut off on each of the four sides."""


def chests(n: int, *, seed: int = 0, side: int = SIDE) -> list[np.ndarray]:
    """Films with one anatomy and their own coarse and fine structure, grey from 0 to 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    anatomy = sum(np.exp(-(((x - c) / 0.35) ** 2) - (y / 0.6) ** 2) for c in (-0.45, 0.45))
    drawn = []
    for _ in range(n):
        own = sum(a * _structure(rng, side, s) for a, s in ((0.25, side / 12), (0.12, side / 40), (0.05, 1.5)))
        drawn.append(np.clip(0.75 - 0.5 * anatomy + own, 0.0, 1.0).astype(np.float32))
    return drawn


def _structure(rng: np.random.Generator, side: int, scale: float) -> np.ndarray:
    field = gaussian_filter(rng.normal(size=(side, side)), scale)
    return np.asarray(field / field.std())


def changed(
    film: np.ndarray, *, crop: tuple[float, float, float, float] = (0, 0, 0, 0), is_mirrored: bool = False
) -> np.ndarray:
    """The film cropped (left, top, right, bottom) and scaled to its old size, mirrored, brighter, with new noise, in 8 bits."""
    height, width = film.shape
    left, top, right, bottom = crop
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    cut = np.asarray(Image.fromarray(film).resize((width, height), Image.Resampling.BICUBIC, box=box))
    noisy = np.clip(cut, 0.0, 1.0) ** 0.85 + 0.01 * np.random.default_rng(9).normal(size=cut.shape)
    held = np.round(255 * np.clip(noisy, 0.0, 1.0)).astype(np.float32) / 255
    return held[:, ::-1] if is_mirrored else held


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_even_crops_to_a_fifth_of_each_side_are_found_and_strangers_are_not(is_mirrored: bool) -> None:
    films = chests(40)
    twins = [
        changed(films[at], crop=(crop, crop, crop, crop), is_mirrored=is_mirrored) for at, crop in enumerate((0.0, *CROPS))
    ]
    expected = {(at, 40 + at) for at in range(len(twins))}
    assert film_twins([*films, *twins], Likeness()) == expected


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("crop", CROPS)
def test_one_side_a_corner_or_two_facing_sides_may_lose_a_fifth(crop: float, is_mirrored: bool) -> None:
    films = chests(40, seed=1)
    sides = ((0, 0, 0, 1), (1, 0, 0, 0), (1, 1, 0, 0), (0, 0, 1, 1), (1, 0, 1, 0), (0, 1, 0, 1))
    crops = [(crop * left, crop * top, crop * right, crop * bottom) for left, top, right, bottom in sides]
    twins = [changed(films[at], crop=crop, is_mirrored=is_mirrored) for at, crop in enumerate(crops)]
    assert film_twins([*films, *twins], Likeness()) == {(at, 40 + at) for at in range(len(twins))}


def test_strangers_of_one_anatomy_are_never_one() -> None:
    assert not film_twins(chests(150, seed=2), Likeness())


def test_nothing_is_sought_among_thumbnails() -> None:
    small = [film[::6, ::6] for film in chests(4, seed=3)]
    assert not film_twins([*small, small[0]], Likeness())


@pytest.mark.data("covidcxr")
def test_real_films_mirrored_and_cropped_are_found_among_all_others(real: Path) -> None:
    """Even and one-sided crops all, own shares of each side to a tenth nearly all, and nothing that is not known to be one."""
    table = read_table(real)
    records = read_charts(table, infer_schema(table, targets=["dx"]), longest_side=LONGEST_SIDE)
    group_of = dict(zip(table.cells("study_id"), table.cells("group_id"), strict=True))
    held = [(group_of[str(chart.id)], scan.pixels) for chart in records.charts for scan in chart.of(Scan)][:240]
    films, rng = [film for _, film in held], np.random.default_rng(0)
    chosen = [at for at, film in enumerate(films) if min(film.shape) >= 160][::4][:45]
    kinds = [*((crop, "even") for crop in (0.0, *CROPS)), *((crop, "one side") for crop in CROPS), (0.1, "each its own")]
    found: dict[tuple[float, str], list[bool]] = {kind: [] for kind in kinds}
    boxes = [_box(*kinds[number % len(kinds)], rng) for number in range(len(chosen))]
    twins = [changed(films[at], crop=box, is_mirrored=at % 2 == 0) for at, box in zip(chosen, boxes, strict=True)]
    pairs = film_twins([*films, *twins], Likeness())
    for number, at in enumerate(chosen):
        found[kinds[number % len(kinds)]].append((at, len(films) + number) in pairs)
    assert all(all(hits) for (_, kind), hits in found.items() if kind != "each its own"), found
    assert np.mean(found[0.1, "each its own"]) >= 0.8, found
    source = [*range(len(films)), *chosen]
    assert all(held[source[a]][0] == held[source[b]][0] for a, b in pairs)


def _box(crop: float, kind: str, rng: np.random.Generator) -> Box:
    side = int(rng.integers(4))
    left, top, right, bottom = (
        {"even": crop, "one side": crop * (at == side), "each its own": float(rng.uniform(0, crop))}[kind] for at in range(4)
    )
    return left, top, right, bottom


def looked_at(folder: Path, vectors: np.ndarray) -> Material:
    """A table with a vector for each patient."""
    entries = [
        {**row, **{f"emb_{k}": f"{number:.7g}" for k, number in enumerate(vector)}}
        for row, vector in zip(rows(len(vectors)), vectors, strict=True)
    ]
    table = read_table(write_rows(folder / "table.csv", entries))
    schema = infer_schema(table, targets=["sick"], ignore=["kind", "a", "b"])
    return Material(table=table, records=read_charts(table, schema))


def test_vectors_that_are_one_warn_and_those_of_like_patients_do_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3, 24))[np.arange(60) % 3] + 0.3 * rng.normal(size=(60, 24)) + 4.0
    material = looked_at(tmp_path, vectors)
    assert len(material.charts[0].of(Embedding)) == 1
    assert not RepeatsCheck().look(material)
    vectors[50] = vectors[7]
    vectors[51] = vectors[8] + 0.002 * rng.normal(size=24)
    (told,) = RepeatsCheck().look(looked_at(tmp_path, vectors))
    assert (told.trap, told.severity) == ("T12", Severity.WARN)
    assert told.rows == ("row 9", "row 10", "row 52", "row 53")
    assert "4 cases, 2 pairs" in told.evidence
    assert "--group COLUMN" in told.remedy


def test_a_vector_that_everybody_shares_is_told_without_naming_every_pair(tmp_path: Path) -> None:
    vectors = np.random.default_rng(6).normal(size=(80, 24))
    vectors[:50] = 1.0
    (told,) = RepeatsCheck().look(looked_at(tmp_path, vectors))
    assert len(told.rows) == 50
    assert "49 pairs" in told.evidence
