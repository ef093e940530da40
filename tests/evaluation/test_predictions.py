"""The predictions file gives its own numbers back, and says by row and column what is wrong with anyone's."""

from dataclasses import replace

import numpy as np
import pytest

from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.predictions import COLUMNS, PredictionError, predictions_text, read_predictions
from attending.evaluation.threshold import Rule
from tests.evaluation.cohorts import binormal, crossed, outcomes_of


def read(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    return read_predictions(path)


def test_a_runs_own_file_gives_its_numbers_back(tmp_path):
    rng = np.random.default_rng(0)
    base = binormal(150, events=60, auroc=0.8, seed=1, visits=3)
    two = replace(
        base,
        findings=("pneumonia", "failure"),
        probability=np.column_stack([base.probability[:, 0], rng.random(150)]),
        truth=np.column_stack([base.truth[:, 0], rng.random(150) < 0.4]),
        known=np.column_stack([np.ones(150, dtype=bool), rng.random(150) < 0.8]),
        strata={
            "site": rng.choice(["A", "B"], size=150).astype(object),
            "pattern": rng.choice(["note", "note+image"], size=150).astype(object),
            "sex": rng.choice(["f", "m"], size=150).astype(object),
        },
    )
    fused = crossed(two, folds=3, repeats=2, seed=2, jitter=0.3)
    models = {"fused": fused, "late": replace(fused, probability=np.clip(fused.probability + 0.05, 0, 1))}
    models = {name: replace(o, raw=o.probability**2, in_set=o.probability > 0.2) for name, o in models.items()}
    text = predictions_text({"cv": models})
    header = text.splitlines()[0].split(",")
    assert tuple(header[: len(COLUMNS)]) == COLUMNS
    assert header[len(COLUMNS) :] == ["stratum:sex"]
    back = read(tmp_path, text).models("cv")
    terms = Terms(protocol="cv", split="cv", resamples=50, rules={"pneumonia": Rule(kind="sensitivity", value=0.9)})
    assert judge(back, terms=terms) == judge(models, terms=terms)
    for name, outcomes in models.items():
        np.testing.assert_array_equal(back[name].raw, outcomes.raw)
        np.testing.assert_array_equal(back[name].in_set, outcomes.in_set)
    assert predictions_text({"cv": back}) == text


def test_a_threshold_of_one_finding_alone_is_given_back(tmp_path):
    rng = np.random.default_rng(0)
    held = outcomes_of(rng.random((60, 2)), rng.random((60, 2)) < 0.4, threshold=np.tile([0.3, np.nan], (60, 1)))
    text = predictions_text({"test": {"m": held}})
    assert "nan" not in text
    back = read(tmp_path, text).models("test")["m"]
    np.testing.assert_array_equal(back.threshold, held.threshold)
    rows = [row for row in judge({"m": back}, terms=Terms(resamples=20)) if row.metric == "sensitivity"]
    assert {row.finding: row.value is None for row in rows if row.finding != "macro"} == {"f0": False, "f1": True}
    assert next(row.note for row in rows if row.finding == "f1") == "no threshold rule is stated for this finding"
    with pytest.raises(PredictionError, match='a value in every row of "f0" or in none'):
        read(tmp_path, text.replace(",0.3", ",", 1))


def test_weights_are_written_only_where_a_reader_would_guess_wrong():
    plain = binormal(30, events=10, auroc=0.8, seed=1, visits=3)
    assert "weight" not in predictions_text({"test": {"m": plain}}).splitlines()[0]
    odd = replace(plain, weight=np.full(30, 0.5))
    assert predictions_text({"test": {"m": odd}}).splitlines()[0].endswith(",weight")


def test_the_least_that_anyone_needs(tmp_path):
    held = read(tmp_path, "id,finding,truth,p_calibrated\na,x,1,0.5\nb,x,0,0.25\nc,x,,0.1\n").models("evaluation")["model"]
    assert held.findings == ("x",)
    assert held.known[:, 0].tolist() == [True, True, False]
    assert held.groups.tolist() == ["a", "b", "c"]
    assert not held.exclusive


def test_findings_that_exclude_each_other_are_recognised(tmp_path):
    head = "id,finding,truth,p_calibrated\n"
    exclusive = read(tmp_path, head + "a,x,1,0.5\na,y,0,0.5\nb,x,0,0.25\nb,y,1,0.75\n")
    assert exclusive.models("evaluation")["model"].exclusive
    both = read(tmp_path, head + "a,x,1,0.5\na,y,1,0.5\nb,x,0,0.25\nb,y,1,0.75\n")
    assert not both.models("evaluation")["model"].exclusive


HEAD = "id,group,finding,truth,known,p_calibrated,in_set,repeat\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (HEAD, "no rows|a header and no rows"),
        ("id,finding,truth\n", "row 1: no column 'p_calibrated'"),
        ("id,id,finding,truth,p_calibrated\n", "row 1: column 'id' occurs 2 times"),
        ("id,finding,truth,p_calibrated,mood\n", "row 1: unknown column 'mood'"),
        (HEAD + "a,g,x,1,1,0.5,1\n", "row 2: 7 cells under 8 columns"),
        (HEAD + "a,g,x,1,1,0.5,1,0\nb,g,x,yes,1,0.5,1,0\n", 'row 3, column "truth": expected 1, 0 or nothing'),
        (HEAD + "a,g,x,1,1,1.5,1,0\n", 'row 2, column "p_calibrated": expected a number between 0 and 1'),
        (HEAD + "a,g,x,1,1,nan,1,0\n", 'row 2, column "p_calibrated": expected a number between 0 and 1'),
        (HEAD + 'a,g,x,1,1,"0,5",1,0\n', "decimal point"),
        (HEAD + "a,g,x,1,1,,1,0\n", "remove cases without a prediction"),
        (HEAD + "a,g,x,,1,0.5,1,0\n", 'column "truth": expected 1 or 0 because known is 1'),
        (HEAD + ",g,x,1,1,0.5,1,0\n", 'column "id"'),
        (HEAD + "a,g,x,1,1,0.5,1,-1\n", 'column "repeat": expected a whole number'),
        (HEAD + "a,g,x,1,1,0.5,1,0\na,g,x,1,1,0.5,1,0\n", "row 3.*each id once per model"),
        (HEAD + "a,g,x,1,1,0.5,1,0\na,h,x,1,1,0.5,1,1\n", 'row 3, column "group": expected the same group'),
        (HEAD + "a,g,x,1,1,0.5,1,0\na,h,y,1,1,0.5,1,0\n", 'row 3, column "group": expected what row 2 says'),
        (HEAD + "a,g,x,1,1,0.5,1,0\na,g,y,1,1,0.5,1,0\nb,g,x,1,1,0.5,1,0\n", "'y' is missing"),
        (HEAD + "a,g,x,1,1,0.5,1,0\nb,g,x,1,1,0.5,,0\n", 'row 3, column "in_set": expected a value in every row or in none'),
    ],
)
def test_what_is_wrong_is_named_by_row_and_column(tmp_path, text, message):
    with pytest.raises(PredictionError, match=message):
        read(tmp_path, text)


def test_other_encodings_and_splits_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes("id,finding,truth,p_calibrated\nä,x,1,0.5\n".encode("latin-1"))
    with pytest.raises(PredictionError, match="UTF-8"):
        read_predictions(path)
    held = read(tmp_path, predictions_text({"test": {"m": outcomes_of([0.1, 0.9], [0, 1])}}))
    with pytest.raises(PredictionError, match="the file holds test"):
        held.models("cv")
