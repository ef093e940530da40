"""Appendicitis in children: two predictor sets, both rules of missingness, and severity in all suspects and in appendicitis.

    python recipes/appendicitis.py --data ../shared/data/appendicitis --out out/appendicitis [--quick] [--variant NAME ...]

Time: about four minutes a variant of the diagnosis on two cores, a minute for all with --quick. Expected: fused and best
baseline within a hundredth of AUROC where missingness is visible, fused above where it is not, and missingness alone far above
chance, because ultrasound fields were filled in where somebody looked.
Written into --out: a study per variant, comparison.html and comparison.json. A variant that is finished is not held again.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attending.commands.varying import Question, asked_of, compare_variants, hold_variants
from attending.intake import declare, read_table
from attending.records import Sampling, Schema
from attending.report.side_by_side import SideBySide
from attending.study import Plan

ULTRASOUND = (
    "appendix_on_us",
    "free_fluids",
    "appendix_wall_layers",
    "target_sign",
    "appendicolith",
    "perfusion",
    "surrounding_tissue_reaction",
    "pathological_lymph_nodes",
    "bowel_wall_thickening",
    "conglomerate_of_bowel_loops",
    "ileus",
    "coprostasis",
    "meteorism",
    "enteritis",
)
MADE_OF_THE_LABEL = ("appendix_diameter_mm", "alvarado_score", "pediatric_appendicitis_score")
"""The label of children who were not operated on was made from these."""
POSITIVE = {"diagnosis": "appendicitis", "severity": "complicated"}
CAUTIONS = {
    "diagnosis": ("label partly composed of inputs; differential verification",),
    "severity": ("severity was recorded after the operation where there was one; differential verification",),
}
VARIANTS = {
    "diagnosis-bedside-denied": "Diagnosis from bedside and laboratory",
    "diagnosis-bedside-visible": "Diagnosis from bedside and laboratory, missingness visible",
    "diagnosis-ultrasound-denied": "Diagnosis from bedside, laboratory and ultrasound",
    "diagnosis-ultrasound-visible": "Diagnosis from bedside, laboratory and ultrasound, missingness visible",
    "severity-all-suspects": "Severity in all suspects",
    "severity-appendicitis": "Severity in appendicitis only",
}
PAIRS = (
    ("diagnosis-ultrasound-denied", "diagnosis-bedside-denied"),
    ("diagnosis-ultrasound-visible", "diagnosis-bedside-visible"),
    ("diagnosis-bedside-visible", "diagnosis-bedside-denied"),
    ("diagnosis-ultrasound-visible", "diagnosis-ultrasound-denied"),
)
"""Same children, same folds: the fused model of the first minus that of the second."""


def appendicitis(data: Path, out: Path, *, plan: Plan, variants: Sequence[str] = tuple(VARIANTS)) -> SideBySide:
    """Hold these variants on the folder `data`, and put all that `out` then holds side by side."""
    table = data / "patients.csv"
    questions = {name: _question(table, name) for name in VARIANTS}
    hold_variants([questions[name] for name in variants], out=out, plan=plan)
    return compare_variants(list(questions.values()), out=out, title="Appendicitis in children", pairs=PAIRS, seed=plan.seed)


def _question(table: Path, name: str) -> Question:
    target, *rest = name.split("-")
    where = "diagnosis = 'appendicitis'" if name == "severity-appendicitis" else None
    predictors = rest[0] if target == "diagnosis" else "ultrasound"
    schema = schema_of(table, target=target, predictors=predictors, where=where)
    if name.endswith("visible"):
        schema = with_missingness_visible(schema)
    return Question(name=name, told=VARIANTS[name], table=table, schema=schema, where=where)


def schema_of(table: Path, *, target: str, predictors: str, where: str | None = None) -> Schema:
    """What is declared for one target; `predictors` is bedside (with laboratory) or ultrasound (both)."""
    ignore = (*MADE_OF_THE_LABEL, *(ULTRASOUND if predictors == "bedside" else ()))
    read = read_table(table, where=where)
    schema = declare(read, schema=None, targets=(target,), positive=POSITIVE[target], ignore=ignore, only=())
    return replace(
        schema,
        population=f"children {'with' if where else 'suspected of'} appendicitis at one hospital, 2016 to 2021",
        reference_standard="histology where a child was operated on, otherwise scores and the diameter of the appendix"
        if target == "diagnosis"
        else "the hospital's own record",
        sampling=Sampling.COHORT,
        cautions=CAUTIONS[target],
    )


def with_missingness_visible(schema: Schema) -> Schema:
    """The schema in which every input's absence may be seen."""
    names = {column.name for column in schema.inputs}
    return replace(
        schema, columns=tuple(replace(c, is_missingness_visible=True) if c.name in names else c for c in schema.columns)
    )


if __name__ == "__main__":
    asked = asked_of(__doc__, variants=tuple(VARIANTS), out=Path("out/appendicitis"))
    appendicitis(asked.data, asked.out, variants=asked.variant, plan=asked.plan)
