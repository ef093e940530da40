"""The simple models every result is held against.

`CATALOG` names them; `forced_baselines(cases)` are those a run on these cases must show.
"""

from attending.baselines.baseline import Baseline, BaselineConfig, BaselineError
from attending.baselines.catalog import CATALOG, forced_baselines

__all__ = ["CATALOG", "Baseline", "BaselineConfig", "BaselineError", "forced_baselines"]
