"""Pointings from jitter files: what is measured, what is doubted, what is refused."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lightmill.errors import CorruptFileError, DataError, LightmillError
from lightmill.observatories.hst.wfpc2.geometry import attitude_of, separation
from lightmill.observatories.hst.wfpc2.jitter import extract, pointing_of, read_pair
from lightmill.observatories.hst.wfpc2.simulate import UNDEFINED, jitter_table, write_jitter

DATASET, GENERATION = "UZ010100J", "199703131405"
MAS = 1 / 3.6e6  # deg


@pytest.fixture
def measured(tmp_path):
    """Return a function that writes a pair of files and measures it."""

    def measure(table=None, at=(150.1, 2.2, 100.0), **settings):
        table = jitter_table(*at, exptime=300.0) if table is None else table
        pair = write_jitter(tmp_path, DATASET, GENERATION, table, **settings)
        return extract(*pair, dataset=DATASET, gen_date_str=GENERATION)

    return measure


@pytest.mark.parametrize(
    "at",
    [(150.1, 2.2, 100.0), (359.9999999, 10.0, 359.99999), (37.97, 89.9, 50.0), (0.0, -90.0, 7.0)],
)
def test_the_mean_is_on_the_sphere(measured, at):
    table = jitter_table(*at, exptime=300.0)

    pointing = measured(table)

    # physics: rows scatter by 3 mas about a point, across 0 h or beside a pole
    assert separation(attitude_of(pointing.ra, pointing.dec, 0.0), attitude_of(*at[:2], 0.0)) < 1e-5
    assert abs((pointing.roll - at[2] + 180) % 360 - 180) < 1e-9
    assert pointing.quality == "P", pointing.causes
    assert_allclose([pointing.sigma_ra, pointing.sigma_dec], 0.003, rtol=0.3)  # of 100 rows: 7 %
    assert_allclose(pointing.rms_v2, 0.003, rtol=0.3)  # the header says it in mas


def test_rows_that_do_not_count_change_nothing(measured):
    table = jitter_table(150.1, 2.2, 100.0, exptime=300.0)
    good = measured(table)
    lies = jitter_table(10.0, 40.0, 5.0, exptime=15.0)
    lies["TakeData"][0], lies["SlewFlag"][1], lies["Recenter"][2] = 0, 1, 1
    lies["RA"][3] = UNDEFINED  # a gap in the telemetry, though TakeData stays up
    lies["DEC"][4] = np.nan

    pointing = measured(np.concatenate([lies, table]))

    assert (pointing.ra, pointing.dec, pointing.roll) == (good.ra, good.dec, good.roll)
    assert (pointing.rows, pointing.valid) == (105, 100)
    assert pointing.quality == "P"


def test_only_rows_with_the_shutter_open_count(tmp_path):
    table = jitter_table(150.1, 2.2, 100.0, exptime=300.0)
    table["DEC"][table["Seconds"] > 200] += 1.0
    pair = read_pair(*write_jitter(tmp_path, DATASET, GENERATION, table))

    pointing = pointing_of(pair, dataset=DATASET, gen_date_str=GENERATION, window=(0.0, 200.0))

    assert abs(pointing.dec - 2.2) < 1 * MAS


@pytest.mark.parametrize("before_1997", [True, False])
@pytest.mark.parametrize("flag", [True, "T", "         T", "YES"])
def test_flags_are_found_wherever_and_however_they_are_written(measured, flag, before_1997):
    pointing = measured(keywords={"SLEWING": flag}, before_1997=before_1997)

    assert pointing.quality == "B"
    assert "SLEWING" in pointing.causes[0]


@pytest.mark.parametrize(
    ("keywords", "quality", "cause"),
    [
        ({"TLMFORM": "FN"}, "B", "TLMFORM FN"),
        ({"APERTURE": ""}, "B", "APERTURE"),
        ({"APERTURE": None}, "B", "APERTURE"),
        ({"GUIDEACT": "FINE LOCK/GYRO"}, "G", "GYRO"),
        ({"GUIDEACT": None}, "G", "empty"),
        ({"LOCKLOSS": 12.0}, "G", "LOCKLOSS 12 s"),
        ({"LOCKLOSS": -32767.0}, "P", None),
        ({"LOCKLOSS": "unknown"}, "P", None),
        ({"SLEWING": None, "TLMFORM": None}, "P", None),  # older logs tell only of trouble
        ({"SLEWING": False}, "P", None),
    ],
)
def test_what_the_header_says_decides_the_quality(measured, keywords, quality, cause):
    pointing = measured(keywords=keywords)

    assert pointing.quality == quality
    assert (cause is None) == (not pointing.causes)
    assert cause is None or cause in pointing.causes[0]


CONVERTED = ("cmh", "jih", "text")


@pytest.mark.parametrize("era", CONVERTED)
def test_what_was_converted_from_geis_points_where_it_did(measured, era):
    table = jitter_table(359.9999999, 10.0, 359.99999, exptime=300.0)
    lies = jitter_table(10.0, 40.0, 5.0, exptime=15.0)
    lies["TakeData"][0], lies["SlewFlag"][1], lies["Recenter"][2] = 0, 1, 1
    lies["RA"][3] = lies["DEC"][4] = UNDEFINED
    table = np.concatenate([lies, table])
    as_fits = measured(table, aperture="UPC1")

    pointing = measured(table, aperture="UPC1", converted=era)

    assert (pointing.ra, pointing.dec, pointing.roll) == (as_fits.ra, as_fits.dec, as_fits.roll)
    assert (pointing.sigma_ra, pointing.valid) == (as_fits.sigma_ra, as_fits.valid)
    assert (pointing.quality, pointing.causes, pointing.aperture) == ("P", (), "UPC1")
    assert_allclose(pointing.rms_v2, as_fits.rms_v2, rtol=1e-6)  # six digits, as text


@pytest.mark.parametrize("era", CONVERTED)
@pytest.mark.parametrize(
    ("keywords", "quality", "cause"),
    [
        ({"TLMFORM": "FN"}, "B", "TLMFORM FN"),
        ({"APERTURE": None}, "B", "APERTURE"),
        ({"SLEWING": True}, "B", "SLEWING"),
        ({"SLEWING": 1}, "B", "SLEWING"),
        ({"GUIDEACT": "GYRO"}, "G", "GYRO"),
        ({"GUIDEACT": None}, "G", "empty"),
        ({"GUIDEACT": "Fine  lock"}, "P", None),
        ({"LOCKLOSS": 12.0}, "G", "LOCKLOSS 12 s"),
        ({"LOCKLOSS": "INDEF"}, "P", None),
        ({"SLEWING": None, "TLMFORM": None, "LOCKLOSS": None, "V2_RMS": None}, "P", None),
    ],
)
def test_causes_are_kept_in_what_was_converted_from_geis(measured, era, keywords, quality, cause):
    pointing = measured(keywords=keywords, converted=era)

    assert pointing.quality == quality
    assert (cause is None) == (not pointing.causes)
    assert cause is None or cause in pointing.causes[0]


@pytest.mark.parametrize("era", CONVERTED)
def test_a_converted_log_without_a_valid_row_is_of_no_use(measured, era):
    undefined = jitter_table(150.1, 2.2, 100.0, exptime=300.0)
    for column in ("RA", "DEC", "Roll"):
        undefined[column] = UNDEFINED

    pointing = measured(undefined, converted=era)

    assert (pointing.ra, pointing.quality) == (None, "B")
    assert "no valid row" in pointing.causes[0]


@pytest.mark.parametrize("era", CONVERTED)
def test_converted_files_of_another_exposure_are_refused(tmp_path, era):
    table = jitter_table(1.0, 2.0, 3.0, exptime=30.0)
    pair = write_jitter(tmp_path, "UZ010101J", GENERATION, table, converted=era)

    with pytest.raises(DataError, match="another exposure"):
        extract(*pair, dataset=DATASET, gen_date_str=GENERATION)


def test_flags_that_are_neither_up_nor_down_are_no_valid_rows(tmp_path):
    table = jitter_table(150.1, 2.2, 100.0, exptime=30.0)
    jit, jif = write_jitter(tmp_path, DATASET, GENERATION, table, converted="jih")
    content = bytearray(jit.read_bytes())
    rows = content[-2880:]
    assert rows.count(b"FTF") == 10  # Recenter, TakeData, SlewFlag
    jit.write_bytes(content[:-2880] + rows.replace(b"FTF", b"FT?", 4))

    pointing = extract(jit, jif, dataset=DATASET, gen_date_str=GENERATION)

    assert (pointing.rows, pointing.valid) == (10, 6)


@pytest.mark.parametrize(
    ("old", "new"), [(b"E+02", b"XXXX"), (b"'A1", b"'Z9"), (b"'RA  ", b"'RAX ")]
)
def test_a_table_of_text_that_is_damaged_is_refused(tmp_path, old, new):
    table = jitter_table(150.1, 2.2, 100.0, exptime=30.0)
    jit, jif = write_jitter(tmp_path, DATASET, GENERATION, table, converted="text")
    content = jit.read_bytes()
    assert old in content
    jit.write_bytes(content.replace(old, new.ljust(len(old))))

    with pytest.raises(DataError):
        extract(jit, jif, dataset=DATASET, gen_date_str=GENERATION)


@pytest.mark.parametrize(("scatter", "quality"), [(0.004, "P"), (0.014, "G"), (2.0, "B")])
def test_scatter_decides_the_quality(measured, scatter, quality):
    table = jitter_table(150.1, 2.2, 100.0, exptime=900.0, scatter=scatter)

    assert measured(table).quality == quality


def test_a_log_without_a_valid_row_is_of_no_use_but_no_failure(measured):
    undefined = jitter_table(150.1, 2.2, 100.0, exptime=300.0)
    for column in ("RA", "DEC", "Roll"):
        undefined[column] = UNDEFINED

    pointings = [measured(undefined), measured(undefined[:0])]

    assert [one.ra for one in pointings] == [None, None]
    assert [one.quality for one in pointings] == ["B", "B"]
    assert "no valid row" in pointings[0].causes[0]
    assert "empty" in pointings[1].causes[0]
    assert not any(one.usable for one in pointings)


def test_old_spellings_of_columns_are_known(measured):
    table = jitter_table(150.1, 2.2, 100.0, exptime=300.0)
    table.dtype.names = tuple(name.upper() for name in table.dtype.names)

    assert measured(table).quality == "P"


def refused(tmp_path, change, match=None, kind=DataError):
    table = jitter_table(150.1, 2.2, 100.0, exptime=300.0)
    pair = write_jitter(tmp_path, DATASET, GENERATION, table)
    change(*pair)
    with pytest.raises(kind, match=match) as told:
        extract(*pair, dataset=DATASET, gen_date_str=GENERATION)
    assert told.value.place
    return told.value


def test_a_pair_of_which_half_is_missing_is_refused(tmp_path):
    refused(tmp_path, lambda *pair: pair[1].unlink(), "half of a jitter pair is missing")


@pytest.mark.parametrize("length", [0, 1, 1700, 2880, 9000])
@pytest.mark.parametrize("which", [0, 1])
def test_a_truncated_file_is_refused(tmp_path, length, which):
    def cut(*pair):
        pair[which].write_bytes(pair[which].read_bytes()[:length])

    refused(tmp_path, cut, kind=CorruptFileError)


def test_files_of_two_exposures_are_no_pair(tmp_path):
    other = tmp_path / "other"
    other.mkdir()

    def mix(jit, jif):
        del jit
        table = jitter_table(1.0, 2.0, 3.0, exptime=30.0)
        jif.write_bytes(write_jitter(other, "UZ010101J", GENERATION, table)[1].read_bytes())

    error = refused(tmp_path, mix, "different exposures")

    assert "UZ010100J and UZ010101J" in error.found


def test_files_of_another_exposure_are_refused(tmp_path):
    table = jitter_table(1.0, 2.0, 3.0, exptime=30.0)
    pair = write_jitter(tmp_path, "UZ010101J", GENERATION, table)

    with pytest.raises(DataError, match="another exposure"):
        extract(*pair, dataset=DATASET, gen_date_str=GENERATION)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"TTYPE12 = 'RA      '", b"TTYPE12 = 'RIGHT   '"),  # no column of this name
        (b"NAXIS1  =                  114", b"NAXIS1  =                  113"),
        (b"NAXIS2  =                  100", b"NAXIS2  =           2000000000"),
        (b"TFORM12 = 'D       '", b"TFORM12 = '2E      '"),  # two numbers where one should be
        (b"TFORM12 = 'D       '", b"TFORM12 = '8A      '"),
        (b"TUNIT12 = 'degrees '", b"TUNIT12 = 'radians '"),
    ],
)
def test_a_table_that_lies_is_refused(tmp_path, old, new):
    def lie(jit, jif):
        del jif
        content = jit.read_bytes()
        assert content.count(old) == 1
        jit.write_bytes(content.replace(old, new))

    refused(tmp_path, lie)


@pytest.mark.parametrize("era", ["", "text"])
def test_mangled_files_are_refused_or_read_never_worse(tmp_path, era):
    # 300 pairs with a few bytes changed: a story, or a pointing; nothing else is raised.
    table = jitter_table(150.1, 2.2, 100.0, exptime=60.0)
    pair = write_jitter(tmp_path, DATASET, GENERATION, table, converted=era)
    whole = [path.read_bytes() for path in pair]
    rng = np.random.default_rng(8)
    read = 0
    for _ in range(300):
        for path, content in zip(pair, whole, strict=True):
            mangled = bytearray(content)
            for place in rng.integers(0, len(mangled), 3):
                mangled[place] = rng.integers(0, 256)
            path.write_bytes(mangled)
        try:
            pointing = extract(*pair, dataset=DATASET, gen_date_str=GENERATION)
        except LightmillError:
            continue
        read += 1
        assert pointing.quality in "PGB"
        assert pointing.ra is None or (0 <= pointing.ra < 360 and abs(pointing.dec) <= 90)

    assert 0 < read < 300


def test_what_astropy_writes_is_read_alike(tmp_path):
    from astropy.io import fits

    table = jitter_table(150.1, 2.2, 100.0, exptime=300.0)
    ours = write_jitter(tmp_path, DATASET, GENERATION, table)
    mine = extract(*ours, dataset=DATASET, gen_date_str=GENERATION)
    for path in ours:
        with fits.open(path) as units:
            units.writeto(tmp_path / f"again_{path.name}")
    again = [tmp_path / f"again_{path.name}" for path in ours]

    theirs = extract(*again, dataset=DATASET, gen_date_str=GENERATION)

    assert (theirs.ra, theirs.dec, theirs.roll) == (mine.ra, mine.dec, mine.roll)
