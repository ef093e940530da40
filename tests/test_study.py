"""A run from end to end through the command line: what is written, what it says, and that every way to a number agrees."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attending import load
from attending.commands.running import key_file
from attending.evaluation import Rule, Terms
from attending.intake import declared_by, read_table, take_in
from attending.study import Plan, StudyError, hold_study
from tests.command_line import Said, call
from tests.tables import rows, taken_in, tiny_recipe, write_rows

ROW = (
    *("target", "finding", "split", "model", "metric", "value", "low", "high", "n", "events", "comparator", "slice"),
    *(
        "slice_value",
        "threshold",
        "level",
        "clusters",
        "prevalence",
        "method",
        "protocol",
        "repeats",
        "seed",
        "adjusted",
        "note",
    ),
)
PREDICTIONS = (
    *("id", "group", "repeat", "fold", "split", "finding", "truth", "known", "p_raw", "p_calibrated", "in_set", "abstained"),
    *("pattern", "site", "model"),
)
N = 60
WARNING, CAUTION = "shows how rows were invented", "the label was drawn first, the values after it"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a further table, and a run on the first."""
    folder = tmp_path_factory.mktemp("project")
    entries = rows(N)
    for number in (0, 20, 40):
        entries[number]["sick"] = ""
    write_rows(folder / "table.csv", entries)
    write_rows(folder / "further.csv", rows(30, seed=1))
    return folder


@pytest.fixture(scope="module")
def said(project: Path) -> Said:
    asked = ("--target", "sick", "--positive", "yes", "--ignore", "kind,a,b")
    declared = project / "table.schema.toml"
    assert call("schema", project / "table.csv", *asked).code == 0
    empty = declared.read_text(encoding="utf-8")
    text = empty.replace('warning = ""', f'warning = "{WARNING}"').replace("cautions = []", f'cautions = ["{CAUTION}"]')
    declared.write_text(text, encoding="utf-8")
    fast = ("--protocol", "split", "--seeds", "1", "--threads", "1", "--seed", "4")
    return call("run", project / "table.csv", "--schema", declared, "--out", project / "run", *fast)


@pytest.fixture(scope="module")
def run(project: Path, said: Said) -> Path:
    assert said.code == 0, said.err
    return project / "run"


def results(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "report.json").read_text())["results"]
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_run_writes_its_folder_and_nothing_else(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == [
        *("claim.md", "declared.json", "journal.jsonl", "local", "model", "model_card.json", "model_card.md"),
        *("predictions.csv", "report.html", "report.json", "split.csv", "tripod_ai.md"),
    ]
    assert (run / "local").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (run / "local").iterdir()] == ["worst_errors.csv"]
    assert sorted(path.name for path in (run / "model").iterdir()) == [
        *("config.json", "manifest.json", "member-0.safetensors", "schema.toml", "settling.json", "tokenizers.json")
    ]
    beside = {path.name for path in run.parent.iterdir()}
    assert beside == {"table.csv", "table.schema.toml", "further.csv", "run", "privacy.key", "openings.jsonl"}


def test_terms_are_written_down_with_their_hash_before_anything_is_trained(run: Path) -> None:
    written = json.loads((run / "declared.json").read_text(encoding="utf-8"))
    record = json.loads((run / "report.json").read_text(encoding="utf-8"))
    terms = Terms(
        **written["terms"] | {"rules": {name: Rule.from_dict(rule) for name, rule in written["terms"]["rules"].items()}}
    )
    assert terms.hash == written["terms_sha256"]
    assert record["provenance"]["declared before results were opened (terms_sha256)"] == written["terms_sha256"]
    assert record["protocol"]["hash"] == written["protocol_sha256"]
    assert replace(terms, primary_metric="brier").hash != terms.hash
    assert (run / "declared.json").stat().st_mtime <= (run / "journal.jsonl").stat().st_mtime


def test_the_report_says_what_calibration_was_fitted_and_what_sets_promise(run: Path) -> None:
    told = json.loads((run / "report.json").read_text(encoding="utf-8"))["model"]
    settling = json.loads((run / "model" / "settling.json").read_text(encoding="utf-8"))
    for part in settling["calibration"]["findings"]:
        assert part["method"] in told["calibration"]
        assert part["finding"] in told["calibration"]
    assert settling["conformal"]["guarantee"] in told["conformal sets"]
    assert "marginal, with fewer than 50 calibration cases of an answer: sick" in told["conformal sets"]


def test_a_run_ends_with_a_short_table_and_the_path_of_the_report(said: Said, run: Path) -> None:
    assert "AUROC" in said.out
    assert said.out.strip().splitlines()[-1] == f"report: {run / 'report.html'}"
    assert f"{N} rows: {N} used in {N} cases, none refused" in said.err


def test_what_the_schema_declares_of_the_study_heads_the_report(said: Said, run: Path) -> None:
    record = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert (record["warning"], record["cautions"]) == (WARNING, [CAUTION])
    head = (run / "report.html").read_text(encoding="utf-8").split("rows read")[0]
    assert WARNING in head
    assert CAUTION in head
    assert f"the schema declares: {WARNING}" in said.out


def test_every_link_of_a_runs_checklists_leads_to_what_lies_in_its_folder(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    for name in ("tripod_ai.md", "claim.md"):
        items = [line for line in (run / name).read_text(encoding="utf-8").splitlines() if re.match(r"\| \d", line)]
        for item in items:
            links = re.findall(r"\]\(([^)]*)\)", item)
            assert bool(links) != ("to be filled in by the authors" in item), item
            for file, _, section in (link.partition("#") for link in links):
                assert (run / file).is_file()
                assert not section or f'id="{section}"' in page


def test_the_rows_of_the_report_are_as_promised(run: Path) -> None:
    found = results(run)
    assert all(tuple(row) == ROW for row in found)
    assert {row["finding"] for row in found} <= {"sick", "macro"}
    assert {row["split"] for row in found} == {"test"}
    assert {row["target"] for row in found} == {"sick"}
    models = {row["model"] for row in found}
    assert {"fused", "best-baseline", "prevalence", "site-and-missingness", "demographics", "boosted-trees"} <= models
    assert {"fused-without-lab", "fused-without-sign", "fused-without-demographics"} <= models
    assert all(row["metric"] == row["metric"].lower() for row in found)
    assert {"auroc", "brier", "calibration_slope", "log_loss"} <= {row["metric"] for row in found}
    assert all(row["value"] is not None or row["note"] for row in found)
    assert [row for row in found if row["comparator"] == "best-baseline" and row["metric"] == "auroc" and not row["slice"]]


def test_predictions_and_split_name_the_tables_own_rows(run: Path) -> None:
    predictions, split = table(run / "predictions.csv"), table(run / "split.csv")
    assert tuple(predictions[0])[: len(PREDICTIONS)] == PREDICTIONS
    parts = {row["id"]: row["part"] for row in split}
    assert len(parts) == len(split) == N - 3  # the three without a target took no part
    assert set(parts.values()) == {"train", "tune", "calibrate", "test"}
    tested = {row["id"] for row in predictions if row["model"] == "fused"}
    assert tested == {id for id, part in parts.items() if part == "test"}
    assert all(0.0 <= float(row["p_calibrated"]) <= 1.0 and row["known"] == "1" for row in predictions)


def test_judging_a_runs_own_predictions_gives_its_numbers_back(run: Path, tmp_path: Path) -> None:
    judged = call("judge", run / "predictions.csv", "--out", tmp_path / "judged", "--seed", "4")
    assert judged.code == 0, judged.err

    def numbers(folder: Path, columns: tuple[str, ...]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        named = ("finding", "split", "model", "metric", "comparator", "slice", "slice_value", "threshold", "level", "adjusted")
        return {tuple(row[name] for name in named): tuple(row[name] for name in columns) for row in results(folder)}

    estimated = ("value", "low", "high")
    assert numbers(tmp_path / "judged", estimated) == numbers(run, estimated)
    counts = ("n", "events", "clusters")
    own, again = numbers(run, counts), numbers(tmp_path / "judged", counts)
    for row, told in own.items():  # a report hides counts that would tell of single patients
        assert all(count in (None, other) for count, other in zip(told, again[row], strict=True)), row


def test_predict_gives_the_probabilities_of_the_api(project: Path, run: Path, tmp_path: Path) -> None:
    predicted = call("predict", run, project / "further.csv", "--out", project / "predicted.csv")
    assert predicted.code == 0, predicted.err
    model = load(run)
    intake = take_in(read_table(project / "further.csv"), declared_by(model.schema), key_file=key_file(run), needs_truth=False)
    expected = model.probability(intake.cases)[:, 0]
    written = table(project / "predicted.csv")
    assert [float(row["p_calibrated"]) for row in written] == expected.tolist()
    assert [float(row["p_raw"]) for row in written] == model.raw_probability(intake.cases)[:, 0].tolist()
    assert [row["id"] for row in written] == list(intake.own_ids().values())
    assert {row["model"] for row in written} == {model.id}
    assert [row["missing"] for row in written] == ["+".join(d.missing) for d in model.diagnose(intake.cases)]


def test_evaluate_needs_no_ignore_because_the_model_carries_the_schema(project: Path, run: Path, tmp_path: Path) -> None:
    evaluated = call("evaluate", run / "model", project / "further.csv", "--out", tmp_path / "external")
    assert evaluated.code == 0, evaluated.err
    found = results(tmp_path / "external")
    assert all(tuple(row) == ROW and row["split"] == "evaluation" for row in found)
    (auroc,) = (row for row in found if row["metric"] == "auroc" and row["finding"] == "sick" and not row["slice"])
    assert (auroc["n"], auroc["events"]) == (30, 15)
    assert evaluated.out.strip().splitlines()[-1] == f"report: {tmp_path / 'external' / 'report.html'}"
    by_id = {row["id"]: row for row in table(tmp_path / "external" / "predictions.csv")}
    assert len(by_id) == 30
    again = call("evaluate", run, project / "further.csv", "--out", tmp_path / "external")
    assert (again.code, "holds a finished report" in again.sentence) == (2, True)


def test_the_report_of_an_evaluation_says_what_was_done_and_what_is_not_known(project: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "external"
    assert call("evaluate", run, project / "further.csv", "--out", out).code == 0
    record, page = json.loads((out / "report.json").read_text()), (out / "report.html").read_text()
    assert (record["protocol"]["kind"], record["protocol"]["openings"]) == ("evaluation", 1)
    assert (record["flow"]["rows"], record["flow"]["patients"], record["flow"]["findings"][0]["events"]) == (30, 30, 15)
    assert (record["warning"], record["cautions"]) == (WARNING, [CAUTION])  # they travel with the model
    assert record["provenance"]["model"] == load(run).id
    told = " ".join(record["may_not_be_concluded"])
    for words in ("whether any of them took part in training was not checked", "no baseline was judged on these cases"):
        assert words in told
        assert words in page
    assert "nothing was fitted, tuned or recalibrated here" in page
    assert "Folds × repeats" not in page
    assert all(row["id"] not in page for row in table(out / "predictions.csv"))


def test_an_evaluation_marks_and_counts_what_is_not_answered_as_predict_does(project: Path, run: Path, tmp_path: Path) -> None:
    empty = {"age": "", "sex": "", "crp_mg_l": "", "cough": ""}
    entries = [{**row, **(empty if number in (3, 8) else {})} for number, row in enumerate(rows(30, seed=1))]
    further, out = write_rows(tmp_path / "further.csv", entries), tmp_path / "external"
    evaluated = call("evaluate", run, further, "--out", out)
    predicted = call("predict", run, further, "--out", tmp_path / "p.csv")
    assert (evaluated.code, predicted.code) == (0, 0), evaluated.err
    nothing = "no evidence of a kind that the model reads"
    for line in (f"abstained: 2: {nothing}", "30 cases: 28 answered, 2 abstained"):
        assert line in evaluated.err.splitlines()
        assert line in predicted.err.splitlines()
    by_id = {row["id"]: row["abstained"] for row in table(out / "predictions.csv")}
    assert by_id == {row["id"]: str(int(bool(row["abstained"]))) for row in table(tmp_path / "p.csv")}
    assert sorted(by_id.values()) == ["0"] * 28 + ["1"] * 2
    (share,) = (row for row in results(out) if row["metric"] == "abstained")
    assert share["value"] == pytest.approx(2 / 30)
    assert share["low"] < 2 / 30 < share["high"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"fewer than 5 cases not answered: {nothing}" in page
    assert "Not answered" in page


def test_an_evaluation_tells_of_subgroups_as_a_run_does(project: Path, run: Path, tmp_path: Path) -> None:
    assert call("evaluate", run, project / "further.csv", "--out", tmp_path / "external").code == 0
    sliced = {row["slice"] for row in results(tmp_path / "external")}
    assert {"age band", "sex", "pattern"} <= sliced
    assert sliced == {row["slice"] for row in results(run)}


def test_an_evaluation_on_the_file_that_was_trained_on_says_so_first(project: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert call("evaluate", run, project / "table.csv", "--out", out).code == 0
    head = (out / "report.html").read_text().split("rows read")[0]
    assert "the model was trained on rows of this very file" in head


def test_the_report_of_a_predictions_file_leaves_unknown_what_the_file_does_not_tell(run: Path, tmp_path: Path) -> None:
    judged = call("judge", run / "predictions.csv", "--out", tmp_path)
    assert judged.code == 0, judged.err
    record, page = json.loads((tmp_path / "report.json").read_text()), (tmp_path / "report.html").read_text()
    flow = record["flow"]
    assert (flow["rows"], flow["patients"]) == (None, None)
    tested = {row["id"]: row["truth"] for row in table(run / "predictions.csv") if row["model"] == "fused"}
    events = sum(truth == "1" for truth in tested.values())
    assert (flow["cases"], flow["findings"]) == (len(tested), [{"finding": "sick", "known": len(tested), "events": events}])
    assert record["protocol"]["openings"] is None
    assert record["primary"]["comparator"] == "best-baseline"
    for words in ("the file does not say", "How often these results were opened before is unknown", "the sampling is unstated"):
        assert words in page
    assert "No record of de-identification came with these predictions" in page
    assert "declared as primary beforehand, not adjusted" not in page
    assert WARNING not in page  # a predictions file carries no schema
    assert next(iter(record["provenance"])) == "predictions.csv (SHA-256)"


def test_a_missing_input_column_is_absent_evidence_and_an_error_under_strict(project: Path, run: Path, tmp_path: Path) -> None:
    entries = [{name: cell for name, cell in row.items() if name != "crp_mg_l"} for row in rows(10)]
    narrow = write_rows(tmp_path / "narrow.csv", entries)
    predicted = call("predict", run, narrow, "--out", tmp_path / "predicted.csv")
    assert predicted.code == 0, predicted.err
    assert 'input column "crp_mg_l" is not in narrow.csv: absent evidence for every case' in " ".join(predicted.err.split())
    assert all("lab" in row["missing"].split("+") for row in table(tmp_path / "predicted.csv"))
    strict = call("predict", run, narrow, "--out", tmp_path / "strict.csv", "--strict")
    assert strict.code == 2
    assert "crp_mg_l" in strict.sentence
    assert not (tmp_path / "strict.csv").exists()


def test_a_finished_run_is_not_written_over(project: Path, run: Path) -> None:
    again = call("run", project / "table.csv", "--target", "sick", "--ignore", "kind,a,b", "--out", run)
    assert (again.code, "holds a finished study" in again.sentence) == (2, True)


def test_an_unfinished_run_with_other_settings_is_not_continued(tmp_path: Path) -> None:
    write_rows(tmp_path / "table.csv", rows(40))
    intake = taken_in(tmp_path / "table.csv", target="sick", ignore="kind,a,b")

    class StoppedError(Exception):
        pass

    def stop(stage: str, progress: object) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        hold_study(intake, plan=Plan(protocol="split", threads=1, recipe=tiny_recipe()), out=tmp_path / "out", told=stop)
    with pytest.raises(StudyError, match="holds an unfinished study with other settings"):
        hold_study(intake, plan=Plan(protocol="split", threads=1, recipe=tiny_recipe(), seed=1), out=tmp_path / "out")


def test_neither_the_projects_key_nor_the_order_of_rows_changes_a_study(tmp_path: Path) -> None:
    answers = []
    named = [{"visit_id": f"v{number:02d}", **row} for number, row in enumerate(rows(40))]
    for name, entries in (("here", named), ("there", named[::-1])):
        table = write_rows(tmp_path / name / "table.csv", entries)
        intake = taken_in(table, target="sick", ignore="kind,a,b")
        plan = Plan(protocol="quick", threads=1, recipe=tiny_recipe())
        study = hold_study(intake, plan=plan, out=tmp_path / name / "run")
        own = intake.own_ids()
        for model in ("fused", "boosted-trees"):
            told = study.trial.outcomes[model]
            answers.append({own[id]: float(p) for id, p in zip(told.ids, told.probability[:, 0], strict=True)})
    assert (tmp_path / "here" / "privacy.key").read_bytes() != (tmp_path / "there" / "privacy.key").read_bytes()
    assert answers[0] == answers[2]
    assert answers[1] == answers[3]


@pytest.mark.parametrize(
    ("target", "ignore", "findings"),
    [("kind", "sick,a,b", {"cold", "flu", "none"}), ("a,b", "sick,kind", {"a", "b"})],
)
def test_several_classes_and_several_findings_run(tmp_path: Path, target: str, ignore: str, findings: set[str]) -> None:
    write_rows(tmp_path / "table.csv", rows(N))
    intake = taken_in(tmp_path / "table.csv", target=target, ignore=ignore)
    assert set(intake.task.findings) == findings
    assert intake.task.exclusive == (target == "kind")
    study = hold_study(intake, plan=Plan(protocol="split", threads=1, recipe=tiny_recipe()), out=tmp_path / "out")
    fused = study.trial.outcomes["fused"]
    if intake.task.exclusive:
        assert np.allclose(fused.probability.sum(axis=1), 1.0)
    else:
        blank = [row["a"] == "" for row in rows(N)]
        assert sum(blank) == sum("a" not in case.truth for case in intake.cases) > 0  # blank is unknown, never negative
    estimated = {row["finding"] for row in results(tmp_path / "out") if row["metric"] == "auroc"}
    assert estimated == findings | {"macro"}
    assert load(tmp_path / "out").probability(intake.cases[:3]).shape == (3, len(findings))
