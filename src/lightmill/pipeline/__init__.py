"""Steps, pipelines, and the runner that makes products with them."""

from lightmill.pipeline.parameters import param
from lightmill.pipeline.pipeline import Pipeline, Save
from lightmill.pipeline.runner import Options, Outcome, Status, run
from lightmill.pipeline.step import Products, Skipped, Step

__all__ = [
    "Options",
    "Outcome",
    "Pipeline",
    "Products",
    "Save",
    "Skipped",
    "Status",
    "Step",
    "param",
    "run",
]
