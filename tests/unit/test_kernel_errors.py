"""Kernels refuse arrays they cannot walk, before a pointer is passed."""

import numpy as np
import pytest

from lightmill.errors import ShapeError, UsageError
from lightmill.kernels import arithmetic, codec, flags, ipc, linearity, refpix, saturation

SHAPE = (2, 3, 4, 5)


def ramp(shape=SHAPE):
    return np.zeros(shape, np.float32)


def group_flags(shape=SHAPE):
    return np.zeros(shape, np.uint8)


def image(shape=SHAPE[2:], dtype=np.uint32):
    return np.zeros(shape, dtype)


def read_only(array):
    array.flags.writeable = False
    return array


COEFFS = np.ones((3, 4, 5), np.float32)

WRONG = {
    "float64 counts": lambda: arithmetic.scale(ramp().astype(float), 2),
    "counts of another byte order": lambda: arithmetic.scale(ramp().astype(">f4"), 2),
    "a 3-D ramp": lambda: arithmetic.scale(ramp()[0], 2),
    "an empty ramp": lambda: arithmetic.scale(ramp()[:, :, :0], 2),
    "rows cut in columns": lambda: arithmetic.scale(ramp()[..., 1:], 2),
    "reversed groups": lambda: arithmetic.scale(ramp()[:, ::-1], 2),
    "counts that cannot be written": lambda: arithmetic.scale(read_only(ramp()), 2),
    "an image of another size": lambda: arithmetic.subtract(ramp(), ramp()[0, 0, 1:]),
    "too few planes": lambda: arithmetic.subtract(ramp(), ramp()[0, :2]),
    "a plane that is not there": lambda: arithmetic.subtract(
        ramp(), ramp()[0], index_of_group=[0, 1, 3]
    ),
    "a profile of another length": lambda: arithmetic.subtract_cross(ramp(), np.zeros((2, 3, 5))),
    "a profile without groups": lambda: arithmetic.subtract_cross(ramp(), None, np.zeros((2, 5))),
    "flags of another size": lambda: arithmetic.flag_or(image(), image((5, 4))),
    "a mask of another size": lambda: arithmetic.group_or(group_flags(), image((5, 4), np.uint8)),
    "group flags of another shape": lambda: flags.flag_charge_migration(
        ramp(), group_flags((2, 2, 4, 5)), 1
    ),
    "group flags of another type": lambda: flags.flag_charge_migration(
        ramp(), ramp().astype(np.int8), 1
    ),
    "pixel flags of another type": lambda: flags.flag_first_groups(
        group_flags(), image(dtype=np.int32), 1
    ),
    "pixel flags cut in columns": lambda: flags.flag_first_groups(
        group_flags(), image((4, 6))[:, 1:], 1
    ),
    "an even kernel": lambda: ipc.convolve_ipc(ramp(), np.ones((2, 2))),
    "an oblong kernel": lambda: ipc.convolve_ipc(ramp(), np.ones((1, 3))),
    "a kernel for other pixels": lambda: ipc.convolve_ipc(ramp(), np.ones((3, 3, 4, 4))),
    "an area beyond the data": lambda: ipc.convolve_ipc(
        ramp(), np.ones((3, 3)), valid=(0, 5, 0, 5)
    ),
    "one coefficient": lambda: linearity.correct_linearity(ramp(), None, COEFFS[:1]),
    "coefficients of other pixels": lambda: linearity.correct_linearity(
        ramp(), group_flags(), COEFFS[:, 1:]
    ),
    "reference flags of other pixels": lambda: linearity.prepare(COEFFS, image((5, 4))),
    "a group without reads": lambda: linearity.correct_linearity_reads(
        ramp(), group_flags(), COEFFS, COEFFS, [[1], [], [2]]
    ),
    "a threshold of other pixels": lambda: saturation.flag_saturation(
        ramp(), group_flags(), image(), ramp()[0, 0, 1:], image()
    ),
    "a dilution of too few groups": lambda: saturation.flag_saturation(
        ramp(), group_flags(), image(), ramp()[0, 0], image(), dilution=[1, 1]
    ),
    "read times of one kind only": lambda: saturation.flag_saturation(
        ramp(), group_flags(), image(), ramp()[0, 0], image(), read_means=[1, 2, 3]
    ),
    "a zero frame without integrations": lambda: saturation.flag_zeroframe(
        ramp()[0, 0], ramp()[0, 0]
    ),
    "nothing to average": lambda: refpix.clipped_mean(np.zeros(0, np.float32)),
    "a selection that does not fit": lambda: refpix.clipped_mean(np.zeros(4), np.ones(5)),
    "columns that do not fit": lambda: refpix.side_median(np.zeros((2, 8, 4)), np.ones((8, 3)), 3),
    "half an element": lambda: codec.decode(b"123", ">i2"),
    "an output too small": lambda: codec.decode(b"1234", ">i2", out=np.empty(1, np.int16)),
    "an output of another type": lambda: codec.decode(
        b"1234", ">i2", out=np.empty(2, np.int16), to=np.float32
    ),
    "values too wide": lambda: codec.encode(np.zeros(3, np.int64), ">i2"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_arrays_that_do_not_fit_are_refused(call):
    with pytest.raises(ShapeError):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: saturation.flag_saturation(
            ramp(), group_flags(), image(), ramp()[0, 0], image(), grow=5000
        ),
        lambda: saturation.flag_saturation(
            ramp(), group_flags(), image(), ramp()[0, 0], image(), grow=-1
        ),
        lambda: saturation.flag_saturation(
            ramp(),
            group_flags(),
            image(),
            ramp()[0, 0],
            image(),
            read_means=[1, 2, 3],
            read_lasts=[1, 2, 3],
            nframes=0,
        ),
        lambda: arithmetic.subtract_cross(ramp(), start_group=-1),
        lambda: flags.flag_first_groups(group_flags(), image(), 4),
        lambda: linearity.correct_linearity_reads(
            ramp(), group_flags(), COEFFS, COEFFS, [[3], [2], [1]]
        ),
        lambda: refpix.clipped_mean(np.ones(4), limit=0),
        lambda: codec.decode(b"12", "<i2"),
        lambda: codec.decode(b"12", ">i2", 7),
        lambda: arithmetic.group_or(group_flags(), image(dtype=np.uint8), slice(None, None, -1)),
    ],
    ids=[
        "spill",
        "negative spill",
        "no reads",
        "start",
        "groups",
        "times",
        "limit",
        "byte order",
        "offset",
        "direction",
    ],
)
def test_parameters_out_of_range_are_refused(call):
    with pytest.raises(UsageError):
        call()
