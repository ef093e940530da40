"""Schemas: what is declared reads back equal, and what is left over or left out is refused."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.records import EACH_ROW, Column, Companion, Role, Sampling, Schema, SchemaError, Target, TargetKind
from attending.records.column import AT_QUESTION, INPUTS, UNRECORDED_TIME, UNSTATED, Rule, ValueRules
from attending.records.schema import Primary, Threshold
from attending.records.schema_file import from_toml, load_schema, to_toml, write_schema

WORDS = st.text(string.ascii_letters + string.digits + " _.-\"'\\=[]#äß\n", min_size=1, max_size=12).filter(str.strip)
RULES = st.builds(
    ValueRules,
    below=st.sampled_from(Rule),
    infinite=st.sampled_from(Rule),
    detection_high=st.none() | st.floats(0, 1e6),
    decimal=st.sampled_from(["point", "comma"]),
    misfit=st.sampled_from(["error", "refused"]),
    unknown=st.lists(WORDS, max_size=3).map(tuple),
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(WORDS, min_size=2, max_size=8, unique=True))
    inputs = [
        Column(
            name=name,
            role=draw(st.sampled_from([Role.NUMBER, Role.SIGN, Role.NOTE, Role.IMAGE, Role.EMBEDDING])),
            why=draw(WORDS),
            unit=draw(st.sampled_from([UNSTATED, "mg/L", "1"])),
            time=draw(st.sampled_from([AT_QUESTION, UNRECORDED_TIME])),
            levels=draw(st.lists(WORDS, max_size=3).map(tuple)),
            rules=draw(RULES),
            is_missingness_visible=draw(st.booleans()),
        )
        for name in names[2:]
    ]
    return Schema(
        columns=(Column(name=names[0], role=Role.PATIENT), Column(name=names[1], role=Role.TARGET), *inputs),
        targets=(Target(column=names[1], kind=TargetKind.BINARY, classes=("0", "1"), positive="1"),),
        population=draw(WORDS),
        sampling=draw(st.sampled_from(Sampling)),
        target_prevalence=draw(st.sampled_from([{}, {names[1]: 0.1}])),
        thresholds=draw(st.sampled_from([{}, {names[1]: Threshold(rule="sensitivity", value=0.95)}])),
        primary=draw(st.sampled_from([None, Primary(finding=names[1])])),
        warning=draw(st.just("") | WORDS),
        cautions=draw(st.lists(WORDS, max_size=3).map(tuple)),
        waivers=draw(st.dictionaries(WORDS, WORDS, max_size=2)),
        look_back_hours=draw(st.none() | st.floats(0.5, 1e4)),
        decision_range=draw(st.sampled_from([None, (0.05, 0.6)])),
        companions=draw(
            st.sampled_from([(), (Companion(kind="labs", id=names[0], value="v", code="c", units={"crp": "mg/L"}),)])
        ),
    )


@given(schemas())
def test_a_schema_reads_back_equal(schema: Schema) -> None:
    assert from_toml(to_toml(schema)) == schema


def test_a_schema_file_is_written_and_loaded(tmp_path: Path) -> None:
    schema = Schema(columns=(Column(name="p", role=Role.PATIENT),))
    write_schema(schema, tmp_path / "s.toml")
    assert load_schema(tmp_path / "s.toml") == schema
    with pytest.raises(SchemaError, match="cannot be read"):
        load_schema(tmp_path / "none.toml")


def test_a_person_sees_what_can_be_declared_of_the_study() -> None:
    lines = to_toml(Schema(columns=(Column(name="p", role=Role.PATIENT),))).splitlines()
    assert {'warning = ""', "cautions = []"} <= set(lines)
    explained = " ".join(line for line in lines if line.startswith("#"))
    assert "warning heads the report" in explained
    assert "cautions are sentences" in explained


HEAD = 'format = 1\n[columns.p]\nrole = "patient"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format = 1", r"no \[columns\]"),
        ("format = 2\n", "format = 2, expected 1"),
        ("format = 1\nx = ", "not valid TOML"),
        (f"smapling = 'cohort'\n{HEAD}", 'unknown key "smapling".*Did you mean "sampling"'),
        (f"sampling = 'random'\n{HEAD}", "sampling = 'random', expected one of cohort, case-control"),
        (f"look_back_hours = 'x'\n{HEAD}", "look_back_hours = 'x', expected a number"),
        (HEAD + '[columns.c]\nrole = "nubmer"', "role = 'nubmer'.*Did you mean \"number\""),
        (HEAD + '[columns.c]\nrole = "number"\ntime = "at the question"', 'column "c": a number without unit'),
        (HEAD + '[columns.c]\nrole = "number"\nunit = "mg/L"', 'column "c": an input without time'),
        (
            HEAD + '[columns.c]\nrole = "number"\nunit = "apples"\ntime = "at the question"',
            'column "c": unit "apples" is not known.*"{points}" for a count',
        ),
        (HEAD + '[columns.c]\nrole = "ignored"\n[columns.c.rules]\nmisfit = "drop"', 'misfit = "drop": expected "error"'),
        (
            HEAD + '[companions.labs]\nid = "p"\nvalue = "v"\ncode = "c"\n[companions.labs.units]\ncrp = "mgl"',
            'companion "labs", code "crp": unit "mgl" is not known',
        ),
        (HEAD + '[columns.c]\nrole = "sign"\ntime = "drawn"', 'time of column "c" is "drawn"'),
        (HEAD + '[columns.c]\nrole = "ignored"\nlevel = ["x"]', 'unknown key "level".*Did you mean "levels"'),
        (HEAD + '[columns.c]\nrole = "ignored"\nlevels = "x"', "levels = 'x', expected a list"),
        (HEAD + '[columns.c]\nrole = "ignored"\n[columns.c.rules]\nbelow = "drop"', "below = 'drop'"),
        ("format = 1\n[columns.c]\nrole = 'ignored'", "no column has the role patient"),
        (HEAD + '[columns.q]\nrole = "patient"', 'role "patient" is held by p, q'),
        (HEAD + '[targets.t]\nkind = "classes"\nclasses = ["a", "b"]', 'target "t" needs a column with the role target'),
        (f"cautions = 'x'\n{HEAD}", "cautions = 'x', expected a list of texts"),
        (f"cautions = ['x', ' ']\n{HEAD}", "cautions holds an empty text"),
        (f"warning = 3\n{HEAD}", "warning = 3, expected text in quotes"),
        (HEAD + '[waivers]\nT1 = ""', "the waiver of T1 has no reason"),
        (HEAD + "[thresholds]\nt = 3", "expected one rule such as"),
        (HEAD + "[thresholds]\nt = { sensitivty = 0.9 }", 'Did you mean "sensitivity"'),
        (HEAD + "[thresholds]\nt = { risk = 3.0 }", "expected a number between 0 and 1"),
        (HEAD + "[target_prevalence]\nt = 3.0", "expected a number between 0 and 1"),
        (f"decision_range = [0.6, 0.1]\n{HEAD}", "two risks between 0 and 1, the lower first"),
        (f"decision_range = [0.1]\n{HEAD}", "expected two numbers"),
        (f"decision_range = 0.1\n{HEAD}", "expected two numbers"),
    ],
)
def test_what_is_left_over_or_left_out_is_refused(text: str, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        from_toml(text, name="s.toml")


@pytest.mark.parametrize("finding", ["dx", 'a "b"\n[c]'])
def test_what_the_head_offers_can_be_declared_as_it_stands(finding: str) -> None:
    columns = (Column(name="p", role=Role.PATIENT), Column(name=finding, role=Role.TARGET))
    targets = (Target(column=finding, kind=TargetKind.BINARY, classes=("0", "1"), positive="1"),)
    text = to_toml(Schema(columns=columns, targets=targets))
    head, body = text.split("\n\nformat = ", 1)
    above = [line[1:] for line in head.splitlines() if re.match(r"#\w+ = ", line)]
    below = [line[2:] for line in head[head.index("# [primary]") :].splitlines()]
    declared = from_toml("\n".join([*above, f"format = {body}", *below]))
    assert declared.look_back_hours == 48.0
    assert declared.decision_range == (0.05, 0.6)
    assert declared.patient_rows == "each row"
    assert declared.primary is not None
    assert declared.primary.finding == finding
    assert dict(declared.thresholds) == {finding: Threshold(rule="sensitivity", value=0.95)}
    assert dict(declared.target_prevalence) == {finding: 0.03}
    assert dict(declared.waivers) == {"T6": "reason"}


def test_a_target_needs_two_classes_and_a_positive_value_among_them() -> None:
    with pytest.raises(SchemaError, match="has 1 class"):
        Target(column="t", kind=TargetKind.CLASSES, classes=("a",))
    with pytest.raises(SchemaError, match=r'no value "covid" .*Did you mean "covid19"'):
        Target(column="t", kind=TargetKind.BINARY, classes=("covid19", "other"), positive="covid")


def test_declarations_name_findings_that_exist() -> None:
    columns = (Column(name="p", role=Role.PATIENT), Column(name="dx", role=Role.TARGET))
    targets = (Target(column="dx", kind=TargetKind.BINARY, classes=("0", "1"), positive="1"),)
    with pytest.raises(SchemaError, match=r'thresholds names the finding "dxx".*Did you mean "dx"'):
        Schema(columns=columns, targets=targets, thresholds={"dxx": Threshold(rule="risk", value=0.1)})


def test_two_inputs_never_share_a_name() -> None:
    def number(name: str) -> Column:
        return Column(name=name, role=Role.NUMBER, code="crp", unit="mg/L", time=AT_QUESTION)

    with pytest.raises(SchemaError, match='columns "a" and "b" both give evidence named "crp"'):
        Schema(columns=(Column(name="p", role=Role.PATIENT), number("a"), number("b")))


def test_what_nobody_declared_is_listed() -> None:
    columns = (
        Column(name="a", role=Role.NUMBER, unit=UNSTATED, time=AT_QUESTION, is_missingness_visible=True),
        Column(name="b", role=Role.SIGN, levels=("no", "yes"), time=UNRECORDED_TIME),
        Column(name="c", role=Role.AGE, unit="a", time=AT_QUESTION, is_missingness_visible=True),
    )
    schema = Schema(columns=columns, patient_rows=EACH_ROW)
    assert schema.undeclared() == ('column "a": unit unstated', f'column "b": time {UNRECORDED_TIME}')
    assert schema.visible == frozenset({"a", "age_years"})
    assert [column.role in INPUTS for column in schema.columns] == [True, True, True]
