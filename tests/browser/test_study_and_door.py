"""A reader study and signing in, as a person does them in a real browser."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from attending.model.trained import TrainedModel
from attending.reading_room.judgement import DECISIONS
from attending.reading_room.room import RoomPlan
from attending.service.credentials import new_token, read_tokens
from tests.browser.chromium import Page
from tests.browser.conftest import PICTURES
from tests.reading_room.rooms import stream_of
from tests.service.asking import listening

pytestmark = pytest.mark.browser


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.csv"


@pytest.fixture
def study(model: TrainedModel, table: Path, file: Path) -> Iterator[str]:
    plan = RoomPlan(stream=stream_of(model, table), study=file, study_seed=3, reader="anna")
    with listening(model, pages=plan.open) as made:
        yield made


def test_a_reader_judges_before_and_after(page: Page, study: str, file: Path) -> None:
    page.look(width=768)
    page.go(study)
    page.arrive("location.pathname === '/room/study'")
    assert "Case 1 of 44" in page.text("h1")
    assert "%" not in page.text("main")
    page.picture(PICTURES / "study-before.png")
    page.press("i")
    assert page.value("document.activeElement.name") == "judgement-0"
    page.write("40")
    page.press("Enter")
    page.arrive("document.querySelector('.estimates')")
    assert "40 before" in page.text(".judge")
    page.picture(PICTURES / "study-after.png")
    share = page.text(".estimates b").removesuffix(" %")
    model_is_above = float(share.removeprefix("below ").removeprefix("above ")) >= 50
    page.value("document.querySelector('[name=judgement-0]').focus()")
    page.write("10" if model_is_above else "90")
    page.press("Enter")
    page.arrive("document.querySelector('.refused')")
    assert "say why" in page.text(".refused")
    page.picture(PICTURES / "study-reason.png")
    page.value("document.querySelector('[name=reason-0]').focus()")
    page.write("=1+1 the film")
    page.press("Enter")
    page.arrive("document.querySelector('h1').innerText.includes('Case 2 of 44')")
    assert page.text(".estimates") == ""
    page.value("1")
    assert all("422" in complaint for complaint in page.complaints)
    page.complaints.clear()
    with file.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["stage"] for row in rows] == ["opened", "before", "after", "opened"]
    assert rows[2]["override_reason"] == "'=1+1 the film"
    assert float(rows[1]["seconds"]) > 0


def test_a_reader_decides_yes_or_no_with_a_confidence(page: Page, model: TrainedModel, table: Path, file: Path) -> None:
    plan = RoomPlan(stream=stream_of(model, table), study=file, study_seed=3, reader="anna", scale=DECISIONS)
    with listening(model, pages=plan.open) as address:
        for width, dark in ((1280, True), (768, True), (1280, False), (768, False)):
            page.look(width=width, dark=dark)
            page.go(address)
            page.arrive("document.querySelector('.decision')")
            page.picture(PICTURES / f"study-decision-{width}-{'dark' if dark else 'light'}.png")
            assert page.value("document.documentElement.scrollWidth <= innerWidth")
        page.press("i")
        assert page.value("document.activeElement.type") == "radio"
        page.press("Space", "Tab")
        assert page.value("document.activeElement.name") == "confidence-0"
        page.write("80")
        page.press("Enter")
        page.arrive("document.querySelector('.estimates')")
        assert "yes, confidence 80 before" in page.text(".judge")
        page.picture(PICTURES / "study-decision-after.png")
        page.click('.judge input[value="no"]')
        page.value("document.querySelector('[name=confidence-0]').focus()")
        page.write("55")
        page.value("document.querySelector('[name=reason-0]').focus()")
        page.write("the film")
        page.press("Enter")
        page.arrive("document.querySelector('h1').innerText.includes('Case 2 of 44')")
    with file.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["judgement"], row["confidence"]) for row in rows[:3]] == [("", ""), ("yes", "80"), ("no", "55")]


def test_a_person_signs_in_and_out(page: Page, model: TrainedModel, table: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    secret = new_token(tokens, "ward-7")
    credentials = read_tokens(tokens)
    plan = RoomPlan(stream=stream_of(model, table), credentials=credentials)
    with listening(model, credentials=credentials, pages=plan.open) as address:
        page.go(address)
        page.arrive("location.pathname === '/room/sign-in'")
        page.picture(PICTURES / "sign-in.png")
        page.wait("document.activeElement.name === 'token'")
        page.write("att_wrong")
        page.press("Enter")
        page.arrive("document.querySelector('.refused')")
        page.value("document.querySelector('[name=token]').focus()")
        page.write(secret)
        page.press("Enter")
        page.arrive("document.querySelectorAll('[data-row]').length === 20")
        assert page.value("document.cookie") == ""
        page.click("[data-row]")
        page.wait("document.querySelector('[data-part=looking]')?.dataset.marks === 'on'")
        page.click(".top button")
        page.arrive("location.pathname === '/room/sign-in'")
        page.go(address)
        page.arrive("location.pathname === '/room/sign-in'")
        page.value("1")
        assert all("401" in complaint for complaint in page.complaints)
        page.complaints.clear()
