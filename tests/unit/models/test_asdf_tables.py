import subprocess
import sys

import asdf
import numpy as np
import pytest
from astropy import units
from astropy.table import MaskedColumn, Table
from numpy.testing import assert_array_equal

from lightmill import models
from lightmill.models.asdf_tables import plain_table
from lightmill.models.asdf_tree import TAG, Tagged

TABLE = {
    "filter": ["F150W", "F200W", "CLEAR"],
    "abvega_offset": [1.22, 1.7, 0.0],
    "count": np.array([1, 2, 3], np.int16),
}


@pytest.fixture
def write(tmp_path):
    def write(table, storage="internal", name="offsets"):
        path = tmp_path / "table.asdf"
        meta = {"reftype": "abvegaoffset", "telescope": "JWST"}
        asdf.AsdfFile({"meta": meta, name: table}).write_to(path, all_array_storage=storage)
        return path

    return write


def rows_of(path, name="offsets"):
    return plain_table(models.open(path).foreign.tree()[name], path)


@pytest.mark.parametrize("storage", ["internal", "inline"])
def test_the_rows_of_a_plain_table_are_those_of_the_packages(write, storage):
    table = Table(TABLE)

    rows = rows_of(write(table, storage))

    assert rows.dtype == table.as_array().dtype
    assert_array_equal(rows, table.as_array())


@pytest.mark.parametrize(
    "column",
    [
        MaskedColumn([1.0, 2.0, 3.0], mask=[False, True, False]),
        units.Quantity([1.0, 2.0, 3.0], "Jy"),
        np.ones((3, 2)),
    ],
    ids=["masked", "unit", "vectors"],
)
def test_what_is_not_plain_is_left_to_the_packages(write, column):
    assert rows_of(write(Table({**TABLE, "odd": column}))) is None


def column(name, values):
    array = Tagged(f"{TAG}core/ndarray-1.0.0", {"data": values, "datatype": "float64"})
    return Tagged(f"{TAG}core/column-1.0.0", {"name": name, "data": array})


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [column("a", [1.0, 2.0]), column("b", [1.0])],
        [column("a", [1.0]), column("a", [2.0])],
        [column("a", "no list")],
        ["no column"],
    ],
    ids=["none", "lengths", "twice", "text", "no-column"],
)
def test_what_is_no_table_is_none(columns, tmp_path):
    node = Tagged("tag:astropy.org:astropy/table/table-1.0.0", {"columns": columns})

    assert plain_table(node, tmp_path) is None
    assert plain_table(columns, tmp_path) is None


def test_a_plain_table_needs_none_of_the_packages(write):
    path = write(Table(TABLE))
    program = (
        "import sys; from lightmill import models; "
        "from lightmill.models.asdf_tables import plain_table\n"
        f"table = models.open({str(path)!r})\n"
        "rows = plain_table(table.foreign.tree()['offsets'], table.path)\n"
        "print(rows['filter'][1], sorted({'asdf', 'astropy'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "F200W []\n"
