"""A column that is the label by another name is found, and chance is not taken for it."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attending.records import infer_schema, read_table
from attending.records.association import auroc_alone, determines


def test_a_label_by_another_name_is_found() -> None:
    labels = ["ill", "well", "well", "?", None] * 10
    assert determines(["a", "b", "b", "c", "b"] * 10, labels, name="dx") is not None
    assert determines(["a", "b", "c", "a", "b"] * 10, labels, name="dx") is not None  # finer, and still tells it
    assert determines(["a", "b", "a", "a", "b"] * 10, labels, name="dx") is None
    assert determines([str(i) for i in range(50)], labels, name="dx") is None  # a key tells everything and means nothing
    assert determines(["a", None, None, None, None] * 10, labels, name="dx") is None  # one label only among filled rows
    assert determines(["a", "b", "b", "c", "b"], labels[:5], name="dx") is None  # too few to know


def test_auroc_agrees_with_an_independent_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(200) < 0.4
    values = np.round(rng.normal(size=200) + truth, 1)
    assert auroc_alone(list(values), list(truth)) == pytest.approx(roc_auc_score(truth, values))
    assert auroc_alone(list(-values), list(truth)) == pytest.approx(roc_auc_score(truth, values))
    with_gaps = [math.nan, *values], [True, *truth]
    assert auroc_alone(*with_gaps) == pytest.approx(roc_auc_score(truth, values))
    assert auroc_alone(list(values), [None] * 200) is None


@pytest.mark.data("appendicitis")
def test_the_diameter_that_makes_the_label_is_pointed_out(real) -> None:  # type: ignore[no-untyped-def]
    schema = infer_schema(read_table(real), targets=["diagnosis"])
    warned = {column.name for column in schema.inputs if "alone it reaches AUROC" in column.why}
    assert warned == {"appendix_diameter_mm"}
