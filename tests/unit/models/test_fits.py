"""FITS files come back as they were written, foreign parts included."""

import gzip
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from lightmill import models
from lightmill.errors import CorruptFileError, DataError, OutputError, ValidationError
from lightmill.models import Region, dq


def saved(model, path, **more):
    return models.open(model.save(path, **more))


def test_a_ramp_comes_back(ramp, tmp_path):
    back = saved(ramp, tmp_path / "a_ramp.fits", record={"steps": [{"name": "jump", "n": 3}]})

    assert type(back) is models.RampModel
    for name in ("data", "pixeldq", "groupdq"):
        got = getattr(back, name)
        assert got.dtype == getattr(ramp, name).dtype
        assert got.dtype.isnative
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, getattr(ramp, name))
    changed = {"date", "filename", "model_type", "bunit_data"}
    told = {path: value for path, value in back.meta.flat().items() if path not in changed}
    assert told == ramp.meta.flat()
    assert back.meta.filename == "a_ramp.fits"
    assert back.meta.model_type == "RampModel"
    assert back.record == {"steps": [{"name": "jump", "n": 3}]}


def test_saving_does_not_change_the_model(ramp, tmp_path):
    before = ramp.meta.flat()
    ramp.save(tmp_path / "x.fits")

    assert ramp.meta.flat() == before


def test_the_layout_is_the_observatory_s(rate, tmp_path):
    with fits.open(rate.save(tmp_path / "rate.fits")) as file:
        names = [hdu.name for hdu in file]
        bits = file["DQ"].header["BITPIX"], file["DQ"].header["BZERO"]
        sci, primary = file["SCI"].header, file[0].header

        assert names == ["PRIMARY", "SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "ASDF"]
        assert bits == (32, 1 << 31)
        assert sci["BUNIT"] == "DN/s"
        assert sci["V2_REF"] == -290.1
        assert primary["DATAMODL"] == "ImageModel"
        assert primary["S_JUMP"] == "COMPLETE"
        assert primary["R_DARK"] == "crds://dark.fits"
        assert "GROUPGAP" not in primary
        assert file["DQ"].data[0, 0] == 1 << 31


def test_nothing_is_read_before_it_is_asked_for(ramp, tmp_path):
    back = saved(ramp, tmp_path / "ramp.fits")

    assert not isinstance(back.array("data"), np.ndarray)
    _ = back.data
    assert isinstance(back.array("data"), np.ndarray)


def test_a_cut_reads_its_rows_alone(ramp, tmp_path):
    back = saved(ramp, tmp_path / "ramp.fits").cut(Region(2, 5, 1, 3))
    held = back.array("data")

    assert held.shape == (2, 3, 3, 2)
    np.testing.assert_array_equal(held.read(planes=[1, 4])[1], ramp.data[1, 1, 2:5, 1:3])
    np.testing.assert_array_equal(back.data, ramp.data[..., 2:5, 1:3])


def test_a_column_and_a_pixel_can_be_read_alone(tmp_path):
    # a row of 16 pixels is long enough that one column is taken from a map of the file
    data = np.arange(3 * 16, dtype=np.float32).reshape(3, 16)
    back = saved(models.RateModel(data=data), tmp_path / "a_rate.fits")

    held = back.array("data")

    np.testing.assert_array_equal(held.read(Region(0, 3, 7, 8)), data[:, 7:8])
    np.testing.assert_array_equal(held.read(Region(2, 3, 9, 10)), data[2:, 9:10])


def test_chunks_join_to_the_array(ramp, tmp_path):
    held = saved(ramp, tmp_path / "ramp.fits").array("data")

    for nbytes in (1, 50, 1000, 10**6):
        joined = np.concatenate([piece.ravel() for piece in held.chunks(nbytes)])
        np.testing.assert_array_equal(joined, ramp.data.ravel())


def test_a_stream_is_written_piece_by_piece(tmp_path):
    class Planes:
        shape, dtype = (2, 3, 4, 5), np.dtype(np.float32)

        def chunks(self):
            for plane in range(6):
                yield np.full((4, 5), plane, np.float32)

    back = saved(models.RampModel(data=Planes()), tmp_path / "ramp.fits")

    assert back.data[1, 2].max() == 5


def test_foreign_cards_and_extensions_are_kept(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header.extend(
        [
            ("TELESCOP", "JWST", "telescope"),
            ("", "        A section", ""),
            ("NGROUPS", 3, "their own comment"),
            ("MYKEY", 4.25, "mine"),
            ("LONGKEY", "x" * 150, "long"),
            ("COMMENT", "a remark"),
            ("HISTORY", "made by hand"),
        ]
    )
    primary.header["HIERARCH ESO DET"] = "kept"
    data = fits.ImageHDU(np.ones((1, 2, 3, 4), np.float32), name="SCI")
    data.header["MYSCI"] = 1
    extra = fits.BinTableHDU(np.array([(1, b"a")], [("n", ">i4"), ("s", "S3")]), name="EXTRA")
    fits.HDUList([primary, data, extra]).writeto(tmp_path / "in.fits")

    model = models.open(tmp_path / "in.fits").evolve(meta={"exposure.ngroups": 5})
    model.history.append("and calibrated")
    model.save(tmp_path / "out.fits")

    with fits.open(tmp_path / "out.fits") as file:
        header = file[0].header
        assert header["MYKEY"] == 4.25
        assert header.comments["MYKEY"] == "mine"
        assert header["LONGKEY"] == "x" * 150
        assert header["HIERARCH ESO DET"] == "kept"
        assert header["NGROUPS"] == 5
        assert header.comments["NGROUPS"] == "their own comment"
        assert list(header["HISTORY"]) == ["made by hand", "and calibrated"]
        assert "a remark" in str(header["COMMENT"])
        order = list(header)
        assert order.index("TELESCOP") < order.index("NGROUPS") < order.index("MYKEY")
        assert file["SCI"].header["MYSCI"] == 1
        assert file["EXTRA"].data["s"].tolist() == ["a"]


def test_a_second_round_trip_changes_nothing(ramp, tmp_path):
    (tmp_path / "again").mkdir()
    first = ramp.save(tmp_path / "ramp.fits", record={"steps": [1, None, "on"]})

    second = models.open(first).save(tmp_path / "again" / "ramp.fits")

    assert second.read_bytes() == first.read_bytes()


def test_what_a_header_cannot_hold_is_in_the_tree(ramp, tmp_path):
    name = "Grö\nßer"
    back = saved(ramp.evolve(meta={"target.catalog_name": name}), tmp_path / "ramp.fits")

    assert back.meta.target.catalog_name == name


def test_a_header_someone_edited_wins_over_the_tree(ramp, tmp_path):
    path = ramp.save(tmp_path / "ramp.fits")
    with fits.open(path, mode="update") as file:
        file[0].header["NGROUPS"] = 8

    assert models.open(path).meta.exposure.ngroups == 8


def test_tables_come_back(times, tmp_path):
    data = np.zeros((2, 3, 3), np.float32)
    back = saved(models.RateIntsModel(data=data, int_times=times), tmp_path / "x.fits")

    assert back.int_times.dtype == times.dtype
    assert back.int_times.tolist() == times.tolist()
    assert back.array("int_times").shape == (2,)


def test_odd_columns_come_back(tmp_path):
    from lightmill.models.fits_reader import read_fits
    from lightmill.models.lazy import FileBytes
    from lightmill.models.tables import read_table, table_bytes

    columns = [
        fits.Column("u", "J", bzero=1 << 31, array=np.array([1, 2**32 - 1], np.uint32)),
        fits.Column("l", "L", array=np.array([True, False])),
        fits.Column("i", "B", bzero=-128, array=np.array([-5, 5], np.int8)),
        fits.Column("v", "6E", dim="(3,2)", array=np.arange(12, dtype="f4").reshape(2, 2, 3)),
        fits.Column("s", "I", array=np.array([1, 2], np.int16)),
        fits.Column("a", "5A", array=np.array(["ab", "c"])),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="T")
    hdu.header["TSCAL5"], hdu.header["TZERO5"] = 0.5, 1.0
    hdu.writeto(tmp_path / "t.fits")

    table = read_table(read_fits(FileBytes(tmp_path / "t.fits")).hdus[1])

    assert table["u"].tolist() == [1, 2**32 - 1]
    assert table["l"].tolist() == [True, False]
    assert table["i"].tolist() == [-5, 5]
    assert table["v"].shape == (2, 2, 3)
    assert table["s"].tolist() == [1.5, 2.0]
    assert table["a"].tolist() == [b"ab", b"c"]
    assert len(table_bytes(table)) == 2 * table.dtype.itemsize


def test_a_reference_is_translated_when_read(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["REFTYPE"] = "MASK"
    flags = fits.ImageHDU(np.array([[1, 2], [3, 0]], np.int32), name="DQ")
    names = np.array(
        [(0, 1, b"HOT"), (1, 2, b"DO_NOT_USE")], [("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40")]
    )
    fits.HDUList([primary, flags, fits.BinTableHDU(names, name="DQ_DEF")]).writeto(
        tmp_path / "m.fits"
    )

    mask = models.open(tmp_path / "m.fits")

    hot = dq.PIXEL["HOT"]
    assert mask.cut(Region(1, 2, 0, 2)).dq.tolist() == [[hot | 1, 0]]
    assert mask.dq.tolist() == [[hot, 1], [hot | 1, 0]]
    assert saved(mask, tmp_path / "again.fits").dq.tolist() == mask.dq.tolist()


@pytest.mark.parametrize(
    ("shape", "dtype", "names", "expected"),
    [
        ((1, 2, 3, 4), np.uint16, [], models.UncalModel),
        ((2, 3, 4), np.uint16, [], models.UncalModel),
        ((1, 2, 3, 4), np.float32, [], models.RampModel),
        ((1, 2, 3, 4), np.float32, ["GROUPDQ"], models.RampModel),
        ((2, 3, 4), np.float32, [], models.RateIntsModel),
        ((3, 4), np.float32, [], models.RateModel),
    ],
)
def test_a_file_that_does_not_say_what_it_is_goes_by_its_shape(
    tmp_path, shape, dtype, names, expected
):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones(shape, dtype), name="SCI")]
    hdus += [fits.ImageHDU(np.ones(shape, np.uint8), name=name) for name in names]
    fits.HDUList(hdus).writeto(tmp_path / "x.fits")

    model = models.open(tmp_path / "x.fits")

    assert type(model) is expected
    assert model.data.sum() == np.prod(shape)


def test_a_kind_nobody_knows_keeps_everything(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "JWST"
    primary.header["DATAMODL"] = "SomethingModel"
    hdus = [primary] + [
        fits.ImageHDU(np.full((2, 3), i, np.float32), name=name)
        for i, name in enumerate(["SLOPE", "WEIGHTS"])
    ]
    fits.HDUList(hdus).writeto(tmp_path / "x.fits")

    model = models.open(tmp_path / "x.fits")
    back = saved(model, tmp_path / "y.fits")

    assert type(back) is models.Model
    assert back.weights.tolist() == [[1, 1, 1]] * 2
    assert back.meta.model_type == "SomethingModel"
    assert back.cut(Region(0, 1, 0, 2)).slope.shape == (1, 2)


def test_compressed_files_and_images_are_read(tmp_path):
    values = np.arange(64, dtype=np.int16).reshape(8, 8)
    tiles = fits.CompImageHDU(values, name="SCI")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(tmp_path / "c.fits")
    (tmp_path / "c.fits.gz").write_bytes(gzip.compress((tmp_path / "c.fits").read_bytes()))

    for name in ("c.fits", "c.fits.gz"):
        model = models.open(tmp_path / name)
        assert model.data.tolist() == values.tolist()
        assert model.cut(Region(1, 2, 0, 3)).data.tolist() == [[8, 9, 10]]
    again = saved(model, tmp_path / "plain.fits")
    assert again.data.tolist() == values.tolist()
    with fits.open(tmp_path / "plain.fits") as file:
        assert "ZIMAGE" not in file["SCI"].header


def test_scaled_images_are_read(tmp_path):
    hdu = fits.ImageHDU(np.array([[1.5, 2.0]], np.float32), name="SCI")
    hdu.scale("int16", bscale=0.5, bzero=1)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "s.fits")

    assert models.open(tmp_path / "s.fits").data.tolist() == [[1.5, 2.0]]


def test_a_value_that_breaks_the_schema_is_named_with_its_keyword(ramp, tmp_path):
    path = ramp.save(tmp_path / "ramp.fits")
    with fits.open(path, mode="update") as file:
        file[0].header["DETECTOR"] = "NISS"

    with pytest.raises(ValidationError) as caught:
        models.open(path)

    assert caught.value.place == "ramp.fits[PRIMARY]/DETECTOR"
    assert "NIS" in caught.value.remedy


def test_files_that_are_none_are_named(tmp_path):
    (tmp_path / "empty.fits").touch()
    (tmp_path / "text.fits").write_text("hello")
    for name, kind in [
        ("empty.fits", CorruptFileError),
        ("text.fits", CorruptFileError),
        ("nowhere.fits", DataError),
        ("", DataError),
    ]:
        with pytest.raises(kind) as caught:
            models.open(tmp_path / name)
        assert str(tmp_path) in str(caught.value.place)
        assert caught.value.remedy


def test_a_header_cannot_ask_for_more_memory_than_the_file_has(ramp, tmp_path):
    path = ramp.save(tmp_path / "ramp.fits")
    content = path.read_bytes()
    absurd = content.replace(b"NAXIS1  =                    5", b"NAXIS1  =         999999999999")
    path.write_bytes(absurd)

    with pytest.raises(CorruptFileError, match="ends too early"):
        models.open(path)


def test_a_file_that_changed_since_it_was_opened_is_not_mixed(ramp, tmp_path):
    path = ramp.save(tmp_path / "ramp.fits")
    model = models.open(path)
    os.utime(path, ns=(1, 1))

    with pytest.raises(CorruptFileError, match="changed"):
        _ = model.data


@pytest.mark.parametrize("suffix", [".fits", ".asdf"])
def test_a_product_that_cannot_be_written_leaves_nothing(ramp, tmp_path, suffix, monkeypatch):
    target = tmp_path / f"ramp{suffix}"
    target.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError) as caught:
        ramp.save(target)

    assert "No space left" in str(caught.value)
    assert str(target) == caught.value.place
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_missing_directory_or_suffix_is_named(ramp, tmp_path):
    with pytest.raises(OutputError, match="directory"):
        ramp.save(tmp_path / "no" / "ramp.fits")
    with pytest.raises(OutputError, match="suffix"):
        ramp.save(tmp_path / "ramp.txt")


def test_a_source_that_breaks_leaves_nothing(ramp, tmp_path):
    class Broken:
        shape, dtype = (2, 3, 6, 5), np.dtype(np.float32)

        def chunks(self):
            yield np.zeros((6, 5), np.float32)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ramp.evolve(data=Broken()).save(tmp_path / "ramp.fits")
    assert not list(tmp_path.iterdir())


def test_a_product_may_replace_the_file_it_came_from(ramp, tmp_path):
    path = ramp.save(tmp_path / "ramp.fits")
    models.open(path).evolve(data=ramp.data + 1).save(path)

    np.testing.assert_array_equal(models.open(path).data, ramp.data + 1)


def test_nothing_heavy_is_imported_for_a_round_trip(tmp_path):
    code = (
        "import sys, numpy as np; from lightmill import models;"
        f"p = models.RateModel(data=np.ones((2, 2), 'f4')).save({str(tmp_path / 'x.fits')!r});"
        "models.open(p).data;"
        "heavy = {'astropy', 'asdf', 'scipy', 'jsonschema', 'gzip'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "story",
    [
        ["calibrated with " + "a very long story " * 12],
        ["b " * 36 + "begins a second card behind a blank", "short"],
        ["two\nlines"],
        ["said twice " * 10, "said twice " * 10],
        ["a line of its own", "and a line of its own, more of it: " + "x" * 80],
    ],
)
def test_history_comes_back_as_it_was_however_long_and_once(story, tmp_path):
    model = models.CalModel(data=np.zeros((3, 4), np.float32))
    model.history.extend(story)

    once = models.open(model.save(tmp_path / "once.fits"))
    again = models.open(once.save(tmp_path / "again.fits"))

    assert once.history == story
    assert again.history == story
    with fits.open(tmp_path / "again.fits") as file:
        assert all(len(line) <= 72 for line in file[0].header["HISTORY"])
