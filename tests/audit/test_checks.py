"""What is peculiar to single checks, by planting it: severities, words, numbers worked by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attending.audit import Finding, Material, Severity, audit
from attending.audit.material import Truth
from attending.audit.ranking import rank, rank_learned
from attending.records import infer_schema, read_charts, read_table
from attending.records.label_words import terms
from tests.audit.conftest import Look
from tests.tables import rows, write_rows

Row = dict[str, str]


def material(folder: Path, entries: Sequence[Row], *, target: str = "sick", only: Sequence[str] = ()) -> Material:
    """A table of these rows, read as inference takes it."""
    table = read_table(write_rows(folder / "table.csv", entries))
    schema = infer_schema(
        table, targets=[target], ignore=[name for name in ("kind", "a", "b") if name in entries[0]], only=only
    )
    return Material(table=table, records=read_charts(table, schema))


def found(folder: Path, change: Callable[[int, Row], Row], *, n: int = 120, only: Sequence[str] = ()) -> tuple[Finding, ...]:
    entries = [{**row, **change(number, row)} for number, row in enumerate(rows(n))]
    return audit(material(folder, entries, only=only)).findings


def one(findings: Sequence[Finding], trap: str, check: str) -> Finding:
    held = [finding for finding in findings if finding.trap == trap and finding.check == check]
    assert held, [(finding.trap, finding.check) for finding in findings]
    return held[0]


def test_an_unchanged_table_has_nothing_that_blocks(tmp_path: Path) -> None:
    assert not [finding for finding in found(tmp_path, lambda n, row: {}) if finding.severity is Severity.BLOCK]


def test_a_column_named_for_the_outcome_blocks_as_an_input_and_is_noted_when_kept_out(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> Row:
        return {"icu_days": str(number % 3 + (4 if row["sick"] == "yes" and number % 10 else 0))}

    kept_out = next(one for one in found(tmp_path, change) if one.trap == "T4" and one.severity is Severity.NOTE)
    assert kept_out.columns == ("icu_days",)
    used = one(found(tmp_path, change, only=["icu_days", "age"]), "T4", "giveaways")
    assert (used.severity, used.columns) == (Severity.BLOCK, ("icu_days",))
    assert "--ignore icu_days" in used.remedy


def test_a_strong_number_warns_and_never_blocks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    strong = one(
        found(tmp_path, lambda n, row: {"marker_u_l": f"{rng.normal(4 * (row['sick'] == 'yes')):.3f}"}), "T4", "giveaways"
    )
    assert strong.severity is Severity.WARN
    assert "marker_u_l" in strong.columns


def test_a_sign_that_is_the_label_by_another_name_blocks(tmp_path: Path) -> None:
    renamed = one(
        found(tmp_path, lambda n, row: {"code": "x1" if row["sick"] == "yes" else "x2"}, only=["code"]), "T4", "giveaways"
    )
    assert (renamed.severity, renamed.columns) == (Severity.BLOCK, ("code",))


def test_late_values_beside_an_unused_time_column_block(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> Row:
        return {"visit_date": "2020-03-01 08:00", "crp_mg_l_taken_at": f"2020-03-0{1 + number % 2} 07:00"}

    entries = [{**row, **change(number, row)} for number, row in enumerate(rows(60))]
    read = material(tmp_path, entries)
    dated = one(audit(read).findings, "T2", "lateness")
    assert dated.severity is Severity.WARN  # inference found the time, so reading left the late values out
    columns = tuple(
        replace(column, time="at the question") if column.name == "crp_mg_l" else column for column in read.schema.columns
    )
    records = read_charts(read.table, replace(read.schema, columns=columns))
    used = one(audit(Material(table=read.table, records=records)).findings, "T2", "lateness")
    assert (used.severity, used.columns) == (Severity.BLOCK, ("crp_mg_l",))
    n_late = sum(bool(entry["crp_mg_l"]) and number % 2 == 1 for number, entry in enumerate(entries))
    assert len(used.rows) == n_late


def test_a_saturation_of_270_is_impossible(tmp_path: Path) -> None:
    wrong = one(found(tmp_path, lambda n, row: {"spo2_pct": "270" if n == 17 else str(90 + n // 2 % 10)}), "data", "ranges")
    assert wrong.columns == ("spo2_pct",)
    assert wrong.rows == ("row 19",)
    assert '"spo2_pct": 1 outside 20 to 100 %' in wrong.evidence


def test_zeros_that_stand_for_unknown_are_told(tmp_path: Path) -> None:
    wrong = one(found(tmp_path, lambda n, row: {"ferritin_ug_l": "0" if n == 3 else str(100 + n)}), "data", "ranges")
    assert wrong.columns == ("ferritin_ug_l",)


def test_a_column_in_two_units_is_told_by_its_gap(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def change(number: int, row: Row) -> Row:
        grams = rng.uniform(11, 16)
        return {"haemo_content": f"{grams * (10 if number % 3 == 0 else 1):.2f}"}

    mixed = one(found(tmp_path, change), "data", "ranges")
    assert "two units" in mixed.told
    assert "80 values up to 1" in mixed.evidence


def films(folder: Path, shown: Callable[[int, np.ndarray], np.ndarray], *, n: int = 60, size: int = 160) -> Material:
    """One film per patient: coarse and fine noise of its own, as `shown` changes it."""
    rng = np.random.default_rng(4)
    entries = []
    for number, row in enumerate(rows(n)):
        coarse = np.kron(rng.normal(size=(size // 16, size // 16)), np.ones((16, 16)))
        pixels = np.clip(110 + 30 * coarse + 12 * rng.normal(size=(size, size)), 0, 255)
        Image.fromarray(shown(number, pixels).astype(np.uint8)).save(folder / f"film{number}.png")
        entries.append({**row, "film": f"film{number}.png"})
    return material(folder, entries)


@pytest.mark.parametrize("disguise", ["equal", "brighter", "mirrored", "cropped"])
def test_a_film_again_under_another_patient_blocks(tmp_path: Path, disguise: str) -> None:
    seen: dict[int, np.ndarray] = {}

    def shown(number: int, pixels: np.ndarray) -> np.ndarray:
        seen[number] = pixels
        if number != 41:
            return pixels
        first, margin = seen[7], 10
        cropped = Image.fromarray(first[margin:-margin, margin:-margin].astype(np.float32)).resize((160, 160))
        changed = {"equal": first, "brighter": 255 * (first / 255) ** 0.85, "mirrored": first[:, ::-1], "cropped": cropped}
        return np.clip(np.asarray(changed[disguise]), 0, 255)

    twin = one(audit(films(tmp_path, shown)).findings, "T12", "repeats")
    assert twin.severity is Severity.BLOCK
    assert twin.rows == ("row 9", "row 43")


def test_films_of_one_grey_black_or_inverted_are_told(tmp_path: Path) -> None:
    light = np.linspace(0, 80, 160)[:, None] * np.ones((1, 160))

    def shown(number: int, pixels: np.ndarray) -> np.ndarray:
        film = np.clip(pixels / 2 + light, 0, 255)
        return {5: np.full((160, 160), 90.0), 6: film / 16, 7: 255 - film}.get(number, film)

    wrong = one(audit(films(tmp_path, shown)).findings, "T9", "exposure")
    assert wrong.rows == ("row 7", "row 8", "row 9")
    assert "1 of one grey, 1 nearly black, 1 inverted, of 60 films" in wrong.evidence


def test_a_mount_that_is_lost_blocks(tmp_path: Path) -> None:
    held = films(tmp_path, lambda n, pixels: pixels)
    for path in tmp_path.glob("film*.png"):
        path.unlink()
    lost = Material(table=held.table, records=read_charts(held.table, held.schema))
    assert one(audit(lost).findings, "T10", "unreadable").severity is Severity.BLOCK


def test_a_burned_in_letter_is_told_by_the_rims(tmp_path: Path) -> None:
    def shown(number: int, pixels: np.ndarray) -> np.ndarray:
        marked = pixels.copy()
        if number % 2 == 0:  # as `sick` is in tests.tables
            marked[4:12, 4:12] = 255
        return marked

    assert one(audit(films(tmp_path, shown)).findings, "T7", "borders").severity is Severity.WARN


@pytest.mark.parametrize(
    ("finding", "said", "silent"),
    [
        ("heart_failure", "known heart failure", "renal failure"),
        ("covid19", "sars-cov-2 positive", "peribroncovascular"),
        ("viral_other", "mers in 2015", "sars-cov-2"),
        ("pulmonary_embolism", "pe on ct", "opera singer"),
        ("no_finding", "chest film: normal", "abnormal"),
    ],
)
def test_label_words_are_meant_where_they_begin_a_word(clinic: Look, finding: str, said: str, silent: str) -> None:
    pattern = terms(clinic(None, seed=11).schema, finding)
    assert pattern is not None
    assert pattern.search(said)
    assert not pattern.search(silent)


def test_a_rank_by_hand(tmp_path: Path) -> None:
    held = material(tmp_path, rows(40))
    truth = Truth(finding="sick", cases=np.arange(40), is_event=np.arange(40) % 2 == 0)
    scores = np.arange(40, dtype=float)  # of 20 × 20 pairs the event is above in 190
    either = rank(held, truth, scores, tests=1)
    assert either is not None
    assert either.area == pytest.approx(1 - 190 / 400)
    assert either.low < 0.5


def test_noise_that_is_learned_is_no_alarm_in_either_direction(tmp_path: Path) -> None:
    held = material(tmp_path, rows(120))
    rng = np.random.default_rng(0)
    truth = Truth(finding="sick", cases=np.arange(120), is_event=np.arange(120) % 2 == 0)
    alarms = 0
    for _ in range(40):
        ranking = rank_learned(held, truth, rng.random((120, 8)) < 0.3, tests=1)
        alarms += ranking is not None and ranking.alarms(0.65)
    assert alarms <= 1


def people(folder: Path, name_of: Callable[[int], str], born: Callable[[int], str]) -> tuple[Finding, ...]:
    return found(folder, lambda n, row: {"surname": name_of(n), "dob": born(n)}, n=200)


def test_strangers_may_share_a_name_and_a_birthday_but_not_many(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few = people(tmp_path / "few", lambda n: f"name{n % 120}", lambda n: f"19{n % 97:02d}-0{1 + (n // 120 + n) % 9}-11")
    assert not [one for one in few if one.trap == "T1"]
    many = people(tmp_path / "many", lambda n: f"name{n % 150}", lambda n: f"19{10 + n % 150 % 80}-0{1 + n % 150 % 9}-11")
    twins = one(many, "T1", "persons")
    assert twins.columns == ("surname", "dob")
    assert len(twins.rows) == 100


def test_a_record_number_given_twice_by_mistake_warns_where_the_names_differ(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> Row:
        return {"mrn": str(1000 + number % 119), "surname": f"name{number}"}

    assert one(found(tmp_path, change), "T1", "persons").severity is Severity.WARN
    (tmp_path / "alone").mkdir()
    alone = one(found(tmp_path / "alone", lambda n, row: {"mrn": change(n, row)["mrn"]}), "T1", "persons")
    assert (alone.severity, len(alone.rows)) == (Severity.BLOCK, 2)


def test_films_beside_the_table_are_looked_at_for_their_filing(tmp_path: Path) -> None:
    entries = rows(80)
    lines = ["patient_id,path"]
    (tmp_path / "films").mkdir()
    for number, row in enumerate(entries):
        row["patient_id"] = f"p{number}"
        side = 40 if row["sick"] == "yes" else 32
        Image.fromarray(np.full((side, 32), number, dtype=np.uint8)).save(tmp_path / "films" / f"f{number}.png")
        lines.append(f"p{number},films/f{number}.png")
    (tmp_path / "images.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table, images = read_table(write_rows(tmp_path / "table.csv", entries)), read_table(tmp_path / "images.csv")
    schema = infer_schema(table, targets=["sick"], ignore=["kind", "a", "b"])
    records = read_charts(table, schema, companions={"images": images})
    held = one(audit(Material(table=table, records=records, companions={"images": images})).findings, "T8", "filing")
    assert held.columns == ("path",)
    assert "the height" in held.evidence


def test_missingness_that_goes_with_no_single_finding_is_told_of_any(clinic: Look) -> None:
    material = clinic("T11", strength=0.5, n=300, seed=43)
    found = [finding for finding in audit(material).findings if finding.trap == "T11"]
    assert [finding.severity for finding in found] == [Severity.WARN]
    assert '"any finding"' in found[0].evidence
