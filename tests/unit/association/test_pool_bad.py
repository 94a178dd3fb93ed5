"""A bad pool gives a named error with its place, or rows left out: never half an output."""

import json

import pytest

from lightmill.association.pool import Pool, write_pool
from lightmill.cli.main import main

EXPOSURE = {
    "filename": "jw99001001001_02101_00001_nis_uncal.fits",
    "program": "99001",
    "obs_num": "1",
    "visitype": "PRIME_TARGETED_FIXED",
    "exp_type": "NIS_IMAGE",
    "instrume": "NIRISS",
    "detector": "NIS",
    "targetid": "1",
    "pntgtype": "SCIENCE",
    "filter": "CLEAR",
    "pupil": "F200W",
    "subarray": "FULL",
    "asn_candidate": "[('o001', 'OBSERVATION')]",
}


@pytest.fixture
def generate(tmp_path, capsys):
    """Associate a pool; return status, error text, and every file there is but the pool."""
    folder = tmp_path / "work" / "out"
    folder.mkdir(parents=True)

    def run(content):
        path = tmp_path / "night_pool.csv"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_pool(Pool.from_rows(content), path)
        with pytest.raises(SystemExit) as left:
            main(["asn", "generate", str(path), "-p", str(folder)])
        files = {p for p in tmp_path.rglob("*") if p.is_file() and p != path}
        assert {p.parent for p in files} <= {folder}
        return left.value.code, capsys.readouterr().err, sorted(p.name for p in files)

    return run


def text_of(*rows):
    """A pool's text with the cells of each row as they are given."""
    return "\n".join(["|".join(EXPOSURE), *("|".join(row) for row in rows), ""]).encode()


CELLS = list(EXPOSURE.values())


def test_a_good_pool_makes_an_association_of_the_exposure(generate):
    status, said, files = generate([EXPOSURE])

    assert (status, said) == (0, "")
    assert files == ["jw99001-o001_image2_00001_asn.json", "jw99001-o001_image3_00001_asn.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (text_of(CELLS, CELLS[:-1]), "night_pool.csv:3:"),
        (text_of(CELLS, [*CELLS, "x"]), "night_pool.csv:3:"),
        (text_of(CELLS)[:40] + b"\x00\x01\xff", "night_pool.csv:1:41"),
        (text_of(CELLS) + b"\xfe", "night_pool.csv:3:1"),
        (text_of(['"' + CELLS[0], *CELLS[1:]]), "night_pool.csv:2:1"),
        (b"", "night_pool.csv"),
    ],
)
def test_a_file_that_is_no_pool_is_an_error_with_line_and_column(generate, content, words):
    status, said, files = generate(content)

    assert status == 3
    assert words in said
    assert "Traceback" not in said
    assert files == []


@pytest.mark.parametrize(
    "column", ["filename", "asn_candidate", "exp_type", "program", "targetid", "pntgtype"]
)
def test_a_missing_column_is_named_with_the_line_that_should_have_it(generate, column):
    names = [name for name in EXPOSURE if name != column]
    rows = ["# A night", "|".join(names), "|".join(EXPOSURE[name] for name in names)]

    status, said, files = generate("\n".join(rows).encode())

    assert status == 3
    assert repr(column) in said
    assert "night_pool.csv:2" in said
    assert files == []


@pytest.mark.parametrize(
    "name",
    ["../x_uncal.fits", "/tmp/x_uncal.fits", "a/../../x_uncal.fits", "x;touch y_uncal.fits",
     "$(touch y)_uncal.fits", "`y`_uncal.fits", "~/x_uncal.fits", "x*_uncal.fits"],
)  # fmt: skip
def test_a_row_with_a_dangerous_name_is_left_out_and_said(generate, name):
    status, said, files = generate([EXPOSURE, {**EXPOSURE, "filename": name}])

    assert status == 0
    assert "night_pool.csv:3 [filename]" in said
    assert len(files) == 2


@pytest.mark.parametrize("program", ["../../../etc", "/etc", "1;y", "$(y)", "x" * 300])
def test_a_program_that_is_no_part_of_a_name_is_refused(generate, program):
    other = {**EXPOSURE, "program": program, "filename": "other_uncal.fits"}

    _, said, files = generate([EXPOSURE, other])

    assert "program" in said or "bytes long" in said
    assert files
    assert all(name.startswith("jw99001-o001_") for name in files)


@pytest.mark.parametrize("candidate", ["[('../o1', 'OBSERVATION')]", "[('o1;y', 'OBSERVATION')]"])
def test_a_candidate_that_is_no_part_of_a_name_is_refused(generate, candidate):
    other = {**EXPOSURE, "asn_candidate": candidate, "filename": "other_uncal.fits"}

    _, said, files = generate([EXPOSURE, other])

    assert said
    assert "jw99001-o001_image2_00001_asn.json" in files
    assert all(name.startswith(("jw99001-o001_", "jw99001-a3001_")) for name in files)


@pytest.mark.parametrize(
    "candidate", ["(((", "o001", "[('o001',)]", "{}", "1.5", "__import__('os')"]
)
def test_candidates_that_cannot_be_understood_are_said(generate, candidate):
    other = {**EXPOSURE, "asn_candidate": candidate, "filename": "other_uncal.fits"}

    status, said, files = generate([EXPOSURE, other])

    assert status == 0
    assert "night_pool.csv:3 [asn_candidate]" in said
    assert "jw99001-o001_image2_00001_asn.json" in files


def test_a_row_twice_is_said_and_adds_nothing(generate, tmp_path):
    status, said, files = generate([EXPOSURE, EXPOSURE])

    assert status == 0
    assert "night_pool.csv:3 [filename]" in said
    made = [json.loads(path.read_text()) for path in (tmp_path / "work" / "out").iterdir()]
    assert [len(product["members"]) for asn in made for product in asn["products"]] == [1, 1]
    assert len(files) == 2
