"""All checks on one material, and what follows: a verdict with the waivers that a person declared.

A waiver, in the schema file, names a trap or a check and gives the reason why it does not apply; what it covers no longer
blocks, and stays in sight.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attending.audit.catalog import CHECKS
from attending.audit.check import AuditError, Check, Examined, ShortcutCheck
from attending.audit.finding import DATA, PROCEDURE, TRAPS, Finding, Severity
from attending.audit.material import Material
from attending.audit.shortcut import Shortcut
from attending.cohort import Protocol
from attending.intake import Intake
from attending.records.error import did_you_mean

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What all checks found, the gravest first. `waivers` map a trap or check to the reason; `unasked` says what could not be
    asked, and why, a sentence each. `shortcuts`: what models of one circumstance alone reach, also where nothing is wrong."""

    findings: tuple[Finding, ...]
    checks: tuple[str, ...]
    waivers: Mapping[str, str] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()
    shortcuts: tuple[Shortcut, ...] = ()

    def waiver_of(self, finding: Finding) -> str | None:
        """The reason why a finding does not apply, or None."""
        return self.waivers.get(finding.trap) or self.waivers.get(finding.check)

    def with_findings(self, findings: Iterable[Finding], *, checks: Sequence[str]) -> "Verdict":
        """The same with what further checks found, under the same waivers."""
        held = sorted((*self.findings, *findings), key=lambda one: one.severity.rank)
        return replace(self, findings=tuple(held), checks=(*self.checks, *checks))

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """What blocks and is not waived."""
        return tuple(one for one in self.findings if one.severity is Severity.BLOCK and self.waiver_of(one) is None)

    def __str__(self) -> str:
        """One sentence: how many findings of which weight."""
        waived = sum(self.waiver_of(one) is not None for one in self.findings)
        counts = {
            severity: sum(one.severity is severity and self.waiver_of(one) is None for one in self.findings)
            for severity in Severity
        }
        words = {Severity.BLOCK: "blocking finding", Severity.WARN: "warning", Severity.NOTE: "note"}
        told = [f"{n} {words[severity]}{'s' if n > 1 else ''}" for severity, n in counts.items() if n]
        told += [f"{waived} waived"] if waived else []
        return f"{', '.join(told) or 'nothing found'} by {len(self.checks)} checks"

    def to_plain(self) -> dict[str, Any]:
        """As JSON types: findings with trap, check, severity, columns, rows, evidence, remedy, and more."""
        return {
            "format": FORMAT,
            "verdict": str(self),
            "blocks": bool(self.blocking),
            "checks": list(self.checks),
            "waivers": dict(self.waivers),
            "unasked": list(self.unasked),
            "findings": [{**one.to_plain(), "waived": self.waiver_of(one)} for one in self.findings],
            "shortcuts": [one.to_plain() for one in self.shortcuts],
        }


def audit(material: Material, *, checks: Mapping[str, Check] = CHECKS) -> Verdict:
    """Put every check to the material. Raises `AuditError` for a waiver of something that does not exist."""
    known = (*TRAPS, *PROCEDURE, DATA, *checks)
    for waived in material.schema.waivers:
        if waived not in known:
            raise AuditError(
                f'the schema waives "{waived}", expected a trap ({TRAPS[0]} to {PROCEDURE[-1]}, {DATA}) or a check '
                f"({', '.join(checks)}).{did_you_mean(waived, known)}"
            )
    held = [_examined(check, material) for check in checks.values()]
    findings = sorted((finding for one in held for finding in one.findings), key=lambda one: one.severity.rank)
    return Verdict(
        findings=tuple(findings),
        checks=tuple(checks),
        waivers=dict(material.schema.waivers),
        unasked=material.too_rare,
        shortcuts=tuple(shortcut for one in held for shortcut in one.shortcuts),
    )


def _examined(check: Check, material: Material) -> Examined:
    return check.examine(material) if isinstance(check, ShortcutCheck) else Examined(findings=check.look(material))


def audit_intake(intake: Intake) -> Verdict:
    """What all checks say of a table that was taken in."""
    return audit(Material(table=intake.table, records=intake.records, companions=intake.companions))


def audit_parts(intake: Intake, protocol: Protocol) -> tuple[Finding, ...]:
    """What is wrong with the parts of a protocol over the de-identified cases of `intake`."""
    own = {str(case): id for case, id in intake.own_ids().items()}

    def named(ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(own[id] for id in ids)

    split = protocol.split
    held = replace(
        protocol,
        folds=tuple(replace(fold, train=named(fold.train), test=named(fold.test)) for fold in protocol.folds),
        split=None if split is None else replace(split, parts={own[id]: part for id, part in split.parts.items()}),
    )
    material = Material(table=intake.table, records=intake.records, companions=intake.companions, protocol=held)
    return CHECKS["parts"].look(material)
