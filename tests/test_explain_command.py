"""`attending explain`: a page and pictures that stand alone, no word of a patient in the terminal, and what it refuses."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from attending.audit.procedure import check_explanations
from attending.explanation.view import Asked, explain_case
from tests.command_line import Said, call
from tests.explanation.models_at_hand import CASES, folder_with_model, model_of

WORDS = ("fever", "productive", "Patient reports")
"""What the notes of the table hold."""
METHODS = ("occlusion", "integrated-gradients", "attention")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_with_model(tmp_path_factory.mktemp("explained"))


def explain(folder: Path, out: Path, *more: str | Path, patient: str = "p002") -> Said:
    return call("explain", folder / "model", folder / "table.csv", "--patient", patient, "--out", out, *more)


@pytest.fixture(scope="module")
def explained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, Path]:
    out = tmp_path_factory.mktemp("why")
    return explain(folder, out, "--method", ",".join(METHODS)), out


def test_the_page_stands_alone(explained: tuple[Said, Path]) -> None:
    said, out = explained
    assert said.code == 0, said.err
    page = (out / "explanation.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    outside = set(re.findall(r"https?://[^\"' <)]+", page)) - {"http://www.w3.org/2000/svg"}
    assert not outside, outside
    assert "Research software, not a medical device." in page
    assert "not a cause, and not the effect of a treatment" in page
    assert "keep it as you keep the patient&#39;s data" in page
    assert "spread over 2 refits (not a confidence interval)" in page
    assert 'class="for"' in page or 'class="against"' in page
    assert "data:image/png;base64," in page
    for modality in ("note", "film", "laboratory values", "signs", "age and sex"):
        assert f">{modality}<" in page
    assert "prefers-color-scheme: dark" in page


def test_every_picture_is_whole_and_a_refused_method_has_none(explained: tuple[Said, Path]) -> None:
    """The model's weights are random, so a method may be as alike with others: then the terminal and the page say so."""
    said, out = explained
    names = {path.name for path in out.glob("*.svg")}
    assert "sick-modalities.svg" in names
    refused = [method for method in METHODS if f"{method} for sick" in said.out]
    assert (out / "explanation.html").read_text(encoding="utf-8").count("Refused: networks with random weights") == len(refused)
    assert {"occlusion", "integrated-gradients"}.isdisjoint(refused)
    for method in METHODS:
        drawn = {f"sick-{method}-{part}.svg" for part in ("film-1", "note-1", "values")}
        assert drawn.isdisjoint(names) if method in refused else drawn <= names
    for name in names:
        assert ElementTree.parse(out / name).getroot().tag.endswith("svg")


def test_the_terminal_says_nothing_of_the_patient(explained: tuple[Said, Path]) -> None:
    said, _ = explained
    assert "What each modality adds, in log-odds" in said.out
    assert not [word for word in (*WORDS, "p002") if word in said.out + said.err]


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    """Row 4 has no note, row 6 no film."""
    for patient, missing in (("p004", "note"), ("p006", "image")):
        said = explain(folder, tmp_path / patient, "--method", "occlusion", patient=patient)
        assert said.code == 0, said.err
        page = (tmp_path / patient / "explanation.html").read_text(encoding="utf-8")
        assert f"Not there: {missing}." in page
        assert ">not there<" in page


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--patient", "p999"), "--patient: found 0 cases of that id among 20 in table.csv, expected one; check the id"),
        (("--finding", "gout"), 'finding "gout" is not asked about; this model answers sick'),
        (("--method", "lime"), 'method "lime" is not known; known are shapley'),
        (("--reference", "0"), "--reference"),
    ],
)
def test_bad_input_is_one_sentence(folder: Path, tmp_path: Path, more: tuple[str, str], expected: str) -> None:
    said = explain(folder, tmp_path / "out", *more)
    assert said.code == 2
    assert expected in said.sentence
    assert "Traceback" not in said.err
    assert not [word for word in WORDS if word in said.err]
    assert not (tmp_path / "out" / "explanation.html").exists()


def test_a_file_is_no_folder_to_write_into(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("kept", encoding="utf-8")
    said = explain(folder, tmp_path / "out")
    assert (said.code, said.sentence.count("found a file, expected a folder")) == (2, 1)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "kept"


def test_every_explanation_has_its_truth_beside_it(explained: tuple[Said, Path]) -> None:
    page = (explained[1] / "explanation.html").read_text(encoding="utf-8")
    assert page.count("Is it true of the model?") == 4  # three methods, and the modalities
    assert page.count("Networks with random weights explain alike: refused from 0.5 on") == 4
    assert page.count("this case, your data") == 16
    assert "synthetic" not in page


def test_nearest_cases_are_hashed_ids_unless_a_folder_is_named(folder: Path, tmp_path: Path) -> None:
    assert "Nearest cases" not in _page_of(explain(folder, tmp_path / "a", "--method", "occlusion"), tmp_path / "a")
    page = _page_of(explain(folder, tmp_path / "b", "--method", "occlusion", "--similar", "3"), tmp_path / "b")
    assert "Nearest cases" in page
    assert not re.findall(r"p0\d\d", page)
    said = explain(folder, tmp_path / "c", "--method", "occlusion", "--similar", "2", "--cases", tmp_path / "near")
    assert said.code == 0, said.err
    assert len(list((tmp_path / "near").glob("*-sick.html"))) == 2
    alone = explain(folder, tmp_path / "d", "--cases", tmp_path / "never")
    assert (alone.code, alone.sentence) == (
        2,
        "attending: --cases: writes the evidence of the nearest cases, and none are asked for; give --similar 5 too",
    )


def _page_of(said: Said, out: Path) -> str:
    assert said.code == 0, said.err
    return (out / "explanation.html").read_text(encoding="utf-8")


def test_every_explanation_that_is_shown_was_measured(explained: tuple[Said, Path]) -> None:
    """T15: what is drawn carries what it was measured to be worth; were it worth nothing, the terminal would say so."""
    shown = explain_case(model_of(), CASES[2], others=CASES[3:8], asked=Asked(methods=("occlusion",))).shown
    assert [one.method for one in shown] == ["occlusion"]
    assert check_explanations(shown) == ()
    (worthless,) = check_explanations([replace(one, faithfulness=-0.1) for one in shown])
    assert (worthless.trap, worthless.severity.value) == ("T15", "warn")
    (unmeasured,) = check_explanations([replace(one, faithfulness=None) for one in shown])
    assert unmeasured.severity.value == "block"
    said, _ = explained
    assert "T15 block" not in said.out
