"""Studies side by side: what is compared is on the same cases, and every figure is that of the study it came from."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from attending.commands.varying import Question, asked_of, compare_variants, hold_variants
from attending.evaluation import Result
from attending.intake import declare, read_table
from attending.report import ReportError
from attending.report.side_by_side import SideBySide, Variant, write_side_by_side
from attending.study import Plan
from tests.tables import rows, tiny_recipe, write_rows

PLAN = Plan(protocol="cv", folds=2, repeats=1, threads=1, recipe=tiny_recipe())
PAIRS = (("everything", "without-value"), ("everything", "never-held"))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Question], SideBySide]:
    """Two of three variants held, side by side."""
    out = tmp_path_factory.mktemp("variants")
    table = write_rows(out / "table.csv", rows(60))
    read = read_table(table)

    def question(name: str, *ignore: str) -> Question:
        ignored = ("kind", "a", "b", *ignore)
        schema = declare(read, schema=None, targets=("sick",), positive="yes", ignore=ignored, only=())
        schema = replace(schema, warning="shows how rows are <drawn>", cautions=("drawn", f"caution of {name}"))
        return Question(name=name, told=f"Look at {name}", table=table, schema=schema)

    questions = [question("everything"), question("without-value", "crp_mg_l"), question("never-held", "cough")]
    hold_variants(questions[:2], out=out, plan=PLAN)
    return out, questions, compare_variants(questions, out=out, title="Rows", pairs=PAIRS)


def auroc(folder: Path, model: str = "fused") -> Result:
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))["results"]
    whole = [row for row in found if row["metric"] == "auroc" and not row["slice"] and not row["comparator"]]
    (row,) = (row for row in whole if row["model"] == model)
    return Result(**row)


def test_each_row_is_that_of_its_own_study(held: tuple[Path, list[Question], SideBySide]) -> None:
    out, _, shown = held
    assert [one.name for one in shown.variants] == ["everything", "without-value"]
    written = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    for one in written["variants"]:
        for row in one["rows"]:
            assert Result(**row) == auroc(out / one["name"], row["model"])
    assert [row["model"] for row in written["variants"][0]["rows"]] == ["fused", "best-baseline", "site-and-missingness"]
    assert (written["variants"][0]["rows"][0]["n"], written["variants"][0]["rows"][0]["events"]) == (60, 30)


def test_a_difference_is_that_of_the_two_figures_with_an_interval_widened_for_all_pairs(
    held: tuple[Path, list[Question], SideBySide],
) -> None:
    out, _, shown = held
    (difference,) = shown.differences
    assert (difference.model, difference.comparator) == PAIRS[0]
    expected = (auroc(out / "everything").value or 0.0) - (auroc(out / "without-value").value or 0.0)
    assert difference.value == pytest.approx(expected, abs=1e-12)
    assert difference.level == pytest.approx(1 - 0.05 / len(PAIRS))  # also for the pair that is not held yet
    assert difference.adjusted == "bonferroni over 2"
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low <= difference.value <= difference.high


def test_the_page_says_what_was_declared_before_any_figure_and_needs_no_network(
    held: tuple[Path, list[Question], SideBySide],
) -> None:
    page = (held[0] / "comparison.html").read_text(encoding="utf-8")
    head = page.split("<table>")[0]
    places = [head.index(words) for words in ("shows how rows are &lt;drawn&gt;", "<li>drawn</li>", "caution of without-value")]
    assert places == sorted(places)
    assert head.count("<li>drawn</li>") == 1
    assert "Look at everything" in page
    assert "Nested cross-validation, 1 repeat, whole groups held out." in head
    assert not re.search(r"https?://(?!www\.w3\.org)|<script|<link|src=", page)


def test_what_is_finished_is_not_held_again(held: tuple[Path, list[Question], SideBySide]) -> None:
    out, questions, _ = held
    before = {path: path.stat().st_mtime_ns for path in (out / "everything").rglob("*")}
    hold_variants(questions[:1], out=out, plan=PLAN)
    assert {path: path.stat().st_mtime_ns for path in (out / "everything").rglob("*")} == before
    openings = (out / "openings.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(openings) == 2  # one data set: the second variant's report says that it was opened twice


def test_small_counts_of_a_difference_stay_in_the_house(tmp_path: Path) -> None:
    row = Result(
        target="t", finding="t", split="cv", model="fused", metric="auroc", value=0.7, low=0.5, high=0.8, n=90, events=40
    )
    small = replace(row, model="a", comparator="b", n=3, events=1)
    variant = Variant(name="a", told="A", results=(row,))
    write_side_by_side(tmp_path, SideBySide(title="x", variants=(variant,), differences=(small,)))
    (written,) = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))["differences"]
    assert (written["n"], written["events"]) == (None, None)


def test_a_quick_look_says_so_before_any_figure(tmp_path: Path) -> None:
    row = Result(
        target="t", finding="t", split="test", model="fused", metric="auroc", value=0.7, n=90, events=40, protocol="quick"
    )
    shown = SideBySide(title="x", variants=(Variant(name="a", told="A", results=(row,)),))
    write_side_by_side(tmp_path, shown)
    head = (tmp_path / "comparison.html").read_text(encoding="utf-8").split("<table>")[0]
    assert "exploratory, nothing may be concluded" in head
    assert json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))["protocols"] == list(shown.protocols)


def test_nothing_beside_nothing_is_refused() -> None:
    with pytest.raises(ReportError, match="hold at least one study"):
        SideBySide(title="x", variants=())


def test_a_recipes_options_make_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["recipe", "--data", "d", "--quick", "--threads", "1", "--variant", "b"])
    asked = asked_of("A recipe.", variants=("a", "b"), out=Path("out/r"))
    assert (asked.data, asked.out, asked.variant) == (Path("d"), Path("out/r"), ["b"])
    assert asked.plan == Plan(protocol="quick", members=1, threads=1)
    monkeypatch.setattr("sys.argv", ["recipe", "--data", "d", "--threads", "1", "--repeats", "2"])
    asked = asked_of("A recipe.", variants=("a", "b"), out=Path("out/r"))
    assert (asked.variant, asked.plan) == (["a", "b"], Plan(protocol="cv", repeats=2, threads=1))
