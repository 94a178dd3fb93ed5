"""What an observatory says of its tasks."""

import pytest

pytest.importorskip("sqlalchemy", reason="operations need the extra `operations`")

from lightmill.operations import _targets

TARGETS = {"x_00001_nis": "NGC 1365", "x_00002_nis": "M 51", "x_00003_nis": ""}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["x_00001_nis_rate.fits"], "NGC 1365"),
        (["x_00002_nis_cal.fits", "x_00001_nis_cal.fits", "x_00001_nis_cal.fits"],
         "M 51, NGC 1365"),
        (["x_00003_nis_cal.fits"], ""),
        (["x-o001_t001_i2d.fits"], ""),  # a product of another association
        ([], ""),
    ],
)  # fmt: skip
def test_a_task_is_about_the_targets_of_its_exposures(files, said):
    assert _targets([{"expname": name} for name in files], TARGETS) == said
