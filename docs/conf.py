"""Sphinx configuration; the reference pages are written from the code first."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "reference"))
import generate

generate.write(Path(__file__).parent / "reference" / "generated")

project = "Lightmill"
author = "The Lightmill developers"
copyright = "The Lightmill developers"
try:
    release = importlib.metadata.version("lightmill")
except importlib.metadata.PackageNotFoundError:
    release = "source tree"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {
    "description": "From raw readouts to calibrated science products",
    "page_width": "1100px",
}
html_title = "Lightmill"
numpydoc_show_class_members = False
autodoc_typehints = "none"  # shape and unit stand in the docstring
autodoc_member_order = "bysource"
suppress_warnings = ["myst.header"]
