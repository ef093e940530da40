"""Why a model answered a case as it did: weighted places by several methods, and how true each is of the model."""

from attending.explanation.attention import AttentionConfig, AttentionFlowConfig
from attending.explanation.catalog import EXPLAINERS, explainer_named
from attending.explanation.explainer import Account, Explainer, ExplainerConfig, ExplanationError
from attending.explanation.gradients import GradientsConfig
from attending.explanation.occlusion import OcclusionConfig, WindowOcclusionConfig
from attending.explanation.place_shapley import PlaceShapleyConfig
from attending.explanation.shapley import Shapley, ShapleyConfig, Shares

__all__ = [
    "EXPLAINERS",
    "Account",
    "AttentionConfig",
    "AttentionFlowConfig",
    "Explainer",
    "ExplainerConfig",
    "ExplanationError",
    "GradientsConfig",
    "OcclusionConfig",
    "PlaceShapleyConfig",
    "Shapley",
    "ShapleyConfig",
    "Shares",
    "WindowOcclusionConfig",
    "explainer_named",
]
