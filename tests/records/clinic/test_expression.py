"""Films, notes and values say what the findings are: shadows where their masks are, spans that hold cue and symptom,
values on the right side of their range."""

import numpy as np
import pytest

from attending.case import Box, Characters, Lab, Note, Scan
from attending.records.clinic import ClinicConfig, draw_clinic
from attending.records.clinic.wording import FRAMES, SYMPTOM_NAMES
from attending.records.clinic.world import DISEASES, MARKERS, SHADOWS, SYMPTOMS, build_world


@pytest.fixture(scope="module", params=["development", "fresh"])
def clinic(request):
    return draw_clinic(ClinicConfig(n_patients=250, seed=51, style=request.param))


def _reasons(clinic):
    for case, chart in enumerate(clinic.charts):
        for reason in clinic.reasons[case][DISEASES[0]]:
            yield case, chart, reason


def test_a_shadow_is_cast_where_its_mask_is_and_nowhere_else():
    """The same patients with and without shadows: films differ only inside the masks (grain and exposure are the same)."""
    with_shadows = draw_clinic(ClinicConfig(n_patients=120, seed=52))
    without = draw_clinic(ClinicConfig(n_patients=120, seed=52, overlap=1.0, prevalence=1e-9))
    seen = set()
    for case, (one, other) in enumerate(zip(with_shadows.charts, without.charts, strict=True)):
        if not one.of(Scan):
            continue
        before = {r.finding: r.mask for r in without.reasons[case][DISEASES[0]] if r.mask is not None}
        after = {r.finding: r.mask for r in with_shadows.reasons[case][DISEASES[0]] if r.mask is not None}
        assert set(before) <= set(after)
        added = [after[name] for name in after if name not in before]
        difference = np.abs(one.of(Scan)[0].pixels - other.of(Scan)[0].pixels)
        if not added:
            assert difference.max() == 0.0
            continue
        covered = np.any(added, axis=0)
        assert difference[covered].sum() > 0.93 * difference.sum()
        seen |= set(after) - set(before)
    assert seen == set(SHADOWS)


def test_shadows_are_seen_and_placed(clinic):
    for _, chart, reason in _reasons(clinic):
        if reason.modality == "film":
            part = reason.place.part
            assert isinstance(part, Box)
            assert isinstance(chart.evidence[reason.place.evidence], Scan)
            rows, columns = np.nonzero(reason.mask)
            assert (part.top, part.left, part.bottom, part.right) == (
                rows.min(),
                columns.min(),
                rows.max() + 1,
                columns.max() + 1,
            )
    world = build_world(clinic.config)
    for case, chart in enumerate(clinic.charts):
        if chart.of(Scan):
            drawn = {r.finding for r in clinic.reasons[case][DISEASES[0]] if r.modality == "film"}
            there = {name for name in SHADOWS if clinic.facts.level[case, world.place(name)] == 1}
            assert drawn == there


def test_spans_hold_the_symptom_under_a_cue_of_its_sign(clinic):
    frames = FRAMES[clinic.config.style]
    cues = {
        "present": [frame.split("{0}")[0].strip() for frame in frames.affirmed],
        "absent": [frame.split("{0}")[0].strip() for frame in frames.denied],
    }
    joints = {"present": "and", "absent": "or"}
    found = 0
    for _, chart, reason in _reasons(clinic):
        if reason.finding in SYMPTOMS:
            part = reason.place.part
            assert isinstance(part, Characters)
            note = chart.evidence[reason.place.evidence]
            assert isinstance(note, Note)
            said = note.text[part.start : part.stop]
            assert any(said.endswith(name) for name in SYMPTOM_NAMES[reason.finding])
            assert said.startswith((*cues[reason.level], f"{joints[reason.level]} "))
            found += 1
    assert found > 300


def test_a_level_can_be_read_from_value_and_range_but_not_from_the_value(clinic):
    values = {code: {"high": [], "normal": []} for code in MARKERS}
    for _, chart, reason in _reasons(clinic):
        if reason.finding in MARKERS:
            lab = chart.evidence[reason.place.evidence]
            assert isinstance(lab, Lab)
            low, high = lab.reference
            assert (lab.value > high) == (reason.level == "high")
            assert lab.value > low
            values[lab.code][reason.level].append(lab.value)
    for levels in values.values():
        assert np.quantile(levels["normal"], 0.9) > np.quantile(levels["high"], 0.4)


def test_film_size_shows_the_same_patient():
    small = draw_clinic(ClinicConfig(n_patients=30, seed=53, film_size=48))
    large = draw_clinic(ClinicConfig(n_patients=30, seed=53, film_size=96))
    for one, other in zip(small.charts, large.charts, strict=True):
        if one.of(Scan):
            halved = other.of(Scan)[0].pixels.reshape(48, 2, 48, 2).mean(axis=(1, 3))
            assert np.corrcoef(one.of(Scan)[0].pixels.ravel(), halved.ravel())[0, 1] > 0.97


def test_styles_share_no_frame():
    development, fresh = FRAMES["development"], FRAMES["fresh"]
    for name in ("affirmed", "denied", "elsewhere", "on_steroids", "off_steroids", "openings", "fillers"):
        assert not set(getattr(development, name)) & set(getattr(fresh, name))
