"""A person reads in a real browser: the list, a case, marks, what-if, the film; by mouse, by keyboard, without scripts."""

import json
import time
from pathlib import Path

import pytest

from attending.explanation.assessment import Assessed, Ground, assess
from attending.explanation.catalog import explainer_named
from attending.model.trained import TrainedModel
from attending.reading_room.asking import METHOD
from attending.reading_room.room import RoomPlan
from tests.browser.chromium import Page
from tests.browser.conftest import PICTURES
from tests.reading_room.rooms import stream_of
from tests.service.asking import listening

pytestmark = pytest.mark.browser
MARKED = "document.querySelector('[data-part=looking]')?.dataset.marks === 'on'"
SECOND = "document.querySelectorAll('[data-row]')[1]"
SCRIPTED, NOTHING = 40, 43


def note(name: str, told: str) -> None:
    """Keep what was measured beside the pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.txt").write_text(told + "\n", encoding="utf-8")


def open_case(page: Page, address: str, number: int = 1) -> None:
    page.go(f"{address}/?from={number}")
    page.click("[data-row]")
    page.arrive("document.querySelector('[data-case]')")


def test_the_first_view_is_there_within_a_second(page: Page, address: str) -> None:
    began = time.monotonic()
    page.go(address)
    seconds = time.monotonic() - began
    page.wait("performance.getEntriesByName('first-contentful-paint').length")
    painted = page.value("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    note("first-view", f"loaded after {seconds:.2f} s, first painted after {painted:.0f} ms")
    assert page.value("document.querySelectorAll('[data-row]').length") == 20
    assert page.text(".banner").startswith("Research software, not a medical device.")
    assert 0 < painted < 1000


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (768, False), (768, True)])
def test_pages_fit_their_window_in_light_and_dark(page: Page, address: str, width: int, dark: bool) -> None:
    page.look(width=width, dark=dark)
    name = f"{width}-{'dark' if dark else 'light'}"
    page.go(address)
    page.picture(PICTURES / f"list-{name}.png")
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    open_case(page, address)
    page.wait(MARKED)
    page.picture(PICTURES / f"case-{name}.png")
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    light = page.value("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)[0] > 128")
    assert light is not dark
    page.go(f"{address}/room/model")
    page.picture(PICTURES / f"limits-{name}.png")
    assert page.value("document.documentElement.scrollWidth <= innerWidth")


def test_a_case_is_opened_and_marks_come_after_it(page: Page, address: str) -> None:
    open_case(page, address)
    assert "What the model answers" in page.text("main")
    page.wait(MARKED)
    assert page.value("document.querySelectorAll('mark').length") > 0
    assert page.value("document.querySelectorAll('.marks rect').length") > 0
    assert page.value("document.querySelectorAll('.weight').length") > 0
    overlay, film = (
        page.value(f"(r => [r.width, r.height])(document.querySelector('{what}').getBoundingClientRect())")
        for what in (".marks svg", ".film img")
    )
    assert overlay == pytest.approx(film, abs=1.5)


def test_marks_can_be_switched_off_and_on(page: Page, address: str) -> None:
    open_case(page, address)
    page.wait(MARKED)
    page.click('[data-look="off"]')
    page.wait("document.querySelectorAll('mark').length === 0 && document.querySelectorAll('.marks rect').length === 0")
    page.click("[data-look]")
    page.wait("document.querySelectorAll('mark').length > 0")


def test_marks_are_measured_when_that_is_asked_for(page: Page, address: str) -> None:
    open_case(page, address)
    page.wait(MARKED)
    assert "Not assessed" in page.text("p.truth")
    page.click("[data-truth]")
    page.wait("document.querySelector('#truth table')")
    assert "this case, your data" in page.text("#truth")
    page.picture(PICTURES / "truth.png")


def test_what_was_found_over_many_patients_stands_below_the_marks(page: Page, model: TrainedModel, table: Path) -> None:
    stream = stream_of(model, table)
    (figures,) = assess(model, stream.take_in(0, 12).intake.cases, [explainer_named(METHOD)], reference=())
    ground = Ground(
        table=table.name, table_sha256="0" * 64, at="2026-11-21T12:00:00Z", software="0", seed=0,
        is_synthetic=False, is_training=False,
    )  # fmt: skip
    plan = RoomPlan(stream=stream, assessed={METHOD: Assessed(figures=figures, ground=ground)})
    with listening(model, pages=plan.open) as address:
        for width, dark in ((1280, True), (768, True), (768, False), (1280, False)):
            page.look(width=width, dark=dark)
            open_case(page, address)
            page.wait(MARKED)
            page.picture(PICTURES / f"assessed-{width}-{'dark' if dark else 'light'}.png")
            assert "12 patients of cases.csv, 2026" in page.text("#truth")
            assert "On this case not assessed." in page.text("p.truth")
            assert page.value("document.documentElement.scrollWidth <= innerWidth")
        page.click("[data-truth]")
        page.wait("document.querySelector('#truth').innerText.includes('this case, your data')")
        assert "12 patients of cases.csv" in page.text("#truth")
        page.picture(PICTURES / "assessed-and-measured.png")
        page.go(f"{address}/room/model")
        assert "measured on 12 patients of cases.csv" in page.text("main")
        page.picture(PICTURES / "limits-assessed.png")


def test_a_modality_off_and_another_value_update_at_once(page: Page, address: str) -> None:
    open_case(page, address)
    page.wait(MARKED)
    before = page.text(".estimates b")
    page.click('input[name=off][value="image"]')
    page.wait("document.querySelector('[data-then]').dataset.turn === '1'")
    assert "Changed: without film." in page.text("[data-then]")
    assert page.text("[data-rows] td") == before
    page.picture(PICTURES / "if-film-off.png")
    first = page.text("[data-rows] b")
    field = "[name^=value-]"
    page.value(f"document.querySelector('{field}').focus()")
    page.write("250")
    page.wait("document.querySelector('[data-then]').dataset.turn === '2'")
    assert "crp 250" in page.text("[data-told]")
    took = int(page.value("document.querySelector('[data-then]').dataset.ms"))
    note("what-if", f"a changed value was answered after {took} ms")
    assert first
    page.value(f"document.querySelector('{field}').focus()")
    page.write("much")
    page.wait("document.querySelector('[data-told]').textContent.includes('is not a number')")
    page.click("button[type=reset]")
    page.wait("document.querySelector('[data-told]').textContent === 'Nothing is changed.'")
    page.complaints.clear()  # the 422 of "much" is told in the console too
    assert page.text("[data-rows] td") == before


def test_the_film_is_zoomed_moved_and_windowed(page: Page, address: str) -> None:
    open_case(page, address)
    page.wait(MARKED)
    scale = "document.querySelector('[data-film]').dataset.scale"
    placed = "getComputedStyle(document.querySelector('[data-sheet]')).transform"
    page.click("[data-zoom=in]")
    page.click("[data-zoom=in]")
    assert page.value(scale) == "1.96"
    before = page.value(placed)
    page.drag(".view", by=(40, 30))
    assert page.value(placed) != before
    page.value("document.querySelector('[data-film]').focus()")
    page.press("+", "ArrowRight", "ArrowDown")
    assert float(page.value(scale)) == pytest.approx(1.4**3, abs=0.01)
    page.picture(PICTURES / "film-zoomed.png")
    page.press("0")
    assert page.value(scale) == "1.00"
    page.value("document.querySelector('[data-window]').focus()")
    page.press(*["ArrowLeft"] * 30)
    assert page.value("document.querySelector('.film img').style.filter").startswith("url(")
    slope = float(page.value("document.querySelector('feFuncR').getAttribute('slope')"))
    assert slope == pytest.approx(100 / 70, abs=0.01)
    page.picture(PICTURES / "film-window.png")
    page.click("[data-reset]")
    assert page.value("document.querySelector('.film img').style.filter") == ""


def test_by_keyboard_alone(page: Page, address: str) -> None:
    page.go(address)
    page.press("Tab")
    assert page.value("document.activeElement.className") == "skip"
    assert page.value("document.activeElement.getBoundingClientRect().x >= 0")
    page.press("?")
    page.wait("document.querySelector('#keys.is-called[open]')")
    page.picture(PICTURES / "keys.png")
    page.press("Escape", "j", "j")
    assert page.value(f"document.activeElement === {SECOND}")
    ring = page.value("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    page.press("Enter")
    page.arrive("document.querySelector('[data-case]')")
    page.wait(MARKED)
    first = page.value("document.querySelector('[data-case]').dataset.case")
    page.press("o")
    page.wait(f"!({MARKED})")
    page.press("1")
    page.wait(MARKED)
    page.press("f")
    assert page.value("document.activeElement.matches('[data-film]')")
    page.press("+")
    assert page.value("document.activeElement.dataset.scale") == "1.40"
    page.press("i")
    assert page.value("document.activeElement.name") == "off"
    page.press("Space")
    page.wait("document.querySelector('[data-then]').dataset.turn === '1'")
    page.press("Escape", "n")
    page.arrive(f"document.querySelector('[data-case]') && document.querySelector('[data-case]').dataset.case !== '{first}'")
    page.press("p")
    page.arrive(f"document.querySelector('[data-case]') && document.querySelector('[data-case]').dataset.case === '{first}'")
    page.press("l")
    page.arrive("document.querySelector('[data-row]')")
    page.press("/")
    assert page.value("document.activeElement.name") == "id"
    page.write(first[:8])
    page.press("Enter")
    page.wait("document.querySelectorAll('[data-row]').length === 1")


def test_everything_can_be_reached_by_tab(page: Page, address: str) -> None:
    open_case(page, address)
    page.wait(MARKED)
    reached = set()
    page.value("document.body.focus()")
    for _ in range(80):
        page.press("Tab")
        told = page.value(
            "(e => e === document.body ? '' : [e.tagName, e.name || e.dataset.look || e.textContent.trim().slice(0, 20)]"
            ".join(' '))(document.activeElement)"
        )
        reached.add(told)
        if told and told != "BODY":
            assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none", told
    for wanted in ("INPUT off", "BUTTON Ask", "A sick", "A off", "A Next", "SUMMARY Keys"):
        assert wanted in reached, (wanted, reached)


def test_without_scripts_a_case_is_read_by_links_and_forms(page: Page, address: str) -> None:
    page.without_scripts()
    open_case(page, address)
    assert page.value("document.querySelectorAll('mark').length") == 0
    assert "pixels" in page.text("figcaption")
    assert page.value("document.querySelector('[data-tools]').hidden")
    page.click("[data-look]")
    page.wait("document.querySelectorAll('mark').length > 0")
    page.picture(PICTURES / "case-without-scripts.png")
    page.click('input[name=off][value="note"]')
    page.click(".actions button")
    page.wait("document.querySelector('[data-told]').textContent.includes('without note')")
    assert page.value("document.querySelectorAll('[data-rows] tr').length") == 1


def test_a_script_in_a_note_is_read_and_not_run(page: Page, address: str) -> None:
    open_case(page, address, SCRIPTED)
    page.wait(MARKED)
    assert '<script>alert("Zwentibold")</script>' in page.text(".note")
    assert page.value("document.querySelectorAll('.note script, .note img').length") == 0
    page.picture(PICTURES / "hostile-note.png")


def test_a_case_of_nothing_abstains(page: Page, address: str) -> None:
    open_case(page, address, NOTHING)
    assert "The model abstains: no evidence of a kind that the model reads" in page.text(".answer")
    assert page.value("document.querySelectorAll('[data-look]').length") == 0
    page.picture(PICTURES / "abstains.png")


def test_an_unknown_case_is_a_page(page: Page, address: str) -> None:
    page.go(f"{address}/room/cases/nobody")
    assert "There is nothing here" in page.text("main")
    page.picture(PICTURES / "nothing-here.png")
    page.value("1")
    assert all("404" in complaint for complaint in page.complaints), json.dumps(page.complaints)
    page.complaints.clear()
