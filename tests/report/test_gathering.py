"""From a table to a report, through the rooms as they are."""

import json
from pathlib import Path

import numpy as np
from scipy.special import expit

from attending.cohort import Member, plan_protocol
from attending.diagnosis import Task
from attending.evaluation import Outcomes, Terms, judge
from attending.privacy import deidentify
from attending.records import infer_schema, read_charts, read_table
from attending.report import Primary, chosen_words, conduct_of, gather, write_report


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
    with_crp = sum("Numbers" in pattern["present"] for pattern in record["patterns"])
    assert with_crp == 1
    for path in (page_path, record_path):
        written = path.read_text(encoding="utf-8")
        assert "coughs" not in written
        assert "p005" not in written
        assert not any(case.id in written for case in cases)


def test_how_the_comparator_was_chosen_is_counted():
    chosen = ["boosted-trees"] * 20 + ["late-fusion"] * 5
    assert chosen_words(chosen) == "chosen in inner folds: boosted trees in 20 of 25, late fusion in 5 of 25"
    assert chosen_words(["late-fusion"]) == "chosen before test was opened: late fusion"
