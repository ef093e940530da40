"""`attending audit` and the audit inside `attending run`: exit codes, JSON, waivers, and what the report says."""

import json
from pathlib import Path

import numpy as np
import pytest

from attending.records.clinic import ClinicConfig, Leak, draw_clinic, write_clinic
from tests.command_line import call
from tests.tables import rows, write_rows

FAST = ("--protocol", "split", "--seeds", "1", "--threads", "1")
KEYS = {"trap", "check", "severity", "columns", "rows", "evidence", "remedy"}


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited") / "clinic"
    write_clinic(draw_clinic(ClinicConfig(n_patients=120, seed=2, film_size=32, leaks=(Leak(trap="T1"),))), folder)
    return folder


def asked(folder: Path, schema: Path | None = None) -> tuple[str | Path, ...]:
    return (folder / "patients.csv", "--schema", schema or folder / "schema.toml", "--labs", folder / "labs.csv")


def test_a_block_ends_with_1_and_the_json_names_it(clinic: Path, tmp_path: Path) -> None:
    said = call("audit", *asked(clinic), "--json", tmp_path / "found.json")
    assert said.code == 1, said.err
    record = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    one = next(found for found in record["findings"] if found["trap"] == "T1")
    assert set(one) >= KEYS
    assert one["severity"] == "block"
    assert "record_number" in one["columns"]
    assert "\nT1 block: the same person stands under several patients" in said.out
    block = said.out.split("\nT1 block")[1].split("\nT")[0]
    assert all(f"\n  {word} " in block for word in ("found", "cases", "means", "remedy"))
    assert "this blocks a run (T1" in said.err
    assert "[waivers] T1 =" in said.err


def test_a_waiver_in_the_schema_lets_it_pass_and_is_printed(clinic: Path, tmp_path: Path) -> None:
    waived = tmp_path / "waived.toml"
    text = (clinic / "schema.toml").read_text(encoding="utf-8")
    waived.write_text(text + '\n[waivers]\nT1 = "planted for a test"\n', encoding="utf-8")
    said = call("audit", *asked(clinic, waived))
    assert said.code == 0, said.out
    assert "planted for a test" in said.out


def test_bad_input_ends_with_2(tmp_path: Path) -> None:
    assert call("audit", tmp_path / "nowhere.csv", "--target", "sick").code == 2
    table = write_rows(tmp_path / "table.csv", rows(40))
    assert call("audit", table, "--target", "sikc").code == 2


def test_nothing_that_blocks_ends_with_0(tmp_path: Path) -> None:
    table = write_rows(tmp_path / "table.csv", rows(40))
    said = call("audit", table, "--target", "sick", "--ignore", "kind,a,b")
    assert said.code == 0, said.out


def test_a_table_without_a_target_is_audited_for_what_needs_none(clinic: Path) -> None:
    assert call("audit", clinic / "patients.csv").code in (0, 1)


def test_a_run_stops_where_the_audit_blocks(clinic: Path, tmp_path: Path) -> None:
    said = call("run", *asked(clinic), "--out", tmp_path / "run", *FAST)
    assert said.code == 1
    assert "the audit blocks this run (T1" in said.err
    assert not (tmp_path / "run").exists()


def test_the_report_of_a_run_tells_what_the_audit_said(tmp_path: Path) -> None:
    table = write_rows(tmp_path / "table.csv", rows(40))
    said = call("run", table, "--target", "sick", "--ignore", "kind,a,b", "--out", tmp_path / "run", *FAST)
    assert said.code == 0, said.err
    record = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert "checks" in record["audit"]["verdict"]
    assert "no audit was run" not in " ".join(record["may_not_be_concluded"])


def test_masking_label_words_is_a_flag_that_lifts_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "clinic"
    write_clinic(draw_clinic(ClinicConfig(n_patients=250, seed=5, leaks=(Leak(trap="T5"),), film_size=32)), folder)
    given = ("audit", folder / "patients.csv", "--schema", folder / "schema.toml", "--labs", folder / "labs.csv")
    files = tmp_path / "plain.json", tmp_path / "masked.json"
    assert call(*given, "--json", files[0]).code == 1
    assert call(*given, "--mask-labels", "--json", files[1]).code == 0
    plain, masked = (json.loads(file.read_text(encoding="utf-8"))["findings"] for file in files)
    named = next(one for one in plain if one["trap"] == "T5")
    assert named["severity"] == "block"
    assert "--mask-labels" in named["remedy"]
    assert [one["severity"] for one in masked if one["trap"] == "T5"] == ["note"]


def test_judge_says_what_a_predictions_file_betrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["id,split,finding,truth,p_calibrated"]
    for at in range(240):
        sick = rng.random() < 0.3
        p = 1 / (1 + np.exp(-(rng.normal(1.5 * sick - 0.7) + 1.0)))  # twice the odds too high: class weights, not calibrated
        lines.append(f"p{at // 3}_v{at % 3},test,sick,{int(sick)},{p:.6f}")
    lines.append("p1_v0,train,sick,1,0.7")
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = call("judge", path, "--out", tmp_path / "judged")
    assert said.code == 0, said.err
    told = json.loads((tmp_path / "judged" / "report.json").read_text(encoding="utf-8"))
    for trap in ("T18 block", "T19 warn", "T20 warn"):
        assert trap in said.err
        assert any(trap.replace(" ", " (") in caution for caution in told["cautions"]), told["cautions"]


def test_a_study_tries_its_own_model_and_says_so(tmp_path: Path) -> None:
    table = write_rows(tmp_path / "table.csv", rows(40))
    said = call("run", table, "--target", "sick", "--ignore", "kind,a,b", "--out", tmp_path / "run", *FAST)
    assert said.code == 0, said.err
    audit = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))["audit"]
    assert "by 21 checks" in audit["verdict"]  # 15 of the table, the protocol's parts, and five of the model and its answers
    assert not [one for one in audit["findings"] if one["level"] == "blocks"]
    results = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))["results"]
    assert {"age band", "sex"} <= {row["slice"] for row in results}
