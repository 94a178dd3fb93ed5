"""A cube in the browser: planes are slices in wavelength, and an element has a spectrum."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lightmill.models import CubeModel
from tests.end_to_end.test_view import Page, viewing

NX, NY = 24, 18
WAVELENGTH = 2.15 + 0.0005 * np.arange(60)


def glowing():
    """A nebula whose line moves from left to right, on noise [DN/s]."""
    y, x = np.indices((NY, NX))
    line = 2.164 + 0.0003 * (x - NX / 2)
    wave = WAVELENGTH[:, None, None]
    flux = 40 * np.exp(-0.5 * ((x - 12) ** 2 + (y - 9) ** 2) / 4.0**2)
    noise = np.random.default_rng(2).normal(0, 0.5, (WAVELENGTH.size, NY, NX))
    return (flux * np.exp(-0.5 * ((wave - line) / 0.0012) ** 2) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("cube"), glowing()
    meta = {
        "wcsinfo.wcsaxes": 3, "wcsinfo.ctype1": "RA---TAN", "wcsinfo.ctype2": "DEC--TAN",
        "wcsinfo.crpix1": 12.5, "wcsinfo.crpix2": 9.5, "wcsinfo.crval1": 262.4,
        "wcsinfo.crval2": -28.9, "wcsinfo.cdelt1": -0.05 / 3600, "wcsinfo.cdelt2": 0.05 / 3600,
        "wcsinfo.ctype3": "WAVE", "wcsinfo.cunit3": "um", "wcsinfo.crpix3": 1.0,
        "wcsinfo.crval3": 2.15, "wcsinfo.cdelt3": 0.0005,
    }  # fmt: skip
    CubeModel(
        meta=meta, data=data, err=np.full(data.shape, 0.5, np.float32),
        dq=np.zeros(data.shape, np.uint32), wavelength=WAVELENGTH,
    ).save(folder / "a_s3d.fits")  # fmt: skip
    return folder, data


def test_slices_and_spectra(browser, cube, evidence):
    folder, data = cube
    with viewing("a_s3d.fits", "--plane", "28", cwd=folder) as address:
        page = Page(browser, address)
        assert page.page.inner_text("#axes label span") == "wavelength 2.164 µm"

        page.page.check("#through")
        page.go("15, 9")
        page.page.wait_for_selector("#line[data-x='15'][data-y='9']")
        assert page.data("#line", "planes") == "60"
        assert np.float32(page.data("#line", "at")) == data[28, 9, 15]
        assert "2.15 µm to 2.1795 µm" in page.page.inner_text("#lineends")
        told = page.readout()
        assert np.float32(told["value"]) == data[28, 9, 15]
        # 3.5 elements of 50 mas from the reference point; right ascension grows to the left
        assert_allclose(
            (told["ra"] - 262.4) * np.cos(np.radians(28.9)) * 3600, -3.5 * 0.05, atol=1e-4
        )

        # a click on the line of the nebula shows the slice it is in
        peak = int(np.argmax(data[:, 9, 15]))
        box = page.page.locator("#line").bounding_box()
        page.page.mouse.click(box["x"] + (peak + 0.5) / 60 * box["width"], box["y"] + 20)
        page.page.wait_for_selector(f"#picture[data-drawn^='0 0 {peak} ']")
        found = float(data[peak, 9, 15])
        page.page.wait_for_function(
            f"Math.abs(Number(document.getElementById('line').dataset.at) - {found}) < 1e-6"
        )
        assert page.page.inner_text("#axes label span") == f"wavelength {WAVELENGTH[peak]:.6g} µm"
        page.page.screenshot(path=evidence / "view-cube.png")

        # the errors of an image are an image, and have a line of their own
        page.page.select_option("#layer", "1")
        page.page.wait_for_selector("#line[data-of^='0 1']")
        assert float(page.data("#line", "at")) == 0.5
        page.close()

    assert page.said == []
