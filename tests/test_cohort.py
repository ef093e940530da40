"""Groups are never parted, parts are stratified, and the protocol says why it is what it is."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.cohort import (
    CohortError,
    Kind,
    Member,
    nested_folds,
    patient_weights,
    plan_protocol,
    split_members,
)


def people(n, *, events, visits=1, findings=("ill",), sites=("A", "B")):
    return [
        Member(
            id=f"c{i}-{v}",
            patient=f"p{i}",
            group=f"g{i}",
            truth={name: (i * (k + 1)) % n < events for k, name in enumerate(findings)},
            site=sites[i % len(sites)],
        )
        for i in range(n)
        for v in range(visits)
    ]


def group_of(members):
    return {m.id: m.group for m in members}


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(24, 80),
    visits=st.integers(1, 3),
    seed=st.integers(0, 5),
    folds=st.integers(2, 5),
)
def test_folds_part_no_group_and_each_case_is_tested_once_per_repeat(n, visits, seed, folds):
    members = people(n, events=n // 3, visits=visits, findings=("ill", "worse"))
    protocol = plan_protocol(members, kind="cv", folds=folds, repeats=2, seed=seed)
    group = group_of(members)
    for fold in protocol.folds:
        assert not {group[i] for i in fold.train} & {group[i] for i in fold.test}
        assert len(fold.train) + len(fold.test) == len(members)
    for repeat in range(2):
        tested = Counter(i for f in protocol.folds if f.repeat == repeat for i in f.test)
        assert tested == Counter(m.id for m in members)


def test_events_and_sites_are_spread_evenly():
    members = people(200, events=20, sites=("A", "B", "C"))
    truth = {m.id: m.truth["ill"] for m in members}
    site = {m.id: m.site for m in members}
    for fold in plan_protocol(members, kind="cv", repeats=3, seed=1).folds:
        assert sum(truth[i] for i in fold.test) == 4
        assert len(fold.test) in (39, 40, 41)
        counts = Counter(site[i] for i in fold.test)
        assert max(counts.values()) - min(counts.values()) <= 4


def renamed(members: Sequence[Member]) -> tuple[list[Member], dict[str, str]]:
    """The same people under names that sort in another order, as another project's key would give them, and new id → old."""

    def name(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    changed = [replace(m, id=name(m.id), patient=name(m.patient), group=name("group" + m.group)) for m in members]
    return changed, {name(m.id): m.id for m in members}


@pytest.mark.parametrize("kind", ["cv", "quick"])
def test_same_seed_same_assignment_whatever_the_names_and_another_seed_another(kind: Kind):
    members = people(60, events=20)
    first = plan_protocol(members, kind=kind, seed=3)
    assert first == plan_protocol(members, kind=kind, seed=3)
    assert first.hash != plan_protocol(members, kind=kind, seed=4).hash
    changed, old = renamed(members)
    second = plan_protocol(changed, kind=kind, seed=3)
    for mine, other in zip(first.folds, second.folds, strict=True):
        assert mine.train == tuple(old[id] for id in other.train)
        assert mine.test == tuple(old[id] for id in other.test)
    split = split_members(members, seed=3)
    assert dict(split.parts) == {old[id]: part for id, part in split_members(changed, seed=3).parts.items()}
    assert set(split.parts.values()) == {"train", "tune", "calibrate", "test"}


def test_repeats_differ():
    protocol = plan_protocol(people(60, events=20), kind="cv", seed=3)
    assert len({frozenset(f.test) for f in protocol.folds}) == 25


def test_auto_takes_a_split_only_where_test_and_calibrate_carry_an_estimate():
    large = plan_protocol(people(2000, events=700), kind="auto", seed=0)
    assert large.kind == "split"
    assert large.split is not None
    members = {m.id: m for m in people(2000, events=700)}
    for part in ("calibrate", "test"):
        held = [members[i].truth["ill"] for i in large.split.ids(part)]
        assert sum(held) >= 100
        assert len(held) - sum(held) >= 100
    small = plan_protocol(people(2000, events=600), kind="auto", seed=0)
    assert small.kind == "cv"
    assert "90 patients" in small.reason
    # Visits are not patients: 700 events of 350 patients do not carry a split.
    assert plan_protocol(people(1000, events=350, visits=2), kind="auto", seed=0).kind == "cv"


def test_quick_is_marked_exploratory():
    protocol = plan_protocol(people(92, events=40), kind="quick", seed=0)
    assert protocol.is_exploratory
    assert "exploratory" in protocol.reason
    assert len(protocol.folds) == 1
    assert protocol.folds[0].test == protocol.split.ids("test")


def test_too_few_groups_say_what_can_be_done():
    with pytest.raises(CohortError, match=r"3 groups, and 5 parts need one each; ask for at most 3 folds \(--folds 3\)"):
        plan_protocol(people(40, events=3), kind="cv", seed=0)
    with pytest.raises(CohortError, match="too few to estimate anything"):
        plan_protocol(people(40, events=1), kind="cv", seed=0)
    # A rare finding beside an estimable one is noted, unless it was named as primary.
    mixed = [Member(id=str(i), patient=str(i), group=str(i), truth={"common": i % 2 == 0, "rare": i < 2}) for i in range(40)]
    assert plan_protocol(mixed, kind="cv", seed=0).notes == ('"rare": rarer class in fewer groups than the 5 parts',)
    with pytest.raises(CohortError, match='"rare"'):
        plan_protocol(mixed, kind="cv", seed=0, primary=["rare"])


def test_bad_lists_are_refused_with_the_id():
    one = Member(id="a", patient="p", group="g", truth={"ill": True})
    with pytest.raises(CohortError, match="'a'"):
        plan_protocol([one, one], kind="cv", seed=0)
    other = Member(id="b", patient="p", group="h", truth={"ill": False})
    with pytest.raises(CohortError, match="patient 'p'"):
        plan_protocol([one, other], kind="cv", seed=0)
    with pytest.raises(CohortError, match="empty"):
        plan_protocol([], kind="cv", seed=0)
    with pytest.raises(CohortError, match='unknown protocol "loo"'):
        plan_protocol([one], kind="loo", seed=0)
    with pytest.raises(CohortError, match="recorded for nobody"):
        plan_protocol([one], kind="cv", seed=0, primary=["absent"])


def test_unknown_truth_is_stratified_by_nothing():
    members = people(40, events=12) + [Member(id=f"u{i}", patient=f"u{i}", group=f"u{i}") for i in range(20)]
    for fold in plan_protocol(members, kind="cv", repeats=1, seed=0).folds:
        assert 3 <= sum(i.startswith("u") for i in fold.test) <= 5
        assert sum(i in {m.id for m in members[:12]} for i in fold.test) in (2, 3)


def test_leaving_a_site_out_leaves_its_groups_out():
    # Patients 0, 1 and 2 were seen once at A and once at B; everybody else twice at one site.
    sites = ["AB"] * 3 + ["AA", "BB"] * 8
    members = [
        Member(id=f"c{i}-{v}", patient=f"p{i}", group=f"p{i}", truth={"ill": i % 3 == 0}, site=site)
        for i, visited in enumerate(sites)
        for v, site in enumerate(visited)
    ]
    protocol = plan_protocol(members, kind="site", seed=0)
    group = group_of(members)
    assert [(len(f.train), len(f.test)) for f in protocol.folds] == [(16, 19), (16, 19)]
    for fold in protocol.folds:
        assert not {group[i] for i in fold.train} & {group[i] for i in fold.test}
        assert len({m.site for m in members if m.id in fold.test}) == 1
    assert protocol.notes == ("6 times a case sat a round out because its group was seen at the left-out site",)
    with pytest.raises(CohortError, match="1 cases have no site"):
        plan_protocol([*members, Member(id="x", patient="x", group="x")], kind="site", seed=0)


def test_inner_folds_hold_each_group_once():
    members = people(30, events=9, visits=2)
    folds = nested_folds(members, 3, seed=2)
    group = group_of(members)
    assert sorted(i for f in folds for i in f.test) == sorted(m.id for m in members)
    for fold in folds:
        assert not {group[i] for i in fold.train} & {group[i] for i in fold.test}
    with pytest.raises(CohortError, match="between 2"):
        nested_folds(members, 31, seed=0)


def test_every_patient_weighs_one():
    members = [Member(id=str(i), patient="p" if i < 3 else str(i), group="g") for i in range(5)]
    weights = patient_weights(members)
    assert weights["0"] == pytest.approx(1 / 3)
    assert np.isclose(sum(weights.values()), 3.0)
