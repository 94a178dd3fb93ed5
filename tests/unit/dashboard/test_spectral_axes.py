"""Pictures of spectra and cubes: lines are where header or plane say a wavelength is, and so are labels."""

import io

import numpy as np
import pytest

pytest.importorskip("fastapi")

from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.dashboard.picture import collapsed
from lightmill.dashboard.preview import Previews
from lightmill.dashboard.spectral_axes import is_cube, spectral_grid
from lightmill.models.cards import Header

SHA = "ef" * 32
NX, NY = 400, 120
X, Y = np.arange(NX * 1.0), np.arange(NY * 1.0)


def header(**keywords):
    made = fits.Header()
    made.update({name: value for name, value in keywords.items() if value is not None})
    text = made.tostring(endcard=False, padding=False).encode()
    return Header([text[at : at + 80] for at in range(0, len(text), 80)])


def rectified(**changed):
    """Keywords of a spectrum from 1.0 to 2.6 micron, 0.1 arcsec a row, slit centre at row 60."""
    keywords = {
        "CTYPE1": "WAVE", "CUNIT1": "um", "CRVAL1": 1.0, "CRPIX1": 1.0, "CDELT1": 0.004,
        "CTYPE2": "LINEAR", "CUNIT2": "arcsec", "CRVAL2": 0.0, "CRPIX2": 61.0, "CDELT2": 0.1,
    }  # fmt: skip
    return header(**(keywords | changed))


def numbers(labels, unit):
    assert all(one.parts[0].endswith(unit) for one in labels)
    return np.array([float(one.parts[0].removesuffix(unit)) for one in labels])


def at(labels):
    return np.array([one.at for one in labels])


def test_lines_of_a_rectified_spectrum_are_where_its_axes_say():
    grid = spectral_grid(rectified(), None, X, Y)

    # A line between two pixels is within half a pixel of its label.
    assert_allclose(numbers(grid.below, "µm"), 1.0 + 0.004 * at(grid.below), atol=0.5 * 0.004)
    assert_allclose(numbers(grid.left, "″"), 0.1 * (at(grid.left) - 60), atol=0.5 * 0.1)
    assert 3 <= len(grid.below) <= 7
    assert 3 <= len(grid.left) <= 7
    assert grid.lines[5].sum() == len(grid.below)


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 1e3), ("Angstrom", 1e4), ("m", 1e-6), (None, 1e-6)]
)
def test_wavelengths_are_told_in_micron_whatever_the_header_has(unit, factor):
    told = rectified(CUNIT1=unit, CRVAL1=1.0 * factor, CDELT1=0.004 * factor)

    assert spectral_grid(told, None, X, Y).below == spectral_grid(rectified(), None, X, Y).below


def test_light_dispersed_along_columns_has_its_wavelengths_at_the_left():
    told = rectified()
    turned = header(**{f"{one[:-1]}{3 - int(one[-1])}": told.get(one) for one in told.keywords()})

    grid, plain = spectral_grid(turned, None, Y, X), spectral_grid(told, None, X, Y)

    assert (grid.left, grid.below) == (plain.below, plain.left)
    assert_array_equal(grid.lines, plain.lines.T)


def test_lines_follow_the_plane_of_wavelengths_and_end_with_the_slit():
    # physics: a tilted slit; rows beyond it are on no wavelength
    wavelength = 0.6 + 0.002 * X + 0.001 * (Y[:, None] - 60)
    wavelength[:20], wavelength[100:] = 0, np.nan

    grid = spectral_grid(header(), (wavelength.astype(np.float32), "um"), X, Y)

    row = 20  # the first that is known
    assert_allclose(numbers(grid.below, "µm"), 0.6 + 0.002 * at(grid.below) - 0.04, atol=0.0011)
    across = {round(place + 0.5) for place in at(grid.left)}
    outside = [k for k in [*range(19), *range(101, NY)] if k not in across]
    assert not grid.lines[outside].any()
    assert grid.lines[row].sum() >= len(grid.below) > 2
    assert_allclose(numbers(grid.left, ""), at(grid.left), atol=0.5)  # in pixels


@pytest.mark.parametrize(
    "told",
    [
        {}, {"CTYPE1": None}, {"CTYPE1": "FREQ"}, {"CRVAL1": "one"}, {"CDELT1": 0.0},
        {"CUNIT1": "furlong"}, {"CRVAL1": None}, {"CDELT1": True},
    ],
)  # fmt: skip
def test_where_no_wavelength_is_told_there_are_no_lines(told):
    assert spectral_grid(rectified(**told) if told else header(), None, X, Y) is None


def test_a_plane_without_any_wavelength_has_no_lines():
    assert spectral_grid(header(), (np.full((NY, NX), np.nan), "um"), X, Y) is None
    assert spectral_grid(header(), (np.full((NY, NX), 1.5), "um"), X, Y) is None


def test_a_cube_is_shown_as_the_mean_of_what_is_known_of_it():
    cube = np.random.default_rng(3).normal(5, 1, (7, 6, 9))
    cube[2:, 1, 1] = np.nan
    cube[:, 0, 0] = np.nan

    small = collapsed(cube, 9)

    assert_allclose(small[1, 1], cube[:2, 1, 1].mean())
    assert_allclose(small[2:], cube[:, 2:].mean(0))
    assert np.isnan(small[0, 0])


def test_a_ramp_is_no_cube():
    assert is_cube((5, 4, 4), header(CTYPE3="WAVE"))
    assert not is_cube((5, 4, 4), header())
    assert not is_cube((4, 4), header(CTYPE3="WAVE"))


def written(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path.name


@pytest.fixture
def previews(tmp_path):
    (tmp_path / "archive").mkdir()
    return Previews(tmp_path / "archive", tmp_path / "previews")


def dots(content):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))


def sky():
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg"}
    cards |= {"CRVAL1": 53.0, "CRVAL2": -27.0, "CRPIX1": 33.0, "CRPIX2": 33.0}
    return cards | {"CDELT1": -1e-5, "CDELT2": 1e-5}


def test_the_picture_of_a_cube_has_all_its_light_and_the_lines_of_the_sky(previews, tmp_path):
    # physics: a line emitter, bright in one channel that is not the last
    cube = np.random.default_rng(4).normal(0, 1, (9, 64, 64)).astype(np.float32)
    cube[4, 40, 20] = 5000.0
    axes = {"CTYPE3": "WAVE", "CUNIT3": "um", "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 0.01}
    hdu = fits.ImageHDU(cube, name="SCI")
    hdu.header.update(sky() | axes)
    plain = fits.ImageHDU(cube, name="SCI")
    plain.header.update(axes)
    archive = tmp_path / "archive"

    thumb = dots(previews.picture(written(archive / "c.fits", hdu), SHA, "thumb"))
    picture = dots(previews.picture("c.fits", SHA, "preview"))
    bare = dots(previews.picture(written(archive / "d.fits", plain), "ee" * 32, "preview"))

    assert np.unravel_index(thumb.argmax(), thumb.shape) == (63 - 40, 20)
    assert (picture >= 128).any()  # what a line covers
    assert len(np.unique(bare)) > 128  # all shades: no lines


def test_the_picture_of_a_slit_has_the_lines_of_its_plane(previews, tmp_path):
    data = fits.ImageHDU(np.random.default_rng(5).normal(0, 1, (40, 640)).astype("f4"), name="SCI")
    data.header.update(sky())  # of the field; no pixel of the slit is there
    plane = np.tile(np.linspace(1.0, 2.0, 640, dtype=np.float32), (40, 1))
    name = written(tmp_path / "archive" / "s.fits", data, fits.ImageHDU(plane, name="WAVELENGTH"))

    picture = dots(previews.picture(name, SHA, "preview"))

    # Five lines, 1.2 to 1.8 micron, cross the picture from bottom to top; labels cover a part.
    columns = np.flatnonzero((picture[:20] >= 128).all(0))
    found = plane[0, columns]
    for wavelength in (1.2, 1.4, 1.6, 1.8):
        assert np.abs(found - wavelength).min() < 0.004
