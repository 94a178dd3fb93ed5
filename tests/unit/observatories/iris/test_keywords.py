"""The schemas know the keywords that the observatory's documents and pipelines name."""

import csv

import pytest

from lightmill import app
from lightmill.models.overlay import model_schema

# Of the space telescope whose schemas were taken over in 2025, and of steps and references there are not.
INHERITED = ("MT_", "PC1_3", "PC2_3", "PC3_", "PS3_", "R_", "S_MTWCS")
SPECTRA = {
    "DISPAXIS",
    "SPECSYS",
    "SPORDER",
    "VELOSYS",
    "WAVEND",
    "WAVSTART",
    "XREF_SCI",
    "YREF_SCI",
}


@pytest.mark.parametrize("name", ["iris_telemetry_keywords", "iris_keywords_liger2025"])
def test_every_keyword_of_the_observatory_has_a_place(cases, name):
    path = cases.parents[1] / "specs" / f"{name}.tsv"
    if not path.is_file():
        pytest.skip(f"NO TABLE OF KEYWORDS at {path}")
    app.discover()
    known = {
        keyword
        for schema in ("uncal-1.0.0", "rate-1.0.0", "cal-1.0.0", "cube-1.0.0", "reference-1.0.0")
        for _, keyword in model_schema(schema, "TMT").keywords
    }
    with path.open(newline="") as file:
        said = {row["fits_keyword"].strip() for row in csv.DictReader(file, delimiter="\t")}
    wanted = {one for one in said if one and not one.startswith(INHERITED)} - SPECTRA

    assert len(wanted) > 100
    assert wanted - known == set()
