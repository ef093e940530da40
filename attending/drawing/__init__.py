"""Numbers and evidence as SVG. Pure functions that return text; the report, the page and explanations share them."""

from attending.drawing.bars import PatternRow, pattern_bars
from attending.drawing.calibration import calibration_plot
from attending.drawing.coverage import coverage_plot
from attending.drawing.decision import decision_plot
from attending.drawing.flow import Stage, Step, flow_diagram
from attending.drawing.forest import ForestRow, forest_plot

__all__ = [
    "ForestRow",
    "PatternRow",
    "Stage",
    "Step",
    "calibration_plot",
    "coverage_plot",
    "decision_plot",
    "flow_diagram",
    "forest_plot",
    "pattern_bars",
]
