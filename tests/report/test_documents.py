"""Model card, checklists and characteristics: links lead somewhere, the unstated is blank, nothing small is told."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attending.case import Case
from attending.evaluation.errors import worst_errors_text
from attending.report import Conduct, Question, Report, write_report
from attending.report.characteristics import characteristics_of
from attending.report.checklists import BLANK, checklists
from tests.baselines.drawn import draw
from tests.report.evidence import outcomes, report


def test_every_link_of_a_checklist_leads_somewhere(tmp_path: Path) -> None:
    write_report(tmp_path, report())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name, n in (("tripod_ai.md", 52), ("claim.md", 42)):
        text = (tmp_path / name).read_text(encoding="utf-8")
        items = [line for line in text.splitlines() if re.match(r"\| \d", line)]
        assert len(items) == n
        links = re.findall(r"\]\(([^)]*)\)", text)
        assert links
        for link in links:
            file, _, section = link.partition("#")
            assert file == "report.html"
            assert not section or f'id="{section}"' in page, link
        blanks = [item for item in items if BLANK in item]
        assert len(blanks) + len(links) == n


NOTHING = (
    *("No schema was recorded", "No patterns were recorded", "Nothing was recorded", "No record of de-identification"),
    "Not run.",
)


def bare() -> Report:
    """The report of a predictions file: nothing is known but the figures."""
    empty = {"columns": (), "patterns": (), "kinds": (), "privacy": None, "provenance": {}, "model": {}, "undeclared": ()}
    one = replace(report(), conduct=Conduct(kind="foreign", reason="a file", seed=0), **empty)  # type: ignore[arg-type]
    return replace(one, flow=replace(one.flow, rows=None, patients=None), question=Question(target="condition"))


@pytest.mark.parametrize("made", [report, bare])
def test_what_a_checklist_links_to_says_something(made: Callable[[], Report], tmp_path: Path) -> None:
    write_report(tmp_path, made())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    linked = {item.place for items in checklists(made()).values() for item in items if item.place is not None}
    for place in linked:
        file, _, section = place.partition("#")
        assert (tmp_path / file).is_file()
        told = page.split(f'id="{section}"')[1].split("</section>")[0] if section else page.split("</main>")[0]
        assert len(re.sub(r"<[^>]+>|\s", "", told)) > 40, place
        assert not section or not any(nothing in told for nothing in NOTHING), place
    assert "report.html#finding-1" in linked
    assert ("report.html#schema" in linked) == (made is report)


def test_ethics_funding_and_what_is_unstated_stay_blank() -> None:
    places = {(name, item.number): item.place for name, items in checklists(report()).items() for item in items}
    for item in ("17", "18a", "18b", "18c", "18d", "19", "25", "27b", "3c"):
        assert places["TRIPOD+AI", item] is None
    assert places["CLAIM", "42"] is None
    assert places["CLAIM", "32"] is None  # one table is no external test
    external = replace(report(), conduct=Conduct(kind="evaluation", reason="another table", seed=0))
    assert {item.number: item.place for item in checklists(external)["CLAIM"]}["32"] is not None
    unstated = replace(report(), question=replace(report().question, reference_standard="unstated"))
    assert {item.number: item.place for item in checklists(unstated)["TRIPOD+AI"]}["8a"] is None


def test_the_card_says_in_words_and_numbers_what_the_report_holds(tmp_path: Path) -> None:
    write_report(tmp_path, report())
    card = json.loads((tmp_path / "model_card.json").read_text(encoding="utf-8"))
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    text = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert card["intended use and users"] == BLANK
    told = [row for row in record["results"] if row["model"] == "fused" and row["metric"] == "auroc" and row["slice"] is None]
    whole = next(row for row in told if row["comparator"] is None)
    same = next(row for row in card["performance"] if row["metric"] == "auroc")
    assert (same["value"], same["low"], same["high"]) == (whole["value"], whole["low"], whole["high"])
    assert f"{whole['value']:.3f} ({whole['low']:.3f} to {whole['high']:.3f})" in text
    assert "case-id-" not in text + json.dumps(card)


def cases(n: int = 60) -> list[Case]:
    return draw(n, seed=1)


def test_characteristics_count_as_by_hand() -> None:
    drawn = cases()
    tables = {table.by: table for table in characteristics_of(drawn, ["fever"], {})}
    assert set(tables) == {"site", 'recorded label "fever"'}
    table = tables['recorded label "fever"']
    rows = dict(table.rows)
    ill = [case for case in drawn if case.truth["fever"]]
    assert rows["Cases"] == (str(len(ill)), str(len(drawn) - len(ill)))
    ages = [case.evidence[0].age_years for case in ill]  # type: ignore[attr-defined]
    assert rows["Age in years"][0].startswith(f"{np.median(ages):.3g} (")
    by_part = characteristics_of(drawn, [], {case.id: "test" if at < 20 else "train" for at, case in enumerate(drawn)})
    assert next(table for table in by_part if table.by == "part").columns == ("train", "test")
    assert "crp (mg/l)" in rows


def test_small_groups_and_small_counts_are_not_told() -> None:
    drawn = [replace(case, site="tiny" if at < 3 else "large" if at % 2 else "other") for at, case in enumerate(cases())]
    assert "site" not in {table.by for table in characteristics_of(drawn, [], {})}  # three left out follow from the total
    few = [replace(case, evidence=case.evidence[:1]) for case in cases()]
    noted = [replace(case, evidence=case.evidence) if at < 2 else few[at] for at, case in enumerate(cases())]
    table = next(table for table in characteristics_of(noted, ["fever"], {}) if table.by.startswith("recorded"))
    for name, cells in table.rows:
        for count in re.findall(r"^(\d+) \(", " ".join(cells)):
            assert int(count) >= 5 or name == "Cases", (name, cells)


def test_the_worst_errors_are_those_farthest_from_the_truth() -> None:
    rows = outcomes(1.5, seed=1)
    lines = [line.split(",") for line in worst_errors_text(rows, most=3).splitlines()[1:]]
    first = next(line for line in lines if line[1] == "too high" and line[2] == "all")
    ids = rows.ids.astype(str)
    mean = {id: rows.probability[ids == id, 0].mean() for id in set(ids)}
    truth = dict(zip(ids, rows.truth[:, 0], strict=True))
    worst = max((id for id in mean if not truth[id]), key=lambda id: mean[id])
    assert (first[5], float(first[6])) == (worst, float(f"{mean[worst]:.6g}"))
    assert {line[2] for line in lines} == {"all", "site"}
    assert max(int(line[4]) for line in lines) == 3
