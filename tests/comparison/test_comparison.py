"""Sizes are arithmetic, memory is counted the same every time, growth is a power, and all that is found is written down."""

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from attending.attention import Limits
from attending.comparison import (
    AssociativeRecall,
    Comparison,
    ComparisonError,
    ComparisonPlan,
    LearningPlan,
    Row,
    Shape,
    TimingPlan,
    as_text,
    chosen_contenders,
    compare,
    contender,
    page_of,
    parsed_lengths,
    quality_table,
    size_table,
    standard_contenders,
)
from attending.comparison.comparison import mean_with_interval
from attending.comparison.contenders import mask_of
from attending.comparison.memory import peak_bytes
from attending.comparison.plots import pareto
from attending.comparison.row import FIELDS, LAYER, Ledger
from attending.comparison.sizes import growth_rows, size_rows
from attending.comparison.timing import in_turns
from attending.comparison.words import told_bytes, told_quality, told_seconds, told_share, told_time, unit_of

LIMITS = Limits(flops_per_s={"float32": 1e12}, bytes_per_s=1e11, machine="A machine <of tests>", threads=1)
TINY = ComparisonPlan(
    timing=TimingPlan(lengths=(128, 256), rounds=2),
    tasks=(AssociativeRecall(n_pairs=4, n_keys=6, n_values=4),),
    learning=LearningPlan(steps=3, batch=4, n_asked=8),
    seeds=(0, 1),
)


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(standard_contenders(Shape(dim=16, n_heads=2, budget=8)), limits=LIMITS, plan=TINY)


def growth_of_flops(name: str, lengths: tuple[int, int]) -> float:
    rows = list(size_rows(chosen_contenders([name], None, Shape()), lengths, "float32"))
    (row,) = Ledger(growth_rows(rows)).among(quantity="flops_growth", phase="prefill")
    return row.value


def test_full_attention_grows_with_the_square_and_windows_with_the_length() -> None:
    far = (1 << 18, 1 << 19)
    for name in ("mha", "gqa", "mqa", "latent", "clustered"):
        assert 1.98 < growth_of_flops(name, far) <= 2.0
    for name in ("windowed", "windowed:n_global=4", "low rank"):
        assert 0.99 < growth_of_flops(name, far) < 1.01
    # picking looks at every pair, however few it reads: still a square, only of small heads
    assert growth_of_flops("indexed", far) > 1.98
    # and so does looking at every run, of which there are fewer by the stride
    assert growth_of_flops("native sparse", far) > 1.98


def test_growth_is_the_power_between_the_two_longest_lengths() -> None:
    same = {"mechanism": "one", "task": LAYER, "phase": "prefill", "quantity": "seconds"}
    rows = [Row(**same, length=n, value=n**1.5, low=0.9 * n**1.5, high=1.1 * n**1.5) for n in (8, 64, 256)]  # type: ignore[arg-type]
    (row,) = growth_rows(rows)
    assert row.quantity == "seconds_growth"
    assert row.length == 256
    assert row.value == pytest.approx(1.5)
    assert row.low == pytest.approx(1.5 + math.log(0.9 / 1.1) / math.log(4))
    assert row.high == pytest.approx(1.5 - math.log(0.9 / 1.1) / math.log(4))
    assert list(growth_rows(rows[:1])) == []


def test_peak_counts_what_lives_at_once() -> None:
    def sum_of_two() -> torch.Tensor:
        one = torch.zeros(100)  # 400 bytes
        two = one + 1.0  # 800
        del one  # 400
        return two.view(10, 10) * 2.0  # 800: a view is no new tensor

    assert peak_bytes(sum_of_two) == 800
    given = torch.zeros(1000)
    assert peak_bytes(lambda: given.add_(1.0)) == 0, "what was there before is not counted"
    assert peak_bytes(lambda: [torch.zeros(10) for _ in range(5)]) == 200
    assert peak_bytes(lambda: given @ given.new_ones(1000)) == peak_bytes(lambda: given @ given.new_ones(1000)) == 4004


@pytest.mark.parametrize("name", ["mha", "latent", "clustered", "native sparse", "windowed", "low rank"])
def test_no_mechanism_holds_the_square(name: str) -> None:
    def peak(length: int) -> int:
        config = contender(name, Shape(dim=32, n_heads=2)).over(length)
        module, x = config.build().eval(), torch.randn(1, length, 32)
        with torch.no_grad():
            return peak_bytes(lambda: module(x, mask=mask_of(config)))

    # what a core holds beside its numbers in and out is bounded, so that twice the tokens hold at most twice as much
    assert peak(4096) <= 2.05 * peak(2048)


def test_turns_are_as_many_as_rounds() -> None:
    called: list[str] = []
    seconds = in_turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=3)
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"a": 3, "b": 3}
    assert called.count("a") == called.count("b")


def test_rows_are_what_a_file_of_them_has(found: Comparison) -> None:
    told = json.loads(as_text(found.rows, found.about))
    assert {tuple(row) for row in told["rows"]} == {FIELDS}
    assert told["about"]["machine"] == "A machine <of tests>"
    assert len(told["rows"]) == len(found.rows)
    for name in [one.name for one in found.contenders]:
        quantities = {row["quantity"] for row in told["rows"] if row["mechanism"] == name}
        assert quantities >= {"parameters", "cache_bytes_used", "flops", "seconds", "peak_bytes", "accuracy", "flops_growth"}


def test_times_have_their_floor_and_their_spread(found: Comparison) -> None:
    times = Ledger(found.rows).among(quantity="seconds")
    assert len(times) == len(found.contenders) * 2 * 2
    for row in times:
        config = next(one for one in found.contenders if one.name == row.mechanism).over(row.length or 0)
        assert row.limit == config.cost(row.length, phase=row.phase).floor(LIMITS)  # type: ignore[arg-type]
        assert row.low is not None
        assert row.high is not None
        assert 0.0 < row.low <= row.value <= row.high


def test_the_difference_to_the_first_is_paired(found: Comparison) -> None:
    ledger, task = Ledger(found.rows), TINY.tasks[0].name
    first = ledger.one(mechanism="mha", task=task, quantity="accuracy")
    assert first is not None
    for one in found.contenders[1:]:
        own = ledger.one(mechanism=one.name, task=task, quantity="accuracy")
        less = ledger.one(mechanism=one.name, task=task, quantity="accuracy_difference")
        assert own is not None
        assert less is not None
        assert less.value == pytest.approx(own.value - first.value)
    assert ledger.one(mechanism="mha", task=task, quantity="accuracy_difference") is None


def test_an_interval_of_three_worked_by_hand() -> None:
    # 0.2, 0.4, 0.6: mean 0.4, s = 0.2, t(0.975, 2) = 4.3027, so 0.4 ± 4.3027 × 0.2 / √3
    value, low, high = mean_with_interval(np.array([0.2, 0.4, 0.6]))
    assert value == pytest.approx(0.4)
    assert (high - low) / 2 == pytest.approx(4.30265 * 0.2 / math.sqrt(3), rel=1e-5)
    assert low == pytest.approx(0.8 - high)
    assert mean_with_interval(np.array([0.3])) == (0.3, 0.3, 0.3)


def test_the_front_is_what_nothing_smaller_beats() -> None:
    points = {
        "big": (100.0, 0.9),
        "small": (10.0, 0.5),
        "worse": (20.0, 0.4),
        "same size": (10.0, 0.3),
        "no better": (200.0, 0.9),
    }
    assert pareto(points) == ("small", "big")
    assert pareto({}) == ()


def test_progress_ends_at_the_end_and_never_goes_back() -> None:
    heard: list[float] = []
    plan = ComparisonPlan(timing=TimingPlan(lengths=(128,), rounds=1), tasks=TINY.tasks, learning=TINY.learning, seeds=(0,))
    compare(
        chosen_contenders(["mqa"], None, Shape(dim=8, n_heads=2)),
        limits=LIMITS,
        plan=plan,
        heard=lambda _, done: heard.append(done),
    )
    assert heard == sorted(heard)
    assert heard[0] == 0.0
    assert heard[-1] == 1.0
    assert len(heard) > 4


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href")]


def test_the_page_stands_alone_and_its_pictures_are_whole(found: Comparison) -> None:
    page = page_of(found)
    tags = _Tags()
    tags.feed(page)
    assert tags.links == []
    assert "script" not in tags.tags
    assert "A machine &lt;of tests&gt;" in page
    assert "prefers-color-scheme: dark" in page
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 5
    for picture in pictures:
        text = " ".join("".join(each.itertext()) for each in ET.fromstring(picture).iter())
        assert "NaN" not in picture
        assert all(one.name in text for one in found.contenders)


def test_a_busy_machine_is_told_of_on_the_page_and_in_the_file(found: Comparison) -> None:
    busy, quiet = (replace(found, load=load) for load in (3.2, 0.1))
    assert "Others were at work on this machine (load 3.2)" in page_of(busy)
    assert "Others were at work" not in page_of(quiet)
    assert json.loads(as_text(busy.rows, busy.about))["about"]["load"] == 3.2


def test_the_tables_name_every_mechanism(found: Comparison) -> None:
    names = [one.name for one in found.contenders]
    for table in (size_table(found), quality_table(found)):
        assert [row[0] for row in table.rows] == names
        assert {len(row) for row in table.rows} == {len(table.heads)}


def test_numbers_in_words() -> None:
    assert [told_bytes(n) for n in (0, 999, 1000, 24_600, 5.24e6, 3e9)] == [
        "0 B",
        "999 B",
        "1.00 kB",
        "24.6 kB",
        "5.24 MB",
        "3.00 GB",
    ]
    assert [told_seconds(s) for s in (2.5, 0.0421, 1.5e-5)] == ["2.50 s", "42.1 ms", "15.0 µs"]
    row = Row(mechanism="a", task=LAYER, quantity="seconds", value=2e-3, low=1.5e-3, high=0.11, limit=1e-4)
    assert told_time(row, unit_of([row])) == "2.00 (1.50 to 110)"
    assert unit_of([row])[0] == "ms"
    assert told_share(row) == "5.0 %"
    less = Row(mechanism="a", task="t", quantity="accuracy_difference", value=-0.5, low=-0.75, high=0.25)
    assert told_quality(less) == "−0.50 (−0.75 to 0.25)"
    assert told_quality(Row(mechanism="a", task="t", quantity="accuracy", value=-1e-9)) == "0.00"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: TimingPlan(lengths=()), "lengths: found"),
        (lambda: TimingPlan(lengths=(64,)), "from 128 on"),
        (lambda: TimingPlan(dtype="int8"), "expected one of float32, bfloat16, float64"),
        (lambda: TimingPlan(rounds=0), "rounds: found 0"),
        (lambda: parsed_lengths("256,many"), "found '256,many'"),
    ],
)
def test_a_plan_that_cannot_be_held_is_refused(make, told: str) -> None:
    with pytest.raises(ComparisonError, match=told):
        make()


def test_lengths_are_put_in_order() -> None:
    assert parsed_lengths("1024, 256,256") == (256, 1024)
