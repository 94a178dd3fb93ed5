"""A table of drizzle parameters says how a mosaic is made, where nobody says it otherwise."""

import numpy as np
import pytest

from lightmill import models
from lightmill.errors import ConfigurationError, DataError
from lightmill.imaging.drizzle_table import drizzle_settings
from lightmill.imaging.resample import Resample
from lightmill.models import DrizParsModel
from lightmill.pipeline import run
from tests.unit.imaging.sky_exposures import dithered

KINDS = [("numimages", "i2"), ("filter", "S12"), ("pixfrac", "f4"), ("kernel", "S10"),
         ("fillval", "S10"), ("wht_type", "S10"), ("stepsize", "i4")]  # fmt: skip
ROWS = [
    (4, "ANY", 0.5, "square", "INDEF", "exptime", 10),
    (1, "ANY", 1.0, "square", "INDEF", "exptime", 10),
    (2, "K", 0.8, "gaussian", "0.0", "ivm", 10),
]


def table(rows=ROWS, kinds=KINDS):
    return np.array(rows, np.dtype(kinds))


@pytest.mark.parametrize(
    ("filter_", "count", "pixfrac"),
    [
        ("H", 1, 1.0),
        ("H", 3, 1.0),
        ("H", 4, 0.5),
        ("H", 40, 0.5),
        ("K", 1, 1.0),  # its own row is for two exposures and more
        ("k ", 2, 0.8),
        ("K", 9, 0.8),  # the filter counts before the number
        (None, 4, 0.5),
    ],
)
def test_the_row_is_that_of_the_filter_and_the_number_of_exposures(filter_, count, pixfrac):
    said = drizzle_settings(table(), filter_, count)

    assert float(said["pixfrac"]) == pytest.approx(pixfrac)


def test_columns_that_are_not_there_say_nothing():
    kinds = [("NUMIMAGES", "i4"), ("FILTER", "U5"), ("FILLVAL", "f8")]

    assert drizzle_settings(table([(1, "ANY", -1.0)], kinds), "K", 2) == {"fillval": "-1.0"}


def test_no_row_and_no_column_to_choose_by_are_told():
    with pytest.raises(DataError, match="no row") as told:
        drizzle_settings(table(ROWS[:1]), "K", 3, "pars.fits")
    assert "filter K, 3 exposures" in str(told.value.found)
    assert "pars.fits[DRIZPARS]" in str(told.value.place)

    with pytest.raises(DataError, match="no columns"):
        drizzle_settings(table([(0.5,)], [("pixfrac", "f4")]), "K", 3)


@pytest.fixture
def reference(tmp_path):
    """A file with the table, as the observatory has it."""
    return DrizParsModel(drizpars_table=table()).save(tmp_path / "own_drizpars.fits")


def settings_of(mosaic):
    return tuple(
        mosaic.meta.get(f"resample.{name}")
        for name in ("pixfrac", "kernel", "fillval", "weight_type")
    )


def test_a_mosaic_is_made_as_the_table_says(reference):
    exposures = dithered(4)

    plain = Resample().apply(exposures)
    mosaic = Resample().apply(exposures, drizpars=models.open(reference))

    assert settings_of(plain) == (1.0, "square", "NAN", "exptime")
    assert settings_of(mosaic) == (0.5, "square", "indef", "exptime")
    same = Resample(pixfrac=0.5).apply(exposures)
    np.testing.assert_array_equal(mosaic.data, same.data)
    assert not np.array_equal(mosaic.wht, plain.wht)


def test_what_the_user_says_counts_before_the_table_and_is_on_record(reference):
    exposures = dithered(4)

    outcome = run(
        Resample(pixfrac=0.9, use_drizpars=True), exposures, overrides={"drizpars": str(reference)}
    )

    if outcome.error is not None:
        raise outcome.error
    assert settings_of(outcome.model) == (0.9, "square", "indef", "exptime")
    (step,) = outcome.record["steps"]
    assert step["parameters"]["pixfrac"] == {"value": 0.9, "origin": "python"}
    assert step["parameters"]["fillval"]["origin"] == "drizpars own_drizpars.fits"
    assert step["references"]["drizpars"]["name"] == "own_drizpars.fits"
    assert outcome.model.meta.get("ref_file.drizpars.name").endswith("own_drizpars.fits")


def test_the_table_is_looked_at_where_it_is_named_or_asked_for():
    assert not Resample().uses("drizpars")
    assert Resample(use_drizpars=True).uses("drizpars")


def test_a_table_that_asks_for_what_there_is_not_is_refused():
    wrong = DrizParsModel(drizpars_table=table([(1, "ANY", 1.5, "square", "0", "exptime", 1)]))

    with pytest.raises(ConfigurationError, match="pixfrac"):
        Resample().apply(dithered(2), drizpars=wrong)
