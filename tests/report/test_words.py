"""What is said: words that never occur, verdicts that follow from intervals, and what may not be concluded."""

import re
from dataclasses import replace

import pytest

from attending.report import Audit, AuditFinding, Pattern
from tests.report.evidence import report, with_results
from tests.report.reading import page, text

FORBIDDEN = (
    r"accura(?:cy|te)",
    r"\bdetect(?:s|ed|ion)?\b(?! limit)",
    r"diagnosis:",
    r"rul(?:e|es|ed|ing) out",
    r"\bsafe(?:ly|ty)?\b",
    r"\bprov(?:e|es|en)\b",
    r"state of the art",
    r"clinically (?:proven|validated)",
    r"\bequivalent\b",
    r"\bas good as\b(?! it: a difference is not shown)",
    "[✓✔✅☑]",
)


@pytest.mark.parametrize("n_findings", [1, 2])
@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_forbidden_words_never_occur(n_findings: int, pattern: str):
    html = page(report(n_findings))
    found = re.search(pattern, text(html) + " ".join(re.findall(r"<title>(.*?)</title>", html)), re.IGNORECASE)
    assert found is None, found


def test_a_percent_sign_stands_only_beside_an_interval():
    seen = text(page(report(2)))
    assert "%" in seen
    assert re.sub(r"\b95 % interval", "", seen).count("%") == 0


@pytest.mark.parametrize(
    ("value", "low", "high", "metric", "words"),
    [
        (0.05, 0.01, 0.09, "auroc", "better: shown"),
        (-0.05, -0.09, -0.01, "auroc", "worse: shown"),
        (0.05, -0.01, 0.11, "auroc", "a difference is not shown"),
        (0.05, None, None, "auroc", "a difference is not shown"),
        (-0.05, -0.09, -0.01, "brier", "better: shown"),
    ],
)
def test_a_difference_is_shown_only_where_its_interval_excludes_zero(value, low, high, metric, words):
    one = replace(report(), primary=replace(report().primary, metric=metric))
    seen = text(page(with_results(one, value=value, low=low, high=high)))
    verdict = seen.split("Fused model minus best baseline")[1][:140]
    assert words in verdict
    told = "is better than best baseline, or as good as it: a difference is not shown"
    assert (told in seen) == ("not shown" in words)


def test_what_may_not_be_concluded_follows_from_the_evidence():
    seen = text(page(report()))
    section = seen.split("May not be concluded")[1][:1600]
    for words in ("the sampling is convenience", "no audit was run", "another site"):
        assert words in section
    quick = replace(report(), conduct=replace(report().conduct, kind="quick"))
    assert "one exploratory split" in text(page(quick))


def test_scarce_evidence_is_named():
    few = (
        Pattern(present=("Notes",), n=233, known=233, events=80),
        Pattern(present=("Notes", "Numbers"), n=7, known=7, events=0),
    )
    one = replace(report(), patterns=few)
    assert "What numbers add: they are nearly absent, there in 7 of 240 cases." in text(page(one))


def test_each_opening_after_the_first_is_told():
    seen = text(page(replace(report(), conduct=replace(report().conduct, openings=4))))
    assert "opened 4 times" in seen
    assert "more optimistic" in seen


def test_an_audit_that_ran_is_told_with_its_waivers():
    audit = Audit(
        verdict="1 warning",
        findings=(AuditFinding(check="T6", level="warns", told="site alone reaches 0.7"),),
        waivers={"T2": "no times are recorded"},
    )
    seen = text(page(replace(report(), audit=audit)))
    assert "Audit 1 warning Waivers T2: no times are recorded" in seen
    assert "site alone reaches 0.7" in seen
    assert "no audit was run" not in seen


def test_what_blocks_and_was_not_waived_stands_among_what_may_not_be_concluded():
    found = (
        AuditFinding(check="T1 persons", level="blocks", told="x"),
        AuditFinding(check="T4", level="blocks, waived", told="y"),
    )
    seen = text(page(replace(report(), audit=Audit(verdict="2 blocking findings", findings=found))))
    assert "the audit found what blocks (T1 persons)" in seen
    assert "what blocks (T4)" not in seen


@pytest.mark.parametrize(("declared", "told"), [("the visit", "asked at the visit:"), ("On arrival", "asked On arrival:")])
def test_a_prediction_time_reads_as_a_sentence(declared: str, told: str):
    one = report(1)
    assert told in text(page(replace(one, question=replace(one.question, prediction_time=declared))))


def test_a_lone_model_has_no_comparison_to_tell():
    alone = replace(report(), primary=replace(report().primary, comparator=None))
    assert "No comparison was declared as primary" in text(page(alone))
