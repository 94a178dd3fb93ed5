"""Every flag has one bit; other tables are translated into it by name."""

import numpy as np
import pytest

from lightmill.errors import DataError, UnknownNameError
from lightmill.models import dq


def test_the_bits_of_the_field():
    assert dq.PIXEL["DO_NOT_USE"] == 1
    assert dq.PIXEL["REFERENCE_PIXEL"] == 1 << 31
    assert len(dq.PIXEL) == 33
    assert max(dq.GROUP.values()) == 128


def test_names_and_values_are_inverse():
    assert dq.names(5) == ["DO_NOT_USE", "JUMP_DET"]
    assert dq.mask_of("DO_NOT_USE+JUMP_DET") == dq.mask_of(["JUMP_DET", "DO_NOT_USE"]) == 5
    with pytest.raises(UnknownNameError, match="SATURATED"):
        dq.mask_of("SATURATE")


def test_flags_are_counted():
    assert dq.counts(np.array([[1, 3], [0, 1]], np.uint32)) == {"DO_NOT_USE": 3, "SATURATED": 1}


def test_the_table_can_be_read():
    assert "HOT" in dq.describe()
    assert dq.describe(2048).split() == ["11", "2048", "HOT", *dq.MEANING["HOT"].split()]


def test_a_reference_with_its_own_bits_is_translated():
    translate = dq.translator([(1, "HOT"), (2, "DO_NOT_USE "), (4, "ODD_NAME")])

    got = translate(np.array([0, 1, 3, 4, 8], np.uint32))

    # bit 8 is not defined by the table, so it says nothing; an unknown name still flags
    expected = [0, dq.PIXEL["HOT"], dq.PIXEL["HOT"] | 1, dq.PIXEL["OTHER_BAD_PIXEL"], 0]
    assert got.tolist() == expected


def test_a_reference_with_our_bits_needs_no_translation():
    assert dq.translator(dq.PIXEL) is None


def test_the_highest_bit_may_be_a_negative_number():
    translate = dq.translator([(-(2**31), "HOT")])

    assert translate(np.array([1 << 31], np.uint32)).tolist() == [dq.PIXEL["HOT"]]
    with pytest.raises(DataError):
        dq.translator([(1 << 40, "HOT")])
