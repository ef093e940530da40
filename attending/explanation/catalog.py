"""Every explanation method by the name it has on the command line and in files."""

from collections.abc import Mapping

from attending.explanation.attention import AttentionConfig, AttentionFlowConfig
from attending.explanation.explainer import ExplainerConfig, ExplanationError
from attending.explanation.gradients import GradientsConfig
from attending.explanation.occlusion import OcclusionConfig, WindowOcclusionConfig
from attending.explanation.place_shapley import PlaceShapleyConfig
from attending.explanation.shapley import ShapleyConfig

EXPLAINERS: Mapping[str, ExplainerConfig] = {
    config.name: config
    for config in (
        ShapleyConfig(),
        PlaceShapleyConfig(),
        OcclusionConfig(),
        WindowOcclusionConfig(),
        GradientsConfig(),
        AttentionConfig(),
        AttentionFlowConfig(),
    )
}  # fmt: skip


def explainer_named(name: str) -> ExplainerConfig:
    """The method of this name. Raises `ExplanationError` for one that is not there."""
    if name not in EXPLAINERS:
        raise ExplanationError(f'method "{name}" is not known; known are {", ".join(EXPLAINERS)}')
    return EXPLAINERS[name]
