"""What a model is known to be beyond its metadata, and numbers in the place of references."""

import numpy as np
import pytest

from lightmill import app
from lightmill.errors import DataError
from lightmill.models import (
    DarkModel,
    GainModel,
    IpcModel,
    LinearityModel,
    MaskModel,
    Model,
    RampModel,
    RateModel,
    ReadnoiseModel,
    RscdModel,
    SaturationModel,
    SuperbiasModel,
)
from lightmill.models.lineage import force, uniform


@pytest.fixture
def ramp():
    return RampModel(data=np.zeros((1, 2, 4, 5), np.float32))


@pytest.mark.parametrize(
    "kind", [GainModel, Model, ReadnoiseModel, SaturationModel, SuperbiasModel]
)
def test_a_number_stands_for_every_pixel(ramp, kind):
    reference = uniform(kind, 2.5, ramp)

    assert reference.data.shape == (4, 5)
    assert (reference.data == 2.5).all()


@pytest.mark.parametrize("kind", [SaturationModel, SuperbiasModel])
def test_a_number_flags_nothing(ramp, kind):
    assert not uniform(kind, 2.5, ramp).dq.any()


@pytest.mark.parametrize("kind", [DarkModel, IpcModel, LinearityModel, MaskModel, RscdModel])
def test_what_is_not_one_number_a_pixel_needs_a_file(ramp, kind):
    with pytest.raises(DataError, match="not one number a pixel"):
        uniform(kind, 2.5, ramp)


def test_a_status_goes_to_the_keyword_the_observatory_has_for_it():
    app.discover()
    model = RateModel(meta={"telescope": "JWST"}, data=np.ones((1, 1), np.float32))

    force(model, "cal_step.dark_current", "COMPLETE")

    assert model.meta.flat()["cal_step.dark_sub"] == "COMPLETE"
