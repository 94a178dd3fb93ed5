import os

import numpy as np
import pytest

from lightmill.errors import CorruptFileError, OutputError
from lightmill.models import Region
from lightmill.pipeline.spool import Spool


@pytest.fixture
def cube():
    return np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)


@pytest.fixture
def spool(cube, tmp_path):
    made = Spool(cube.shape, cube.dtype, tmp_path)
    made.write(0, cube[..., :2, :])
    made.write(2, cube[..., 2:, :])
    return made


def test_what_was_written_by_rows_is_read_whole(spool, cube):
    np.testing.assert_array_equal(spool.read(), cube)
    np.testing.assert_array_equal(np.asarray(spool), cube)


def test_a_part_of_the_frame_is_read_from_every_plane(spool, cube):
    part = spool.read(Region(1, 4, 2, 6))

    np.testing.assert_array_equal(part, cube[..., 1:4, 2:6])
    assert part.flags.c_contiguous


def test_some_planes_are_read(spool, cube):
    np.testing.assert_array_equal(spool.read(planes=slice(2, 4)), cube.reshape(6, 5, 7)[2:4])


def test_chunks_are_the_array_in_file_order(spool, cube):
    assert b"".join(chunk.tobytes() for chunk in spool.chunks()) == cube.tobytes()


def test_rows_of_later_planes_can_be_written_alone(spool, cube):
    spool.write(0, np.zeros((3, 5, 7), np.float32), first_plane=3)

    assert not spool.read()[1].any()
    np.testing.assert_array_equal(spool.read()[0], cube[0])


def test_the_caller_owns_what_was_read(spool, cube):
    spool.read()[:] = -1

    np.testing.assert_array_equal(spool.read(), cube)


def test_the_scratch_file_has_no_name(spool, tmp_path):
    assert spool.nbytes == 2 * 3 * 5 * 7 * 4
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_can_be_read(cube, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(cube.tobytes())

    np.testing.assert_array_equal(Spool(cube.shape, cube.dtype, path=path).read(), cube)


def test_a_file_too_short_is_an_error_and_no_endless_loop(cube, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(cube.tobytes()[:-100])

    with pytest.raises(CorruptFileError, match="too soon"):
        Spool(cube.shape, cube.dtype, path=path).read()


def test_a_scratch_folder_that_is_not_there_is_an_error(cube, tmp_path):
    with pytest.raises(OutputError, match="intermediate data"):
        Spool(cube.shape, cube.dtype, tmp_path / "missing")


def test_a_full_disk_is_an_error_that_says_how_much_is_needed(spool, cube, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(OutputError, match="No space left"):
        spool.write(0, cube)
