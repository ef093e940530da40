"""How hard the clinic is, frozen: changing these figures changes what every later measurement means.

Oracles on 20,000 cases, simple baselines trained on 2,000 and tested on fresh ones; benchmarks/clinic.py prints the figures.
"""

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from attending.case import Demographics, Lab, Note, Scan, Sign
from attending.records.clinic import ClinicConfig, draw_clinic
from attending.records.clinic.oracle import Enumeration, consult
from attending.records.clinic.values import TESTS
from attending.records.clinic.wording import LABEL_WORDS
from attending.records.clinic.world import DISEASES, MODALITIES, SHADOWS

MODALITIES_OF_ORACLE = ("film", "note", "values")
MOST_OF_LIFT = 0.75


def _consulted(undrawn, config: ClinicConfig):
    world, diseases, facts = undrawn(config)
    return diseases, facts, consult(Enumeration(config, world, facts))


def _aurocs(diseases, posterior):
    return np.array([roc_auc_score(diseases[:, k], posterior[:, k]) for k in range(len(DISEASES))])


def _best_additive(diseases, facts, oracle):
    """AUROC of the best weighted sum of single-modality log-odds with site and demographics, fitted on one half."""
    columns = [np.log(p) - np.log1p(-p) for p in (oracle.modality[m] for m in MODALITIES_OF_ORACLE)]
    context = np.eye(18)[facts.site * 6 + facts.age_band * 2 + facts.male]
    half = len(diseases) // 2
    aurocs = []
    for k in range(len(DISEASES)):
        features = np.column_stack([*(c[:, k] for c in columns), context])
        fitted = LogisticRegression(C=10.0, max_iter=500).fit(features[:half], diseases[:half, k])
        aurocs.append(roc_auc_score(diseases[half:, k], fitted.decision_function(features[half:])))
    return np.array(aurocs)


@pytest.mark.parametrize("seed", [101, 102])
def test_oracles_lie_where_they_were_put(undrawn, seed):
    diseases, facts, oracle = _consulted(undrawn, ClinicConfig(n_patients=20_000, seed=seed))
    prevalence = diseases.mean(axis=0)
    assert ((prevalence >= 0.03) & (prevalence <= 0.30)).all()
    full, seen = _aurocs(diseases, oracle.full), _aurocs(diseases, oracle.seen)
    assert ((full >= 0.85) & (full <= 0.95)).all()
    for modality in (*MODALITIES, "values"):
        assert (_aurocs(diseases, oracle.modality[modality]) <= seen - 0.05).all()
    assert (~facts.present).any(axis=1).mean() >= 0.20


def test_modalities_need_each_other_and_can_be_told_not_to(undrawn):
    diseases, facts, oracle = _consulted(undrawn, ClinicConfig(n_patients=20_000, seed=103))
    half = len(diseases) // 2
    gain = _aurocs(diseases[half:], oracle.seen[half:]) - _best_additive(diseases, facts, oracle)
    assert (gain >= 0.03).all()
    diseases, facts, oracle = _consulted(undrawn, ClinicConfig(n_patients=20_000, seed=103, interaction=0.0))
    gain = _aurocs(diseases[half:], oracle.seen[half:]) - _best_additive(diseases, facts, oracle)
    assert (np.abs(gain) <= 0.01).all()


@pytest.fixture(scope="module")
def clinics():
    train = draw_clinic(ClinicConfig(n_patients=2000, seed=104))
    test = draw_clinic(ClinicConfig(n_patients=2500, seed=105, style="fresh"))
    return train, test


def _shares(clinics, modality, features, model):
    """Share of the modality oracle's lift that `model` on `features` reaches, per disease, on cases with the modality."""
    train, test = clinics
    kinds = {"film": (Scan,), "note": (Note,), "values": (Lab, Sign)}[modality]
    has_train, has_test = ([any(c.of(kind) for kind in kinds) for c in clinic.charts] for clinic in clinics)
    x = features([c for c, has in zip(train.charts, has_train, strict=True) if has])
    z = features([c for c, has in zip(test.charts, has_test, strict=True) if has])
    y, truth, oracle = train.diseases[has_train], test.diseases[has_test], test.oracle.modality[modality][has_test]
    shares = []
    for k in range(len(DISEASES)):
        with threadpool_limits(1):
            probability = model().fit(x, y[:, k]).predict_proba(z)[:, 1]
        shares.append((roc_auc_score(truth[:, k], probability) - 0.5) / (roc_auc_score(truth[:, k], oracle[:, k]) - 0.5))
    return np.array(shares)


@pytest.mark.parametrize(
    "strength", [pytest.param(0.001, marks=pytest.mark.long), 0.01, pytest.param(0.1, marks=pytest.mark.long)]
)
def test_pixels_alone_do_not_read_films(clinics, strength):
    def pixels(charts):
        films = (Image.fromarray(chart.of(Scan)[0].pixels).resize((32, 32), Image.Resampling.BOX) for chart in charts)
        return np.stack([np.asarray(film).ravel() for film in films])

    def model():
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000, tol=1e-3))

    assert _shares(clinics, "film", pixels, model).max() <= MOST_OF_LIFT


@pytest.mark.parametrize(("words", "strength"), [pytest.param(1, 1.0, marks=pytest.mark.long), (2, 1.0), (2, 10.0)])
def test_words_alone_do_not_read_notes(clinics, words, strength):
    vectorizer = TfidfVectorizer(ngram_range=(1, words), min_df=2, sublinear_tf=True)
    vectorizer.fit([chart.of(Note)[0].text for chart in clinics[0].charts if chart.of(Note)])

    def counts(charts):
        return vectorizer.transform([chart.of(Note)[0].text for chart in charts])

    assert _shares(clinics, "note", counts, lambda: LogisticRegression(C=strength, max_iter=500)).max() <= MOST_OF_LIFT


def test_trees_do_not_read_values_without_their_ranges(clinics):
    codes = [test.code for test in TESTS]
    levels = {sign.name: sign.levels for chart in clinics[0].charts for sign in chart.of(Sign)}

    def table(charts):
        rows = np.full((len(charts), len(codes) + len(levels) + 2), np.nan)
        for row, chart in zip(rows, charts, strict=True):
            for lab in chart.of(Lab):
                row[codes.index(lab.code)] = lab.value
            for sign in chart.of(Sign):
                row[len(codes) + list(levels).index(sign.name)] = levels[sign.name].index(sign.value)
            demographics = chart.of(Demographics)[0]
            row[-2:] = demographics.age_years, demographics.sex == "male"
        return rows

    def model():
        return HistGradientBoostingClassifier(max_iter=60, learning_rate=0.08, max_leaf_nodes=6, early_stopping=False)

    assert _shares(clinics, "values", table, model).max() <= MOST_OF_LIFT


def test_label_words_are_rare_in_notes(clinics):
    texts = [note.text.lower() for clinic in clinics for chart in clinic.charts for note in chart.of(Note)]
    share = np.mean([any(word in text for word in LABEL_WORDS) for text in texts])
    assert 0.0 < share < 0.02


def test_shadows_are_small(clinics):
    reasons = (reason for case in range(1000) for reason in clinics[1].reasons[case][DISEASES[0]])
    areas = [(reason.finding, reason.mask.mean()) for reason in reasons if reason.mask is not None]
    for shadow in SHADOWS:
        assert np.median([area for name, area in areas if name == shadow]) <= 0.08
