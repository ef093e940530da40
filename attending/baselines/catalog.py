"""The baselines by name, and those that every run is held against."""

from collections.abc import Sequence
from types import MappingProxyType

from attending.baselines.baseline import BaselineConfig
from attending.baselines.circumstances import CircumstancesConfig
from attending.baselines.embeddings import EmbeddingsConfig
from attending.baselines.film import FilmConfig
from attending.baselines.late_fusion import LateFusionConfig
from attending.baselines.linear import DemographicsConfig, LogisticRegressionConfig
from attending.baselines.notes import NotesConfig
from attending.baselines.prevalence import PrevalenceConfig
from attending.baselines.trees import BoostedTreesConfig, RandomForestConfig
from attending.case import Case

CATALOG: MappingProxyType[str, BaselineConfig] = MappingProxyType(
    {
        config.name: config
        for config in (
            PrevalenceConfig(),
            CircumstancesConfig(),
            DemographicsConfig(),
            BoostedTreesConfig(),
            RandomForestConfig(),
            LogisticRegressionConfig(),
            NotesConfig(),
            FilmConfig(),
            EmbeddingsConfig(),
            LateFusionConfig(members=(BoostedTreesConfig(), NotesConfig(), FilmConfig(), EmbeddingsConfig())),
        )
    }
)


def forced_baselines(cases: Sequence[Case]) -> tuple[BaselineConfig, ...]:
    """Those of the catalog that have something to look at in these cases; late fusion only where two modalities are there."""
    chosen = [config for config in CATALOG.values() if any(config.looks_at(case) for case in cases)]
    return tuple(config for config in chosen if not isinstance(config, LateFusionConfig) or _modalities(config, cases) > 1)


def _modalities(config: LateFusionConfig, cases: Sequence[Case]) -> int:
    return sum(any(member.looks_at(case) for case in cases) for member in config.members)
