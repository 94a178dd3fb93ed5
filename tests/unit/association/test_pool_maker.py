"""A pool made of headers says what they say, and what they do not say is reported."""

import gzip
import os

import pytest
from astropy.io import fits

from lightmill.app import discover
from lightmill.association.pool import read_pool, write_pool
from lightmill.association.pool_columns import Column, read_columns, text_of
from lightmill.association.pool_maker import make_pool
from lightmill.cli.main import main
from lightmill.errors import ConfigurationError
from lightmill.instrument import observatories
from lightmill.simulate import InstrumentFacts, observe

COLUMNS = {
    "filename": Column(file_name=True),
    "program": Column(("PROGRAM",), needed=True),
    "obs_num": Column(("OBS_NUM", "OBSERVTN"), kind="integer", needed=True),
    "targetid": Column(("TARGNAME",), counted=True),
    "asn_candidate": Column(("OBSERVTN",), candidate="observation", prefix="o"),
    "tsovisit": Column(("TSOVISIT",)),
    "dithptin": Column(("DITHPTIN",), default="1"),
}
DEFINITIONS = {"SCOPE": COLUMNS}


@pytest.fixture
def exposure(tmp_path):
    """Write a file with some keywords; return its path."""

    def write(name, **keywords):
        header = fits.Header(
            {"TELESCOP": "Scope", "PROGRAM": "00007", "OBSERVTN": "004", **keywords}
        )
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        fits.PrimaryHDU(header=header).writeto(path)
        return path

    return write


def test_a_row_has_what_the_header_says(exposure):
    path = exposure("a_uncal.fits", TARGNAME="M 31", TSOVISIT=True)

    made = make_pool([path], DEFINITIONS)

    assert made.pool.row(0) == {
        "filename": "a_uncal.fits",
        "program": "00007",
        "obs_num": "4",
        "targetid": "1",
        "asn_candidate": "[('o004', 'observation')]",
        "tsovisit": "T",
        "dithptin": "1",
    }
    assert not made.skipped
    assert not made.missing


def test_missing_keywords_leave_null_and_are_reported_where_rules_need_them(exposure):
    path = exposure("a_uncal.fits", OBSERVTN=None)

    made = make_pool([path], DEFINITIONS)

    assert made.pool.row(0)["obs_num"] == "null"
    assert made.pool.row(0)["asn_candidate"] == "null"
    assert made.missing == {"obs_num": ["a_uncal.fits"]}


def test_a_target_keeps_its_number_when_the_telescope_returns_to_it(exposure):
    paths = [exposure(f"{n}_uncal.fits", TARGNAME=name) for n, name in enumerate("ABA")]
    paths.append(exposure("3_uncal.fits", TARGNAME="C", PROGRAM="00008"))

    made = make_pool(paths, DEFINITIONS)

    assert made.pool.column("targetid") == ["1", "2", "1", "1"]


def test_what_cannot_be_a_row_is_skipped_with_its_reason(exposure, tmp_path):
    good = exposure("a_uncal.fits")
    other = exposure("twin/a_uncal.fits")
    foreign = exposure("b_uncal.fits", TELESCOP="Else")
    nameless = exposure("c_uncal.fits", TELESCOP=None)
    shell = exposure("d;e_uncal.fits")
    (junk := tmp_path / "junk_uncal.fits").write_bytes(b"\x00\xff" * 4000)
    (cut := tmp_path / "cut_uncal.fits").write_bytes(good.read_bytes()[:160])
    (empty := tmp_path / "empty_uncal.fits").write_bytes(b"")
    (torn := tmp_path / "torn_uncal.fits.gz").write_bytes(gzip.compress(good.read_bytes())[:90])
    os.mkfifo(pipe := tmp_path / "pipe_uncal.fits")
    missing = tmp_path / "no.fits"
    bad = [other, foreign, nameless, shell, junk, cut, empty, torn, missing, tmp_path, pipe]

    made = make_pool([good, *bad], DEFINITIONS)

    assert made.pool.column("filename") == ["a_uncal.fits"]
    assert [one.path for one in made.skipped] == bad
    assert all(one.reason for one in made.skipped)


def test_compressed_files_and_any_number_of_threads_give_the_same_pool(exposure, tmp_path):
    paths = [exposure(f"{n:03d}_uncal.fits", TARGNAME=f"T{n % 7}") for n in range(40)]
    packed = tmp_path / "z_uncal.fits.gz"
    packed.write_bytes(gzip.compress(paths[0].read_bytes()))
    paths.append(packed)

    seen = []
    many = make_pool(paths, DEFINITIONS, threads=8, progress=lambda *done: seen.append(done[1:]))

    assert many.pool == make_pool(paths, DEFINITIONS, threads=1).pool
    assert many.pool.column("targetid")[-1] == "1"
    assert seen == [(0, 41), (41, 41)]


def test_cells_and_candidates_given_by_hand_are_in_every_row(exposure):
    path = exposure("a_uncal.fits", EXTRA=2.5)

    made = make_pool(
        [path],
        DEFINITIONS,
        fixed={"dms_note": "x"},
        candidates=[("c1000", "background")],
        every_keyword=True,
    )

    row = made.pool.row(0)
    assert row["dms_note"] == "x"
    assert row["extra"] == "2.5"
    assert row["asn_candidate"] == "[('o004', 'observation'), ('c1000', 'background')]"


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "T"), (False, "F"), (None, None), ("  ", None), (3, "3"), (0.5, "0.5"), ("a ", "a")],
)
def test_values_are_written_as_pools_have_them(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(
    "text", ["[]", "columns: {}", "columns: {a: 3}", "columns: {a: {kyword: X}}",
             "columns: {a: {as: float}}", "columns: {a: {keyword: [1]}}"],
)  # fmt: skip
def test_columns_that_cannot_be_understood_are_refused(tmp_path, text):
    path = tmp_path / "pool.yaml"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        read_columns(path)

    assert str(path) in caught.value.place


def test_every_observatory_defines_what_a_pool_must_have():
    discover()
    files = [one.home / "associations" / "pool.yaml" for one in observatories()]
    defined = [read_columns(path) for path in files if path.exists()]

    assert defined
    for columns in defined:
        assert {"filename", "program", "asn_candidate", "exp_type"} <= set(columns)


def test_a_simulated_night_becomes_a_pool(tmp_path, capsys):
    facts = next(
        facts
        for one in discover().values()
        if (path := one.home / "simulate.yaml").exists()
        and (facts := InstrumentFacts.from_yaml(path)).demo
    )
    (tmp_path / "night").mkdir()
    made = observe(facts, "demo", seed=1, directory=tmp_path / "night")

    with pytest.raises(SystemExit) as left:
        main(["asn", "pool", str(tmp_path / "night"), "-o", str(tmp_path / "pool.csv")])

    pool = read_pool(tmp_path / "pool.csv")
    assert left.value.code == 0
    assert pool.column("filename") == [one.uncal.name for one in made]
    assert "3 exposures" in capsys.readouterr().out
    write_pool(pool, tmp_path / "again.csv")
    assert read_pool(tmp_path / "again.csv") == pool


def test_a_pool_of_nothing_is_not_written(tmp_path, capsys):
    (tmp_path / "x.fits").write_bytes(b"junk")

    with pytest.raises(SystemExit) as left:
        main(["asn", "pool", str(tmp_path / "x.fits"), "-o", str(tmp_path / "pool.csv")])

    assert left.value.code == 3
    assert not (tmp_path / "pool.csv").exists()
    assert "x.fits: this is not a FITS file" in capsys.readouterr().err
