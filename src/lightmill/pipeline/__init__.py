"""Steps, pipelines, and the runner that makes products with them."""

from lightmill.pipeline.parameters import param
from lightmill.pipeline.pipeline import Pipeline, Save
from lightmill.pipeline.runner import Options, Outcome, Status, run
from lightmill.pipeline.step import Beside, Products, SideProduct, Skipped, Step

__all__ = [
    "Beside",
    "Options",
    "Outcome",
    "Pipeline",
    "Products",
    "Save",
    "SideProduct",
    "Skipped",
    "Status",
    "Step",
    "param",
    "run",
]
