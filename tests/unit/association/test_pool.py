"""A pool is what its text says: every cell, and the place of every fault."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.association.pool import Pool, concat, read_pool, write_pool
from lightmill.errors import CorruptFileError, DataError, ValidationError

HEADER = "FILENAME|PROGRAM|ASN_CANDIDATE\n"
ROW = "a_uncal.fits|99009|[('o001', 'OBSERVATION')]\n"


@pytest.fixture
def pool_file(tmp_path):
    """Write bytes or text to a pool file; return its path."""

    def write(content):
        path = tmp_path / "night_pool.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_names_and_cells_are_in_lower_case_without_blanks_around(pool_file):
    pool = read_pool(pool_file("FILENAME | Program\n  A_Uncal.fits|  00_7 \n"))

    assert pool.columns == ("filename", "program")
    assert list(pool) == [{"filename": "a_uncal.fits", "program": "00_7"}]


def test_comments_and_blank_lines_say_nothing(pool_file):
    pool = read_pool(pool_file("# a|b\n\n" + HEADER + "  # not a row | of it\n   \n" + ROW))

    assert len(pool) == 1
    assert pool.place(0, "program") == "night_pool.csv:6 [program]"


def test_quotes_let_a_cell_have_the_delimiter(pool_file):
    pool = read_pool(pool_file('a|b|c\n1| "x | ""y""" |\'3\'\n'))

    assert pool.row(0) == {"a": "1", "b": 'x | "y"', "c": "'3'"}


@pytest.mark.parametrize(
    ("widest", "empty"), [("t", "n"), ("ab", "nu"), ("abc", "nul"), ("abcd", "null"), ("", "n")]
)
def test_an_empty_cell_is_null_cut_to_the_widest_value(pool_file, widest, empty):
    # physics: the field's reader does so, and `nu` counts as a value where `n` and `null` do not
    pool = read_pool(pool_file(f"a|b\n1|{widest}\n2|\n"))

    assert pool.cell(1, "b") == empty


def test_windows_line_ends_and_a_missing_last_one_change_nothing(pool_file):
    text = HEADER + ROW + ROW
    plain = read_pool(pool_file(text))

    assert read_pool(pool_file(text.replace("\n", "\r\n"))) == plain
    assert read_pool(pool_file(text.rstrip("\n"))) == plain
    assert read_pool(pool_file(b"\xef\xbb\xbf" + text.encode())) == plain


def test_repeated_names_of_columns_are_numbered(pool_file):
    assert read_pool(pool_file("a|b|a|a\n1|2|3|4\n")).columns == ("a", "b", "a_1", "a_2")


@pytest.mark.parametrize(
    ("content", "kind", "place", "words"),
    [
        (HEADER + ROW + "a|b\n", ValidationError, ":3:4", "too few"),
        (HEADER + ROW + "a|b|c|d\n", ValidationError, ":3:7", "too many"),
        (HEADER + 'a|"b|c\n', ValidationError, ":2:3", "not closed"),
        (HEADER + 'a|"b"x|c\n', ValidationError, ":2:6", "after the closing quotes"),
        ("a||c\n", ValidationError, ":1:3", "empty"),
        ("a|12.5|c\n", ValidationError, ":1:3", "number"),
        ("ab|AB\n", ValidationError, ":1:4", "case"),
        (HEADER.encode() + b"\x00\xff\x7fELF", CorruptFileError, ":2:1", "text"),
        (HEADER.encode() + b"abc\xff|b|c\n", CorruptFileError, ":2:4", "UTF-8"),
        (b"SIMPLE  =\x00", CorruptFileError, ":1:10", "text"),
        ("# only a comment\n", ValidationError, "night_pool.csv", "no header"),
        ("", ValidationError, "night_pool.csv", "no header"),
    ],
)
def test_a_bad_pool_is_refused_with_line_and_column(pool_file, content, kind, place, words):
    with pytest.raises(kind) as caught:
        read_pool(pool_file(content))

    assert caught.value.place.endswith(place)
    assert words in caught.value.fact


def test_a_pool_that_is_not_there_is_a_named_error(tmp_path):
    with pytest.raises(DataError) as caught:
        read_pool(tmp_path / "no.csv")

    assert caught.value.place.endswith("no.csv")


def test_a_missing_column_is_named(pool_file):
    with pytest.raises(ValidationError) as caught:
        read_pool(pool_file(HEADER + ROW)).require(["filename", "exp_type", "pntgtype"])

    assert "'exp_type', 'pntgtype'" in caught.value.fact


def test_lines_are_counted_across_the_blocks_a_file_is_read_by(pool_file, monkeypatch):
    monkeypatch.setattr("lightmill.association.pool.BLOCK", 64)

    pool = read_pool(pool_file(HEADER + ROW * 20))

    assert list(pool.lines) == list(range(2, 22))
    assert pool.column("program") == ["99009"] * 20


def test_a_cell_with_a_line_break_is_not_written(tmp_path):
    with pytest.raises(ValidationError):
        write_pool(Pool.from_rows([{"a": "x\ny"}]), tmp_path / "pool.csv")

    assert list(tmp_path.iterdir()) == []


def test_select_replaced_and_concat_keep_what_they_should():
    pool = Pool.from_rows([{"a": "1", "b": "x"}, {"a": "2", "b": "x"}, {"a": "1", "b": None}])

    picked = pool.select([2, 0])

    assert list(picked) == [{"a": "1", "b": "null"}, {"a": "1", "b": "x"}]
    assert picked.values("a") == ["1"]
    assert pool.replaced("b", "z").column("b") == ["z", "z", "z"]
    assert pool.replaced("b", ["1", "2", "3"]).column("b") == ["1", "2", "3"]
    assert concat([pool, Pool.from_rows([{"c": "9"}])]).row(3) == {
        "a": "null",
        "b": "null",
        "c": "9",
    }
    assert pool.column("b") == ["x", "x", "null"]


cells = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]) | st.just(" ")
).map(str.strip)
names = st.from_regex(r"[a-z_][a-z_0-9]{0,8}", fullmatch=True).filter(
    lambda name: name not in {"nan", "inf"}
)


@st.composite
def pools(draw):
    """Pools of any cells a pool can have."""
    columns = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    rows = draw(st.lists(st.lists(cells, min_size=len(columns), max_size=len(columns)), max_size=6))
    return Pool.from_rows([dict(zip(columns, row, strict=True)) for row in rows], columns=columns)


@given(pools(), st.sampled_from("|,;\t"))
def test_a_pool_written_and_read_is_the_same(tmp_path_factory, pool, delimiter):
    path = tmp_path_factory.mktemp("pools") / "pool.csv"

    write_pool(pool, path, delimiter=delimiter)

    assert read_pool(path, delimiter=delimiter, fold=False) == pool
    assert read_pool(path, delimiter=delimiter) == pool.folded()


@given(pools(), pools(), st.data())
def test_a_pool_behaves_as_the_list_of_its_rows(pool, other, data):
    rows = list(pool)
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8) if rows else st.just([]))

    assert list(pool.select(picked)) == [rows[row] for row in picked]
    assert [pool.row(row) for row in range(len(pool))] == rows
    names = list(dict.fromkeys(pool.columns + other.columns))
    assert list(concat([pool, other])) == [
        {name: row.get(name, "null") for name in names} for row in [*rows, *other]
    ]
    for name in pool.columns:
        values, codes = pool.values(name), pool.codes(name)
        assert len(set(values)) == len(values)
        assert [values[code] for code in codes] == pool.column(name) == [row[name] for row in rows]
        assert list(pool.replaced(name, "z")) == [{**row, name: "z"} for row in rows]
    assert pool.folded().folded() == pool.folded()


@given(st.binary(max_size=200) | st.text(st.sampled_from('ab|"# \n\r\t1.'), max_size=60))
def test_whatever_the_file_holds_it_is_a_pool_or_a_named_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("junk") / "pool.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    pool = None
    with contextlib.suppress(DataError):
        pool = read_pool(path)

    assert pool is None or all(len(pool.column(name)) == len(pool) for name in pool.columns)
