"""Reporting checklists, filled where this study can fill them: TRIPOD+AI (Collins et al. 2024) and CLAIM (Mongan et al. 2020).

The items are named in our own short words; the statements themselves say what each asks for. An item that nothing here can
answer is a named blank: nothing is invented, and a linked item still has to be written up by the authors.
"""

from dataclasses import dataclass

from attending.report.report import UNSTATED, Report

BLANK = "not stated: to be filled in by the authors"
REPORT = "report.html"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a checklist. `place` is the artefact that answers it, `#` and a section; None: a blank for the authors."""

    number: str
    asks: str
    place: str | None = None


# Sections of the report by the letter that stands for them below.
_AT = {
    "R": "#finding-1", "E": "#evidence", "F": "#flow", "S": "#schema", "A": "#audit", "P": "#protocol",
    "V": "#privacy", "O": "#provenance",
}  # fmt: skip
_TRIPOD = """
1|Title: development or evaluation of a prediction model, population, outcome|
2|Abstract|
3a|Context, rationale, existing models|
3b|Target population, intended purpose and users|
3c|Known health inequalities|
4|Objectives|
5a|Sources of data, and why these|
5b|Dates of the data|
6a|Setting, number and place of centres|
6b|Eligibility|F
6c|Treatments received|
7|Data preparation and quality checks|A
8a|Outcome, its horizon, how and when assessed|standard
8b|Qualifications of assessors where judgement is needed|
8c|Blinding of the assessment of the outcome|
9a|Choice of initial predictors|S
9b|Predictors, how and when measured|S
9c|Qualifications of assessors of predictors where judgement is needed|
10|Sample size|F
11|Missing data|E
12a|How data were used: parts, independence|P
12b|How predictors were handled: form, rescaling, transformation|S
12c|Type of model, building, tuning, internal validation|O
12d|Heterogeneity over clusters: how it was quantified|R
12e|Measures of performance|R
12f|Updating, recalibration|R
12g|How predictions were calculated|O
13|Class imbalance, and recalibration after it|P
14|Fairness: approach|R
15|Output of the model, thresholds and reasons|threshold
16|Differences between development and evaluation data|
17|Ethics approval|
18a|Funding|
18b|Conflicts of interest|
18c|Study protocol|
18d|Registration|
18e|Availability of data|
18f|Availability of code|
19|Patient and public involvement|
20a|Flow of participants, events|F
20b|Characteristics, missing data, key dates|characteristics
20c|Comparison with development data|
21|Participants and events in each analysis|F
22|The full model|O
23a|Performance with intervals, also in subgroups|R
23b|Heterogeneity over clusters: result|sites
24|Results of updating|R
25|Interpretation, with fairness|
26|Limitations|limits
27a|Poor or unavailable input in use|E
27b|Interaction with users, expertise needed|
27c|Next steps|
"""
_CLAIM = """
1|Title: AI methodology named|
2|Structured summary|
3|Background, intended use, clinical role|
4|Objectives and hypotheses|
5|Prospective or retrospective|
6|Goal of the study|
7|Sources of data|
8|Eligibility: how, where and when participants were found|F
9|Preprocessing|S
10|Selection of data subsets|F
11|Definitions of data elements|S
12|De-identification|V
13|Missing data|E
14|Reference standard: definition|standard
15|Reference standard: rationale|
16|Reference standard: source of annotations, annotators|
17|Annotation tools|
18|Variability between and within raters|
19|Sample size|F
20|How data were assigned to parts|P
21|Level at which parts are disjoint|P
22|The model in full|O
23|Software|O
24|Initial parameters|O
25|Training in full|O
26|Choice of the final model|P
27|Ensembling|O
28|Measures of performance|R
29|Uncertainty and significance|R
30|Robustness, sensitivity|R
31|Explainability, and how it was validated|
32|External test|external
33|Flow of participants|F
34|Characteristics in each part|characteristics
35|Performance|R
36|Estimates and their precision|R
37|Failures|failures
38|Limitations|limits
39|Implications for practice|
40|Registration|
41|Where the full protocol is|
42|Funding|
"""
SOURCES = {
    "TRIPOD+AI": "Collins et al., BMJ 2024;385:e078378",
    "CLAIM": "Mongan, Moy, Kahn, Radiology: Artificial Intelligence 2020;2:e200029",
}


def checklists(report: Report) -> dict[str, tuple[Item, ...]]:
    """Both checklists for this report: an item has a place only where the report says something there."""
    return {"TRIPOD+AI": _filled(_TRIPOD, report), "CLAIM": _filled(_CLAIM, report)}


def _filled(text: str, report: Report) -> tuple[Item, ...]:
    lines = (line.split("|") for line in text.strip().splitlines())
    return tuple(Item(number=number, asks=asks, place=_place(key, report)) for number, asks, key in lines)


def _place(key: str, report: Report) -> str | None:
    """Where the report answers, or None where it would only say that nobody stated it."""
    has = {
        "": False,
        "S": bool(report.columns),
        "A": report.audit.verdict is not None,
        "E": bool(report.patterns),
        "V": report.privacy is not None,
        "O": bool(report.model),
        "P": report.conduct.kind != "foreign",
        "F": report.flow.rows is not None,
        "standard": report.question.reference_standard != UNSTATED,
        "threshold": any(row.threshold is not None for row in report.results),
        "sites": any(row.metric == "auroc_at_new_site" and row.value is not None for row in report.results),
        "external": report.conduct.kind in ("evaluation", "site"),
        "characteristics": bool(report.characteristics),
        "failures": any(name.startswith("worst errors") for name in report.provenance),
        "limits": True,
    }
    at = {
        "standard": "", "threshold": "#finding-1", "sites": "#finding-1", "external": "#protocol",
        "characteristics": "#flow", "failures": "#provenance", "limits": "#conclusions",
    } | _AT  # fmt: skip
    return REPORT + at[key] if has.get(key, True) and key else None


def checklist_text(name: str, items: tuple[Item, ...]) -> str:
    """A checklist as Markdown, with what is linked and what is blank counted first."""
    linked = sum(item.place is not None for item in items)
    lines = [
        f"# {name}",
        "",
        f"Items in short words after {SOURCES[name]}; the statement itself says what each asks for. {linked} of {len(items)} "
        "items are linked to where this study answers them; the others are for the authors. A linked item is material for "
        "the text, not the text. Compliance is the authors'.",
        "",
        "| item | asks for | where |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {item.number} | {item.asks} | {f'[{item.place}]({item.place})' if item.place else BLANK} |" for item in items]
    return "\n".join(lines) + "\n"
