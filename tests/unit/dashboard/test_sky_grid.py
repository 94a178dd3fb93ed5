"""Lines of the sky over a picture: they are where the world coordinates say, and so are labels."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("fastapi")

from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_array_equal

from lightmill.dashboard.lettering import haloed, written
from lightmill.dashboard.picture import with_grid
from lightmill.dashboard.preview import LOOK, Previews
from lightmill.dashboard.sky_grid import Label, SkyGrid, sky_grid

SHA = "cd" * 32
NX, NY = 400, 300


def system(ra=53.16, dec=-27.79, scale=0.065, turned=20.0, *, is_mirrored=False, sip=0.0):
    """A tangent plane; scale [arcsec/pixel], turned [deg]."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"] if sip else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [NX / 2, NY / 2]
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    flip = 1 if is_mirrored else -1
    wcs.wcs.cd = scale / 3600 * np.array([[flip * c, s], [-flip * s, c]])
    if sip:
        from astropy.wcs import Sip

        a, b = np.zeros((3, 3)), np.zeros((3, 3))
        a[2, 0], b[0, 2] = sip, -sip
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def grid_of(wcs):
    return sky_grid(wcs.pixel_to_world_values, np.arange(NX * 1.0), np.arange(NY * 1.0))


def said(label):
    """What a label says [deg], and of what."""
    text = "".join(label.parts)
    sign = -1 if text.startswith("-") else 1
    numbers = [float(one) for one in re.findall(r"[0-9.]+", text)]
    value = sum(number / 60**power for power, number in enumerate(numbers))
    return (value * 15, "ra") if "h" in text else (sign * value, "dec")


def told_and_true(wcs, grid):
    """For each label: what it is of, what it says, and what is there [deg], and half a pixel [deg]."""
    # A line between two pixels is within half a pixel of its label; interpolation adds a little.
    half = 0.55 * np.hypot(*wcs.wcs.cd[0])
    for labels, (x, y) in ((grid.below, (1, 0)), (grid.left, (0, 1))):
        for label in labels:
            value, what = said(label)
            ra, dec = wcs.pixel_to_world_values(label.at * x, label.at * y)
            if what == "ra":
                yield what, value, ra, half / np.cos(np.radians(dec))
            else:
                yield what, value, float(dec), half


SYSTEMS = {
    "usual": {}, "north up": {"turned": 0.0}, "upside down": {"turned": 180.0},
    "on its side": {"turned": 80.0}, "mirrored": {"is_mirrored": True}, "at 0 h": {"ra": 0.0},
    "just before 24 h": {"ra": 359.9999}, "on the equator": {"dec": 0.0},
    "high": {"dec": 85.0, "scale": 1.0}, "wide": {"scale": 60.0}, "tiny": {"scale": 0.001},
    "distorted": {"sip": 2e-5},
}  # fmt: skip


@pytest.mark.parametrize("given", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_each_label_says_where_its_line_is(given):
    wcs = system(**given)
    grid = grid_of(wcs)

    found = list(told_and_true(wcs, grid))

    assert {what for what, *_ in found} == {"ra", "dec"}
    for what, value, true, half in found:
        turn = 360 if what == "ra" else 1e9
        assert abs((value - true + turn / 2) % turn - turn / 2) <= half, (what, value, true)


@pytest.mark.parametrize("given", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_lines_are_a_few_and_thin(given):
    grid = grid_of(system(**given))

    crossings = [
        np.diff(edge.astype(int)).clip(0).sum() for edge in (grid.lines[5], grid.lines[:, 5])
    ]
    assert 1 <= sum(crossings) <= 16
    # Four lines across, each two pixels wide where it is oblique, would be 4 %.
    assert 0.002 < grid.lines.mean() < 0.05


def test_a_line_is_where_the_coordinate_passes_its_value():
    wcs = system(turned=0.0)
    ra, dec = wcs.pixel_to_world_values(*np.meshgrid(np.arange(NX), np.arange(NY)))

    grid = grid_of(wcs)

    on_dec = [said(label)[0] for label in grid.left]
    near = np.min([np.abs(dec - value) for value in on_dec], axis=0) * 3600 / 0.065
    on_ra = [said(label)[0] for label in grid.below]
    near_ra = np.min([np.abs(ra - value) for value in on_ra], axis=0) * 3600 / 0.065
    near = np.minimum(near, near_ra * np.cos(np.radians(dec)))
    assert near[grid.lines].max() <= 1.01  # pixel: a line is drawn on the pixel after it
    assert near[~grid.lines].min() >= 0.0
    assert near[~grid.lines].max() > 10


def test_a_pole_in_the_picture_has_its_meridians_around_it():
    wcs = system(dec=90.0, scale=10.0, turned=0.0)

    grid = grid_of(wcs)

    middle = grid.lines[NY // 2 - 40 : NY // 2 + 40, NX // 2 - 40 : NX // 2 + 40]
    ring = np.concatenate([middle[0], middle[:, -1], middle[-1][::-1], middle[::-1, 0]]).astype(int)
    assert (np.diff(ring) > 0).sum() >= 4
    for what, value, true, half in told_and_true(wcs, grid):
        if what == "ra":  # near the pole a pixel is many hours wide
            assert abs((value - true + 180) % 360 - 180) <= 2 * half
        else:
            assert abs(value - true) <= half


@pytest.mark.parametrize(
    "degrees",
    [lambda x, y: (x * np.nan, y), lambda x, y: (x, y * np.inf), lambda x, y: (x * 0, y * 0)],
    ids=["no right ascension", "no declination", "a point"],
)
def test_where_there_is_no_sky_there_are_no_lines(degrees):
    assert sky_grid(degrees, np.arange(9.0), np.arange(9.0)) is None


def test_a_picture_of_one_pixel_has_no_lines():
    assert sky_grid(lambda x, y: (x, y), np.arange(1.0), np.arange(5.0)) is None


def test_all_labels_can_be_written():
    text = written("-+0123456789h59m59.99s°′″", 2)

    assert text.shape == (14, 2 * (25 * 6 - 1))
    assert haloed(text, 2).shape == (18, text.shape[1] + 4)
    assert haloed(text, 2)[2:-2, 2:-2][text].all()


def drawn(shades, grid):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(with_grid(shades, grid))))[::-1]


def test_lines_let_the_picture_shine_through_and_labels_stand_on_it():
    shades = np.tile(np.linspace(0, 254, 200).astype(np.uint8), (100, 1))
    shades[60] = 255
    lines = np.zeros(shades.shape, bool)
    lines[80] = True
    empty = SkyGrid(lines, (), ())

    plain = drawn(shades, empty)
    labelled = drawn(shades, replace(empty, below=(Label(("03h", "32m"), 100.0),)))

    assert_array_equal(plain[80], plain[79] + 128)
    assert (np.diff(plain[79].astype(int)) >= 0).all()
    assert (plain[60] == 127).all()
    changed = np.argwhere(plain != labelled)
    assert changed[:, 0].max() < 25
    assert abs(changed[:, 1].mean() - 100) < 5
    assert (labelled == 126).sum() > 50


def test_labels_do_not_touch_and_say_only_what_is_new():
    shades = np.zeros((100, 700), np.uint8)
    below = tuple(Label(("03h", "32m", f"{n:02d}s"), 100.0 + 40 * n) for n in range(10))

    picture = drawn(shades, SkyGrid(np.zeros(shades.shape, bool), below, ()))

    ink = np.flatnonzero((picture[:24] == 126).any(axis=0))
    gaps = np.diff(ink)
    assert (gaps > 8).sum() >= 3  # the first in full, and some that are seconds alone
    assert ink.max() < 520


def image_file(path, wcs, shape=(NY, NX), **cards):
    data = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    header = wcs.to_header(relax=True)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, header, name="SCI")])
    hdus[0].header["DATAMODL"] = "CalModel"
    hdus[1].header.update(cards)
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus.writeto(path)


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    def made(wcs, size="preview", **more):
        image_file(tmp_path / "archive" / "a.fits", wcs, **more)
        previews = Previews(tmp_path / "archive", tmp_path / "previews")
        return np.asarray(Image.open(io.BytesIO(previews.picture("a.fits", SHA, size))))

    return made


def test_the_preview_of_a_product_has_the_lines_of_its_keywords(picture):
    wcs = system(sip=2e-5)

    found = picture(wcs)[::-1]

    assert found.shape == (NY, NX)
    expected = grid_of(wcs).lines
    writing = np.zeros(found.shape, bool)
    writing[:24], writing[:, :120] = True, True
    assert_array_equal((found >= 128)[~writing], expected[~writing])


def test_small_images_are_enlarged_and_large_ones_binned(picture, tmp_path):
    assert picture(system(), shape=(60, 100)).shape == (360, 600)
    (tmp_path / "archive" / "a.fits").unlink()
    (tmp_path / "previews" / "cd" / f"{SHA}-preview.{LOOK}.png").unlink()

    large = picture(system(), shape=(1500, 2000))

    assert large.shape == (500, 667)
    assert (large >= 128).any()


def test_a_thumb_has_no_lines(picture):
    assert picture(system(), "thumb").max() > 130  # all shades are used


@pytest.mark.parametrize(
    "cards",
    [{"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--SIN"},
     {"CRVAL2": 100.0}, {"CTYPE1": "FREQ", "CTYPE2": "PIXEL"}],
    ids=["galactic", "contradiction", "beyond the pole", "spectral"],
)  # fmt: skip
def test_without_right_ascension_there_is_the_picture_alone(picture, cards):
    found = picture(system(), shape=(60, 100), **cards)

    assert found.shape == (360, 600)
    assert_array_equal(found, found[::6, ::6].repeat(6, 0).repeat(6, 1))  # nothing drawn over it
