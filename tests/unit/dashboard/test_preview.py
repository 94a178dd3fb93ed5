"""Pictures of datasets: what they show, where they are kept, and which files are never opened."""

import io
import os

import numpy as np
import pytest

pytest.importorskip("fastapi")

from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.dashboard.picture import png, shrunk, stretched
from lightmill.dashboard.preview import LOOK, SIZES, Previews
from lightmill.errors import DataError

SHA = "ab" * 32


def write(path, data, name="SCI"):
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name=name)])
    hdus[0].header["DATAMODL"] = "CalModel"
    hdus.writeto(path)
    return path


@pytest.fixture
def previews(tmp_path):
    (tmp_path / "archive").mkdir()
    return Previews(tmp_path / "archive", tmp_path / "previews")


def test_a_picture_is_the_image_with_its_first_row_at_the_bottom():
    from PIL import Image

    shades = np.arange(12, dtype=np.uint8).reshape(3, 4)

    picture = Image.open(io.BytesIO(png(shades)))

    assert picture.mode == "P"
    assert_array_equal(np.asarray(picture), shades[::-1])


def test_bins_are_means_of_what_is_finite():
    image = np.arange(35.0).reshape(5, 7)
    image[0, 0] = np.nan
    image[4, 6] = np.inf

    small = shrunk(image, 0, 4)

    assert small.shape == (3, 4)
    assert_allclose(small[0, 0], np.mean([1, 7, 8]))  # three finite pixels of four
    assert_allclose(small[1, 1], np.mean([16, 17, 23, 24]))
    assert np.isnan(small[2, 3])  # the only pixel of that bin is infinite


def test_of_a_cube_the_last_plane_is_shown():
    cube = np.stack([np.zeros((4, 4)), np.ones((4, 4))])

    assert_allclose(shrunk(cube, 1, 10), 1)


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan, 1e300])
def test_an_image_without_structure_can_be_stretched(value):
    shades = stretched(np.full((4, 5), value))

    assert shades.shape == (4, 5)
    assert (shades == 255).all() == np.isnan(value)


def test_brighter_is_brighter_and_nothing_is_its_own_colour():
    image = np.random.default_rng(1).normal(0, 1, (100, 100))
    image[50, 50:53] = 10, 100, 1000
    image[0, 0] = np.nan

    shades = stretched(image)

    assert shades[50, 50] < shades[50, 51] <= shades[50, 52] == 254
    assert shades[0, 0] == 255
    assert (shades == 255).sum() == 1


def test_a_picture_is_made_once_and_kept(previews, tmp_path):
    path = write(tmp_path / "archive" / "p" / "a.fits", np.ones((300, 500), np.float32))
    made = previews.picture("p/a.fits", SHA, "thumb")
    path.unlink()

    assert previews.picture("p/a.fits", SHA, "thumb") == made
    assert [one.name for one in (tmp_path / "previews" / "ab").iterdir()] == [
        f"{SHA}-thumb.{LOOK}.png"
    ]
    width = int.from_bytes(made[16:20], "big")
    assert 96 < width <= SIZES["thumb"]


@pytest.mark.parametrize(
    "path",
    ["../secret.fits", "/etc/passwd", "p/../../secret.fits", "link.fits", "linked/secret.fits",
     "", ".", "p\0/a.fits", "not there.fits"],
)  # fmt: skip
def test_a_file_outside_of_the_archive_is_never_opened(previews, tmp_path, path):
    write(tmp_path / "secret.fits", np.ones((8, 8), np.float32))
    (tmp_path / "archive" / "link.fits").symlink_to(tmp_path / "secret.fits")
    (tmp_path / "archive" / "linked").symlink_to(tmp_path)

    with pytest.raises(DataError):
        previews.picture(path, SHA, "thumb")
    assert not (tmp_path / "previews").exists()


@pytest.mark.parametrize("sha256", ["", "../x", "AB" * 32, "ab" * 31 + "/.", "ab" * 33])
def test_a_checksum_that_is_none_names_no_file(previews, sha256):
    with pytest.raises(DataError):
        previews.picture("a.fits", sha256, "thumb")


@pytest.mark.parametrize("content", [b"", b"no FITS file", b"SIMPLE  =" + b" " * 2871])
def test_a_file_that_is_no_image_has_no_picture(previews, tmp_path, content):
    (tmp_path / "archive" / "a.fits").write_bytes(content)

    for _ in range(2):  # the second time it is known
        with pytest.raises(DataError):
            previews.picture("a.fits", SHA, "thumb")


def test_a_table_has_no_picture(previews, tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.arange(3.0))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "archive" / "a.fits")

    with pytest.raises(DataError, match="no image"):
        previews.picture("a.fits", SHA, "thumb")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_picture_that_cannot_be_kept_is_shown(previews, tmp_path):
    write(tmp_path / "archive" / "a.fits", np.ones((8, 8), np.float32))
    (tmp_path / "previews").mkdir(mode=0o500)

    assert previews.picture("a.fits", SHA, "thumb").startswith(b"\x89PNG")


def test_where_the_folder_is_a_file_pictures_are_shown_all_the_same(previews, tmp_path):
    write(tmp_path / "archive" / "a.fits", np.ones((8, 8), np.float32))
    (tmp_path / "previews").write_text("in the way")

    assert previews.picture("a.fits", SHA, "thumb").startswith(b"\x89PNG")


def test_the_dashboard_shows_it(fill, browser, root):
    write(root / "archive" / "a.fits", np.ones((300, 500), np.float32))
    good = fill.dataset("a_cal.fits", path="a.fits", sha256="1" * 64)
    bad = fill.dataset("b_cal.fits", path="../../etc/passwd", sha256="2" * 64)

    answer = browser.ask(f"/datasets/{good}/preview.png")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    refused = browser.ask(f"/datasets/{bad}/preview.png")
    assert refused.status == 404
    assert "not in the archive" in refused.text
    assert "passwd" not in refused.text
    assert browser.ask(f"/datasets/{bad}/thumb.png").headers["content-type"] == "image/svg+xml"
    for path in (f"{good}/other.png", "999/thumb.png", "x/thumb.png"):
        assert browser.ask(f"/datasets/{path}").status == 404
