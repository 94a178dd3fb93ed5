"""The codec equals NumPy's, and what is encoded decodes to itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightmill.kernels import codec
from lightmill.kernels._reference import codec as plain

STORED = [
    (">i2", 0), (">i2", 1 << 15), (">i4", 0), (">i4", 1 << 31),
    (">i8", 0), (">f4", 0), (">f8", 0), ("u1", 0), ("i1", 0),
]  # fmt: skip


@pytest.mark.parametrize(("stored", "zero"), STORED)
@given(data=st.data())
def test_decoding_equals_its_readable_twin_and_encoding_undoes_it(stored, zero, data):
    size = np.dtype(stored).itemsize
    count, skipped = data.draw(st.integers(0, 70)), data.draw(st.integers(0, 3))
    bits = data.draw(hnp.arrays(np.uint8, skipped + count * size))[skipped:]  # unaligned, too

    values = codec.decode(bits, stored, zero)

    np.testing.assert_array_equal(values.tobytes(), plain.decode(bits, stored, zero).tobytes())
    np.testing.assert_array_equal(codec.encode(values, stored, zero), bits)


@pytest.mark.parametrize(("stored", "zero"), [s for s in STORED if s[0] != ">i8"])
@given(bits=hnp.arrays(np.uint8, st.integers(0, 20).map(lambda n: 8 * n)))
def test_decoding_to_float32_equals_its_readable_twin(stored, zero, bits):
    with np.errstate(over="ignore", invalid="ignore"):
        values = codec.decode(bits, stored, zero, to=np.float32)
        expected = plain.decode(bits, stored, zero, to=np.float32)

    np.testing.assert_array_equal(values, expected)
