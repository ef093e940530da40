"""Label words taken out of notes: what a schema declares holds on reading, and the rest of a note stays as it was written."""

from dataclasses import replace
from pathlib import Path

from attending.case import Note
from attending.records import infer_schema, read_charts, read_table
from attending.records.label_words import without_label_words
from attending.records.schema_file import from_toml, to_toml
from tests.tables import rows, write_rows


def test_words_of_every_finding_are_taken_out_and_nothing_else(tmp_path: Path) -> None:
    said = ["Known Pneumonia of the left lung.", "no pneumonias, pneumonic rub", "Chest pain since Monday"]
    entries = [{**row, "history": said[at % 3], "pneumonia": "yes" if at % 3 == 0 else "no"} for at, row in enumerate(rows(30))]
    table = read_table(write_rows(tmp_path / "table.csv", entries))
    schema = infer_schema(table, targets=["pneumonia"], ignore=["sick"], only=["history"])
    masked = replace(schema, masks_label_words=True)
    plain = [chart.of(Note)[0].text for chart in read_charts(table, schema).charts]
    assert plain[:3] == said
    read = [chart.of(Note)[0].text.split() for chart in read_charts(table, masked).charts]
    assert read[:3] == [
        ["Known", "of", "the", "left", "lung."],
        ["no", ",", "rub"],
        ["Chest", "pain", "since", "Monday"],
    ]
    assert from_toml(to_toml(masked)).masks_label_words
    assert not from_toml(to_toml(schema)).masks_label_words


def test_a_text_without_a_label_word_is_given_back_as_it_is(tmp_path: Path) -> None:
    table = read_table(write_rows(tmp_path / "table.csv", rows(30)))
    schema = infer_schema(table, targets=["sick"])
    assert without_label_words("Cough,  two\nspaces", schema) == "Cough,  two\nspaces"
