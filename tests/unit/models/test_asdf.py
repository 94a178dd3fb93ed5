"""ASDF files and the tree inside FITS files keep what no schema knows."""

import asdf
import numpy as np
import pytest
from astropy.io import fits

from lightmill import models
from lightmill.errors import CorruptFileError
from lightmill.models import Region


def test_a_model_comes_back_from_asdf(ramp, tmp_path):
    ramp.history.append("made for a test")
    back = models.open(ramp.save(tmp_path / "ramp.asdf", record={"a": [1, {"b": None}]}))

    assert type(back) is models.RampModel
    np.testing.assert_array_equal(back.data, ramp.data)
    np.testing.assert_array_equal(back.cut(Region(1, 3, 0, 2)).groupdq, ramp.groupdq[..., 1:3, 0:2])
    assert back.meta.exposure.ngroups == 3
    assert back.record == {"a": [1, {"b": None}]}
    assert back.history == ["made for a test"]


def test_a_table_comes_back_from_asdf(times, tmp_path):
    made = models.RateIntsModel(data=np.zeros((2, 3, 3), np.float32), int_times=times)

    back = models.open(made.save(tmp_path / "x.asdf"))

    assert back.int_times.tolist() == times.tolist()


def test_the_asdf_package_reads_the_tree_inside_fits(ramp, tmp_path):
    path = ramp.save(tmp_path / "ramp.fits", record={"steps": []})
    with fits.open(path) as file:
        content = file["ASDF"].data["ASDF_METADATA"][0].tobytes()
    (tmp_path / "tree.asdf").write_bytes(content)

    with asdf.open(tmp_path / "tree.asdf", ignore_unrecognized_tag=True) as file:
        assert file["meta"]["exposure"]["ngroups"] == 3
        assert file["lightmill"] == {"steps": []}


def with_tree(path, tree):
    """Write a FITS file whose last extension is an ASDF file made by the asdf package."""
    import io

    stream = io.BytesIO()
    asdf.AsdfFile(tree).write_to(stream)
    content = np.frombuffer(stream.getvalue(), np.uint8)
    column = fits.Column("ASDF_METADATA", f"{content.size}B", array=content[None])
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "JWST"
    primary.header["DATAMODL"] = "ImageModel"
    image = fits.ImageHDU(np.ones((2, 2), np.float32), name="SCI")
    fits.HDUList([primary, image, fits.BinTableHDU.from_columns([column], name="ASDF")]).writeto(
        path
    )


def test_what_only_the_tree_holds_is_kept(tmp_path):
    block = np.arange(500.0)
    with_tree(
        tmp_path / "in.fits",
        {
            "meta": {"exposure": {"groupgap": 2}, "odd": {"note": "kept"}},
            "cal_logs": {"detector1": ["one", "two"]},
            "wcs": {"table": block, "when": [1, 2.5, None, True, "on", "001"]},
        },
    )
    model = models.open(tmp_path / "in.fits")
    assert model.meta.exposure.groupgap == 2
    assert model.meta.odd.note == "kept"
    assert model.foreign.tree()["cal_logs"] == {"detector1": ["one", "two"]}

    back = models.open(model.save(tmp_path / "out.fits"))
    assert back.meta.odd.note == "kept"
    assert back.foreign.tree()["wcs"]["when"] == [1, 2.5, None, True, "on", "001"]
    with fits.open(tmp_path / "out.fits") as file:
        (tmp_path / "t.asdf").write_bytes(file["ASDF"].data["ASDF_METADATA"][0].tobytes())
    with asdf.open(tmp_path / "t.asdf") as tree:
        np.testing.assert_array_equal(tree["wcs"]["table"], block)

    back.save(tmp_path / "out.asdf")
    with asdf.open(tmp_path / "out.asdf") as tree:
        np.testing.assert_array_equal(tree["wcs"]["table"], block)
    models.open(tmp_path / "out.asdf").save(tmp_path / "back.fits")
    with fits.open(tmp_path / "back.fits") as file:
        (tmp_path / "t.asdf").write_bytes(file["ASDF"].data["ASDF_METADATA"][0].tobytes())
    with asdf.open(tmp_path / "t.asdf") as tree:
        np.testing.assert_array_equal(tree["wcs"]["table"], block)


def test_a_value_wrong_in_the_tree_alone_is_named(tmp_path):
    with_tree(tmp_path / "in.fits", {"meta": {"exposure": {"groupgap": "two"}}})

    with pytest.raises(models.opening.DataError) as caught:
        models.open(tmp_path / "in.fits").meta.flat()

    assert "[ASDF]/meta.exposure.groupgap" in caught.value.place


@pytest.mark.parametrize(
    "content", [b"#ASDF 1.0.0\n", b"#ASDF 1.0.0\n--- [1, 2\n", b"#ASDF\n--- 3\n...\n"]
)
def test_a_broken_asdf_file_is_named(tmp_path, content):
    (tmp_path / "x.asdf").write_bytes(content)

    with pytest.raises(CorruptFileError):
        models.open(tmp_path / "x.asdf")


def test_a_tree_of_no_kind_we_know_keeps_its_arrays(tmp_path):
    table = np.array([(1, 2.5)], [("n", "i4"), ("v", "f8")])
    tree = {"slope": np.ones((2, 3)), "log": table, "phase": np.array([1j]), "meta": {"odd": 1}}
    asdf.AsdfFile(tree).write_to(tmp_path / "in.asdf")

    back = models.open(models.open(tmp_path / "in.asdf").save(tmp_path / "out.fits"))

    assert type(back) is models.Model
    assert back.slope.tolist() == [[1, 1, 1]] * 2
    assert "phase" in back.foreign.tree()
    with fits.open(tmp_path / "out.fits") as file:
        assert file["LOG"].data["v"].tolist() == [2.5]


@pytest.mark.parametrize("standard", ["1.5.0", "1.6.0"])
@pytest.mark.parametrize("storage", ["internal", "inline"])
def test_a_table_with_texts_comes_back_as_a_table(tmp_path, storage, standard):
    pytest.importorskip("asdf_astropy")
    import asdf
    from astropy.table import Table

    table = Table({"filter": ["RED", "BLUE"] * 20, "offset": np.arange(40.0)})
    path = tmp_path / "offsets.asdf"
    tree = {"abvega_offset": table, "meta": {"reftype": "abvegaoffset"}}
    asdf.AsdfFile(tree, version=standard).write_to(path, all_array_storage=storage)

    found = models.content(models.open(path), "abvega_offset")

    assert list(found["filter"]) == list(table["filter"])
    assert list(found["offset"]) == list(table["offset"])
