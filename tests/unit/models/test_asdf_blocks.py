import asdf
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightmill.models.asdf_blocks import plain_array, written_out
from lightmill.models.asdf_tree import AsdfSection, array_tag

DICE = np.random.default_rng(3)
ARRAYS = {
    "doubles": DICE.normal(size=(3, 4)),
    "big": DICE.normal(size=7).astype(">f4"),
    "counts": DICE.integers(0, 1000, (2, 3, 2)).astype(np.uint16),
    "one": np.array([1.5]),
    "none": np.zeros((0, 3)),
    "texts": np.array(["F150W", "clear ", "Å"]),
    "ascii": np.array([b"F150W", b"N/A"]),
}


def nodes(path):
    return AsdfSection(path.read_bytes, path.name).tree()


@pytest.fixture
def write(tmp_path):
    def write(storage="internal", arrays=ARRAYS, **options):
        path = tmp_path / "arrays.asdf"
        asdf.AsdfFile({"first": np.arange(5), **arrays}).write_to(
            path, all_array_storage=storage, **options
        )
        return path

    return write


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("storage", ["internal", "inline"])
def test_arrays_are_what_was_written(write, storage, name):
    path = write(storage)

    found = plain_array(nodes(path)[name].value, path)

    assert_array_equal(found, ARRAYS[name])
    assert found.dtype.isnative
    assert found.flags.writeable


def test_arrays_of_blocks_are_written_out(write):
    path = write()
    tree = nodes(path)

    found = written_out({"held": [tree["big"], tree["texts"]]}, path.read_bytes(), "1.6.0")

    numbers, texts = found["held"]
    assert (numbers.tag, texts) == (array_tag("1.6.0"), tree["texts"])
    assert_array_equal(plain_array(numbers.value, path), ARRAYS["big"])
    assert "data" not in tree["big"].value


def test_parts_of_one_block_are_told_apart(write):
    whole = np.arange(20.0).reshape(4, 5)
    path = write(arrays={"whole": whole, "rows": whole[2:]})

    assert_array_equal(plain_array(nodes(path)["rows"].value, path), whole[2:])


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ({"it": np.arange(100.0)}, {"all_array_compression": "zlib"}),
        ({"it": np.ma.masked_equal([1.0, 2.0], 2.0)}, {}),
        ({"it": np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])}, {}),
    ],
)
def test_what_is_not_plain_is_left_to_the_library(write, arrays, options):
    path = write(arrays=arrays, **options)

    assert plain_array(nodes(path)["it"].value, path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"strides": [64, 8]},
        {"mask": -1},
        {"source": 99},
        {"source": -1},
        {"source": "other.asdf"},
        {"offset": 1 << 40},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": ["*"]},
        {"shape": [-3]},
        {"datatype": "float31"},
        {"datatype": ["ucs4", -1]},
        {"datatype": ["ucs4", 1 << 40]},
        {"datatype": ["utf9", 4]},
        {"datatype": ["ucs4"]},
        {"byteorder": "middle"},
    ],
)
def test_what_a_damaged_or_unusual_node_asks_for_is_not_read(write, change):
    path = write()
    node = dict(nodes(path)["doubles"].value) | change

    assert plain_array(node, path) is None


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.9])
def test_a_file_cut_off_gives_nothing_rather_than_something_else(write, keep):
    path = write()
    node = nodes(path)["counts"].value
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])

    found = plain_array(node, path)

    assert found is None or np.array_equal(found, ARRAYS["counts"])
