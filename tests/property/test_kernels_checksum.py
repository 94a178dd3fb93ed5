"""The checksum of the library is zlib's."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels.checksum import crc32


@given(st.integers(0, 20000), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_the_checksum_is_that_of_zlib(count, start, seed):
    data = np.random.default_rng(seed).integers(0, 256, start + count, np.uint8)[start:]

    assert crc32(data) == zlib.crc32(data.tobytes())


@pytest.mark.parametrize("dtype", ["<u2", "<i4", "<f4"])
def test_arrays_are_summed_as_they_lie_in_memory(dtype):
    data = np.arange(70 * 80).reshape(70, 80).astype(dtype)

    assert crc32(data) == zlib.crc32(data.tobytes())
