"""From a table to a report, through the rooms as they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from attending.cohort import Member, plan_protocol
from attending.diagnosis import Task
from attending.evaluation import Outcomes, Terms, judge
from attending.privacy import deidentify
from attending.records import Records, Role, Schema, infer_schema, read_charts, read_table
from attending.report import Conduct, Primary, chosen_words, conduct_of, gather, write_report
from attending.report.counting import flow_of
from tests.baselines.drawn import draw


def test_a_table_becomes_a_report(tmp_path: Path):
    random = np.random.default_rng(0)
    ill = random.random(120) < 0.4
    lines = ["patient_id,age_years,sex,crp_mg_l,note,diagnosis"]
    for i in range(120):
        crp = "" if i % 4 == 0 else f"{random.normal(40 if ill[i] else 10, 12):.1f}"
        label = "" if i == 7 else ("flu" if ill[i] else "cold")
        lines.append(f"p{i:03d},{20 + i % 60},{'fm'[i % 2]},{crp},Patient {i} coughs for {i % 9} days.,{label}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = read_table(path)
    schema = infer_schema(table, targets=("diagnosis",), positive="flu", ignore=(), only=())
    schema = replace(schema, decision_range=(0.1, 0.4))
    records = read_charts(table, schema, is_strict=False, needs_truth=True)
    known = deidentify(records.charts, key=b"0123456789abcdef")
    cases = [case for case in known.cases if case.truth]
    members = [Member(id=case.id, patient=case.patient, group=case.group, truth=case.truth) for case in cases]
    protocol = plan_protocol(members, kind="cv", folds=3, repeats=1, seed=0)
    fold_of = {id: fold.fold for fold in protocol.folds for id in fold.test}

    def predict(strength: float) -> Outcomes:
        truth = np.array([[case.truth["diagnosis"]] for case in cases])
        score = strength * truth + np.random.default_rng(3).normal(size=truth.shape) - 0.8
        return Outcomes(
            ids=np.array([case.id for case in cases]),
            groups=np.array([case.group for case in cases]),
            findings=("diagnosis",),
            probability=expit(score),
            truth=truth,
            known=np.ones_like(truth),
            repeat=np.zeros(len(cases), dtype=int),
            fold=np.array([fold_of[case.id] for case in cases]),
        )

    outcomes = {"fused": predict(1.5), "best-baseline": predict(1.0)}
    terms = Terms(target="diagnosis", protocol="cv", split="cv", primary_comparator="best-baseline", resamples=100)
    report = gather(
        title="Flu or cold",
        records=records,
        manifest=known.manifest,
        cases=cases,
        task=Task(findings=("diagnosis",)),
        conduct=conduct_of(protocol, 1),
        results=judge(outcomes, terms=terms),
        outcomes=outcomes,
        primary=Primary(comparator="best-baseline"),
        warning="shows the season",
        cautions=("asked in winter",),
        provenance={"seed": 0},
    )
    page_path, record_path = write_report(tmp_path / "out", report)
    record = json.loads(record_path.read_text(encoding="utf-8"))
    assert record["question"]["target"] == 'diagnosis = "flu"'
    assert (record["warning"], record["cautions"]) == ("shows the season", ["asked in winter"])
    flow = record["flow"]
    assert flow["rows"] == 120
    assert flow["rows"] == flow["cases"] + flow["rows_refused"] + sum(
        one["count"] for one in flow["reported"] if one["what"] in ("rows", "cases")
    )
    assert flow["findings"] == [{"finding": "diagnosis", "known": 119, "events": int(ill.sum() - ill[7])}]
    assert {"name": "crp_mg_l", "role": "number"}.items() <= next(
        c for c in record["columns"] if c["name"] == "crp_mg_l"
    ).items()
    rounds = flow["rounds"]
    assert (rounds["n"], rounds["repeats"]) == (3, 1)
    assert rounds["trained"] == [
        min(len(fold.train) for fold in protocol.folds),
        max(len(fold.train) for fold in protocol.folds),
    ]
    assert rounds["judged"] == [min(len(fold.test) for fold in protocol.folds), max(len(fold.test) for fold in protocol.folds)]
    assert {one["kind"]: one["cases"] for one in flow["held"]} == {"Notes": 119, "Numbers": 89, "Age and sex": 119}
    assert record["curves"][0]["decision"]["thresholds"][0] == 0.1
    assert record["curves"][0]["decision"]["thresholds"][-1] == record["question"]["decision_range"][1] == 0.4
    with_crp = sum("Numbers" in pattern["present"] for pattern in record["patterns"])
    assert with_crp == 1
    for path in (page_path, record_path):
        written = path.read_text(encoding="utf-8")
        assert "coughs" not in written
        assert "p005" not in written
        assert not any(case.id in written for case in cases)


def test_parts_are_counted_as_the_split_has_them() -> None:
    drawn = draw(60, seed=5)
    parts = {case.id: ("test" if at < 20 else "train") for at, case in enumerate(drawn)}
    none = Records(
        charts=(None,) * 60,  # type: ignore[arg-type]
        rows=((1,),) * 60,
        refused=(),
        counts={},
        reasons={},
        missing=(),
        unread_labels={},
        companions={},
        companion_reasons={},
        companion_outcomes={},
        schema=Schema(columns=(), patient_rows="each row"),
        n_rows=60,
        n_read=60,
    )
    flow = flow_of(none, drawn, ("fever",), parts=parts)
    assert [(part.name, part.cases) for part in flow.parts] == [("train", 40), ("test", 20)]
    ill = [case.truth["fever"] for case in drawn]
    assert [part.findings[0].events for part in flow.parts] == [sum(ill[20:]), sum(ill[:20])]
    assert flow.rounds is None


def _reported(tmp_path: Path, *, where: str, joins: bool) -> dict[str, Any]:
    """The flow of a table with 40 patients of two rows each, the second row of every fourth without a label."""
    lines = ["visit;patient_id;site;crp_mg_l;cough;dx"]
    for n in range(80):
        crp = {0: "<0,5", 1: "?", 2: ""}.get(n % 10, f"{n},5")
        cough = "?" if n % 8 == 0 else ("no", "dry")[n // 3 % 2]
        lines.append(f"v{n // 2 if joins else n};p{n // 2};{'ab'[n // 2 % 2]};{crp};{cough};{'' if n % 8 > 5 else n // 4 % 2}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = read_table(path, where=where)
    schema = infer_schema(table, targets=("dx",))
    if joins:
        columns = [replace(column, role=Role.CASE) if column.name == "visit" else column for column in schema.columns]
        schema = replace(schema, columns=tuple(columns))
    labs = tmp_path / "labs.csv"
    labs.write_text("patient_id,code,value,unit\np2,ldh,200,U/L\np2,ldh,,U/L\np4,ldh,?,U/L\n", encoding="utf-8")
    records = read_charts(table, schema, companions={"labs": read_table(labs)})
    known = deidentify(records.charts, key=b"0123456789abcdef")
    cases = [case for case in known.cases if case.truth]
    truth = np.array([[case.truth["dx"]] for case in cases])
    rows = Outcomes(
        ids=np.array([case.id for case in cases]),
        groups=np.array([case.group for case in cases]),
        findings=("dx",),
        probability=np.where(truth, 0.7, 0.3),
        truth=truth,
        known=np.ones_like(truth),
        repeat=np.zeros(len(cases), dtype=int),
        fold=np.zeros(len(cases), dtype=int),
    )
    report = gather(
        title="t",
        records=records,
        manifest=known.manifest,
        cases=cases,
        task=Task(findings=("dx",)),
        conduct=Conduct(kind="evaluation", reason="all", seed=0, openings=1),
        results=judge({"fused": rows}, terms=Terms(target="dx", protocol="evaluation", split="evaluation", resamples=50)),
        outcomes={"fused": rows},
        primary=Primary(),
        provenance={},
    )
    record = json.loads(write_report(tmp_path / "out", report)[1].read_text(encoding="utf-8"))
    return {**record["flow"], "unit": record["question"]["unit"]}


def test_every_row_and_value_that_was_left_out_or_read_otherwise_is_counted(tmp_path: Path):
    flow = _reported(tmp_path, where="site = 'a'", joins=True)
    told = {one["reason"]: (one["count"], one["what"]) for one in flow["reported"]}
    assert told["left out by --where site = 'a'"] == (40, "rows")
    assert told["joined to another row of the same case"] == (20, "rows")
    assert (flow["rows_left_out"], flow["rows_joined"], flow["rows_unaccounted"]) == (40, 20, 0)
    assert (
        flow["rows"]
        == 80
        == flow["cases"] + flow["rows_refused"] + sum(count for count, what in told.values() if what in ("rows", "cases"))
    )
    in_a = [n for n in range(80) if n // 2 % 2 == 0]
    assert told["crp_mg_l: said to be unknown, taken as absent"] == (sum(n % 10 == 1 for n in in_a), "values")
    assert told["cough: said to be unknown, taken as absent"] == (sum(n % 8 == 0 for n in in_a), "values")
    assert told["crp_mg_l: decimal commas, read as decimal points"] == (sum(n % 10 not in (1, 2) for n in in_a), "values")
    assert told["labs: rows without a value"] == (1, "values")
    assert flow["unit"] == "one case per visit, whose rows are joined; patients counted once"


def test_a_condition_that_names_persons_is_not_told(tmp_path: Path):
    flow = _reported(tmp_path, where="patient_id <> 'p7'", joins=False)
    told = {one["reason"]: one["count"] for one in flow["reported"]}
    assert told["left out by --where (a condition on who the patient is, not shown)"] == 2
    assert "p7" not in json.dumps(flow)
    assert flow["unit"] == "one case per row, patients counted once"


def test_how_the_comparator_was_chosen_is_counted():
    chosen = ["boosted-trees"] * 20 + ["late-fusion"] * 5
    assert chosen_words(chosen) == "chosen in inner folds: boosted trees in 20 of 25, late fusion in 5 of 25"
    assert chosen_words(["late-fusion"]) == "chosen before test was opened: late fusion"
