"""The Python API: light to import, typed, and the whole line in a few calls."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import attending
from attending.privacy import project_key
from attending.records.clinic import ClinicConfig, draw_clinic, write_clinic
from attending.records.clinic.world import DISEASES
from tests.tables import EVERYTHING, tiny_recipe


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, time; began = time.perf_counter(); import attending; spent = time.perf_counter() - began; "
        "print([name for name in ('torch', 'polars', 'numpy', 'sklearn') if name in sys.modules], spent < 0.5)"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["[]", "True"]


def test_every_public_name_is_there_and_is_what_its_type_says() -> None:
    tree = ast.parse(Path(attending.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {}
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            typed[alias.asname or alias.name] = (node.module, alias.name)
    assert set(typed) == set(attending.__all__)
    for name, (module, called) in typed.items():
        home = __import__(str(module), fromlist=[called])
        assert getattr(attending, name) is getattr(home, called)
    assert set(attending.__all__) <= set(dir(attending))


def test_a_name_that_is_not_public_is_refused_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'fit'; public are Case, .*, take_in"):
        attending.fit  # noqa: B018


def test_the_line_runs_on_the_synthetic_clinic(tmp_path: Path) -> None:
    table_file = write_clinic(draw_clinic(ClinicConfig(n_patients=40, seed=3, film_size=32)), tmp_path / "clinic")[0]
    table = attending.read_table(table_file)
    schema = attending.infer_schema(table, targets=["pneumonia"], ignore=[name for name in DISEASES if name != "pneumonia"])
    records = attending.read_charts(table, schema)
    deidentified = attending.deidentify(records.charts, key=project_key(tmp_path / "privacy.key"))
    assert all(isinstance(chart, attending.Chart) for chart in records.charts)
    intake = attending.Intake(table=table, records=records, deidentified=deidentified)
    plan = attending.Plan(protocol="split", threads=1, recipe=tiny_recipe(modalities=EVERYTHING, epochs=2))
    study = attending.hold_study(intake, plan=plan, out=tmp_path / "out")
    assert "fused-without-image" in study.trial.outcomes

    model = attending.load(tmp_path / "out")
    assert isinstance(model, attending.TrainedModel)
    assert model.id == attending.load(tmp_path / "out" / "model").id == study.model.id
    case = next(case for case in intake.cases if case.of(attending.Note))
    (diagnosis,) = model.diagnose([case])
    assert diagnosis.case == case.id
    assert 0.0 < diagnosis.probability()["pneumonia"] < 1.0
    (without,) = model.diagnose([case.without(attending.Note)])
    assert "note" in without.missing
    (nothing,) = model.diagnose([replace(case, evidence=())])
    assert nothing.abstained == "no evidence of a kind that the model reads"
