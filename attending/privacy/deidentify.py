"""Charts → cases: the only place where a `Case` is made.

Ids become keyed hashes, identity stays behind, every piece of evidence passes its rule, and a manifest counts what was done.
The order of the evidence stays the same, so a place in a chart can be carried to the case (`Deidentified.carry`).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from attending.case import Case, CaseId, Characters, Chart, GroupId, PatientId, Place
from attending.privacy.catalog import RULES, rule_for
from attending.privacy.ids import PrivacyError, check_key, date_shift, hashed
from attending.privacy.notes import is_searchable
from attending.privacy.rule import Person
from attending.privacy.spans import OffsetMap

NOT_FOUND = (
    "names that stand in no identity column (relatives, physicians, misspellings)",
    "text burned into pictures",
    "places and rare stories that give a person away",
    "what an embedding computed elsewhere holds",
)
"""What these rules do not find; the README says the same."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was done, in counts and column names, never in content. Safe to share."""

    n_cases: int
    n_patients: int
    n_groups: int
    identity_columns: tuple[str, ...]
    counts: Mapping[str, int]
    promises: Mapping[str, str]
    not_found: tuple[str, ...] = NOT_FOUND


@dataclass(frozen=True, kw_only=True, eq=False)
class Deidentified:
    """`cases[i]` is `charts[i]` without identity. `offsets[i]` maps (index of a note) → where its characters went."""

    cases: tuple[Case, ...] = field(repr=False)
    manifest: Manifest
    offsets: tuple[Mapping[int, OffsetMap], ...] = field(repr=False)

    def carry(self, index: int, place: Place) -> Place:
        """A place in the evidence of chart `index`, in the evidence of its case."""
        if not isinstance(place.part, Characters) or place.evidence not in self.offsets[index]:
            return place
        return replace(place, part=self.offsets[index][place.evidence].to_new(place.part))


def deidentify(charts: Sequence[Chart], *, key: bytes) -> Deidentified:
    """The cases of the charts, in the same order, hashed with the project's `key` (at least 16 random bytes).

    Raises `PrivacyError` for a weak key, for evidence without a rule and for two charts that share an id.
    """
    check_key(key)
    identity: dict[str, set[str]] = defaultdict(set)
    for chart in charts:
        identity[chart.patient] |= {*chart.identity.values.values(), chart.patient, chart.id}
    people = {
        patient: Person(identity=frozenset(values), shift=date_shift(patient, key=key)) for patient, values in identity.items()
    }
    counts: Counter[str] = Counter()
    counts["identity values too short to search for in notes"] = sum(
        not is_searchable(value) for person in people.values() for value in person.identity
    )
    cases, offsets, seen = [], [], set()
    for chart in charts:
        person = people[chart.patient]
        kept = [rule_for(type(evidence)).keep(evidence, person) for evidence in chart.evidence]
        for each in kept:
            if each.done:
                counts.update(each.done)
        offsets.append({i: each.offsets for i, each in enumerate(kept) if each.offsets.pieces})
        case = Case(
            id=CaseId(hashed(chart.id, key=key, kind="case")),
            patient=PatientId(hashed(chart.patient, key=key, kind="patient")),
            group=GroupId(hashed(chart.group, key=key, kind="group")),
            evidence=tuple(each.evidence for each in kept),
            truth=chart.truth,
            site=chart.site,
            strata=chart.strata,
            absent=chart.absent,
        )
        if case.id in seen:
            raise PrivacyError("two charts have the same id; expected one chart per case, join or rename them first")
        seen.add(case.id)
        cases.append(case)
    manifest = Manifest(
        n_cases=len(cases),
        n_patients=len({case.patient for case in cases}),
        n_groups=len({case.group for case in cases}),
        identity_columns=tuple(sorted({name for chart in charts for name in chart.identity.values})),
        counts={name: count for name, count in sorted(counts.items()) if count},
        promises={kind.__name__: rule.promise for kind, rule in RULES.items()},
    )
    return Deidentified(cases=tuple(cases), manifest=manifest, offsets=tuple(offsets))
