"""The viewer: what it tells of an image, and to whom."""

import http.client
import json
import re
import tracemalloc
from pathlib import Path
from urllib.parse import urlsplit

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.cli import main
from lightmill.errors import CorruptFileError, DataError, UnknownNameError
from lightmill.models import (
    CalModel,
    RampModel,
    RateIntsModel,
    ResampledModel,
    SegmentationModel,
    dq,
    put_wcs,
)
from lightmill.viewing.page import page
from lightmill.viewing.planes import binned, limits, overview, summary
from lightmill.viewing.product import TILE, Product
from lightmill.viewing.server import serving
from lightmill.viewing.sky import Sky, fit_plane
from lightmill.viewing.sources import Sources
from lightmill.viewing.viewer import Viewer

HOSTILE = "</script><img src=x onerror=alert(1)>"


def tangential(ny, nx, *, scale=0.065, angle=20.0, ra=80.5, dec=-69.5):
    """A gnomonic WCS: scale in arcsec, angle from y to north through east in degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    return wcs


def write_cal(path, data, flags=None, **cards):
    """An image of the sky in the field's layout."""
    science = fits.ImageHDU(data.astype(np.float32), name="SCI")
    science.header.update(tangential(*data.shape).to_header())
    science.header["BUNIT"] = "MJy/sr"
    hdus = [fits.PrimaryHDU(), science]
    hdus[0].header.update({"DATAMODL": "CalModel", **cards})
    hdus.append(fits.ImageHDU(np.full_like(science.data, 0.25), name="ERR"))
    flags = np.zeros(data.shape, np.uint32) if flags is None else flags
    hdus.append(fits.ImageHDU(flags, name="DQ"))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture
def noise():
    """An image of noise whose sides are no multiples of anything."""
    return np.random.default_rng(4).normal(10, 1, (301, 437)).astype(np.float32)


@pytest.fixture
def cal(tmp_path, noise):
    flags = np.zeros(noise.shape, np.uint32)
    flags[10, 20] = dq.PIXEL["DO_NOT_USE"] | dq.PIXEL["HOT"]
    return write_cal(tmp_path / "a_cal.fits", noise, flags)


def ask(url, question, **more):
    """Ask a server as a browser does; returns status, headers and content."""
    parts = urlsplit(url)
    link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        link.request(
            more.pop("method", "GET"), more.pop("path", parts.path) + question, headers=more
        )
        reply = link.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        link.close()


def ended(capsys, *typed):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in typed])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


# -- planes ----------------------------------------------------------------------------------


def test_a_bin_is_the_mean_of_its_finite_pixels(noise):
    noise[0, 0] = np.nan
    noise[4:8, 4:8] = np.inf

    small = binned(noise, 4)

    assert small.shape == (76, 110)
    # one float32 rounding of a mean that was summed in float64
    assert_allclose(small[0, 0], np.nanmean(noise[:4, :4], dtype=float), rtol=1e-7)
    assert_allclose(small[-1, -1], noise[300:, 436:].mean(), rtol=1e-7)  # a single pixel
    assert np.isnan(small[1, 1])


def test_a_bin_has_every_flag_and_the_largest_label():
    image = np.zeros((5, 5), np.uint32)
    image[0, 0], image[1, 1], image[4, 4] = 4, 1, 7

    assert binned(image, 2, "flags").tolist() == [[5, 0, 0], [0, 0, 0], [0, 0, 7]]
    assert binned(image, 2, "labels").tolist() == [[4, 0, 0], [0, 0, 0], [0, 0, 7]]


def test_a_bin_made_of_bins_is_that_made_of_pixels():
    # 3100 pixels are binned by 4 to fit a screen; coarser bins are then made from those
    image = np.random.default_rng(1).normal(5, 1, (700, 3100)).astype(np.float32)
    image[:40, :60] = np.nan
    seen = overview(lambda region: image[region.slices], *image.shape)
    from lightmill.models import Region

    coarse = seen.at(16, Region(0, 700, 0, 3100), "values")

    assert seen.bin == 4
    # two float32 roundings
    assert_allclose(coarse, binned(image, 16), rtol=3e-7)


def test_limits_leave_out_the_sources_and_stay_within_the_values():
    rng = np.random.default_rng(2)
    sky = rng.normal(100, 3, 50_000)
    sky[:500] = rng.uniform(200, 1000, 500)  # one in a hundred is a source

    found = limits(sky, float(sky.min()), float(sky.max()))

    # physics: the median of 50,000 is good to 0.02 σ, and a hundredth of sources moves σ by 2 %
    assert_allclose(found["auto"][0], 100 - 2 * 3, atol=0.3)
    assert 200 < found["auto"][1] <= sky.max()
    assert found["zscale"][0] > sky.min()
    assert found["minmax"] == [sky.min(), sky.max()]
    inside = np.mean((sky >= found["90"][0]) & (sky <= found["90"][1]))
    assert_allclose(inside, 0.9, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_an_image_of_one_value_has_a_summary_json_can_hold(value):
    image = np.full((20, 30), value, np.float32)
    seen = overview(lambda region: image[region.slices], *image.shape)

    told = json.loads(json.dumps(summary(seen), allow_nan=False))

    assert told["limits"] == {} if np.isnan(value) else told["min"] == told["max"] == 7


def test_a_mosaic_of_a_hundred_million_pixels_needs_little_memory(tmp_path):
    # 400 MB on paper: the file has a hole in it
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 10_000})
    header["NAXIS2"] = 10_000
    path = tmp_path / "big_i2d.fits"
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        file.truncate(len(header.tostring()) + -(-400_000_000 // 2880) * 2880)

    tracemalloc.start()
    product = Product(path)
    whole = product.tile(0, 0, 64, 0, 0)
    sharp = product.tile(0, 0, 1, 20, 30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert whole.shape == (157, 157)
    assert sharp.shape == (TILE, TILE)
    # an overview of 1250² float32 and its weights are 13 MB, a piece of 10⁶ pixels with its sums 30 MB
    assert peak < 70e6


# -- products ----------------------------------------------------------------------------------


def test_tiles_are_the_pixels_of_the_file(cal, noise):
    product = Product(cal)

    tile = product.tile(0, 0, 1, 1, 1)

    assert_array_equal(tile, noise[256:, 256:])
    assert product.tile(0, 0, 1, 2, 0) is None


def test_a_pixel_tells_value_error_and_flags(cal, noise):
    facts = Product(cal).at(0, 0, 20, 10)

    assert facts == {"value": float(noise[10, 20]), "error": 0.25, "flags": ["DO_NOT_USE", "HOT"]}
    assert Product(cal).at(0, 0, 437, 10) == {}


def test_the_science_image_comes_first_and_units_are_told(cal):
    product = Product(cal)

    assert [(one.name, one.unit) for one in product.layers] == [
        ("SCI", "MJy/sr"),
        ("ERR", ""),
        ("DQ", ""),
    ]
    assert product.layer("dq") == 2
    with pytest.raises(UnknownNameError, match="image extension"):
        product.layer("WHT")


def test_a_ramp_shows_a_group_with_flags_of_the_pixel_and_of_the_group(tmp_path):
    data = np.arange(2 * 3 * 8 * 9, dtype=np.float32).reshape(2, 3, 8, 9)
    groupdq, pixeldq = np.zeros(data.shape, np.uint8), np.zeros((8, 9), np.uint32)
    groupdq[1, 2, 4, 5], pixeldq[4, 5] = dq.PIXEL["JUMP_DET"], dq.PIXEL["HOT"]
    path = RampModel(data=data, groupdq=groupdq, pixeldq=pixeldq).save(tmp_path / "r_ramp.fits")
    product = Product(path)

    facts = product.at(0, 5, 5, 4)
    flags = product.flag_tile(0, 5, 1, 0, 0)

    assert facts == {"value": data[1, 2, 4, 5], "flags": ["JUMP_DET", "HOT"]}
    assert flags[4, 5] == 4 | 2048
    assert product.flag_tile(0, 4, 1, 0, 0)[4, 5] == 2048
    assert [axis["name"] for axis in product.layers[0].facts()["axes"]] == ["integration", "group"]


def test_one_integration_is_one_plane(tmp_path):
    data = np.stack([np.full((5, 6), n, np.float32) for n in range(3)])
    product = Product(RateIntsModel(data=data).save(tmp_path / "r_rateints.fits"))

    assert (product.tile(0, 2, 1, 0, 0) == 2).all()


def test_a_context_image_is_not_averaged(tmp_path):
    # bits of the inputs that contribute: the mean of 1 and 4 would be an input that is not there
    context = np.array([[[1, 4], [4, 1]]], np.int32)
    data = np.ones((2, 2), np.float32)
    product = Product(ResampledModel(data=data, con=context).save(tmp_path / "c_i2d.fits"))

    assert product.tile(product.layer("CON"), 0, 2, 0, 0) == [[4]]


def test_labels_of_a_segmentation_map_are_not_averaged(tmp_path):
    labels = np.zeros((3200, 40), np.uint32)
    labels[100, 20] = 41
    product = Product(SegmentationModel(data=labels).save(tmp_path / "s_segm.fits"))

    assert product.layers[0].kind == "labels"
    assert product.tile(0, 0, 8, 0, 0)[100 // 8, 20 // 8] == 41


def test_a_compressed_image_can_be_looked_at(tmp_path, noise):
    path = tmp_path / "c.fits.fz"
    counts = noise.astype(np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(counts, name="SCI")]).writeto(path)

    assert_array_equal(Product(path).tile(0, 0, 1, 0, 0), counts[:256, :256])


def test_an_asdf_file_can_be_looked_at(tmp_path, noise):
    path = CalModel(data=noise).save(tmp_path / "a_cal.asdf")

    assert_array_equal(Product(path).tile(0, 0, 1, 1, 1), noise[256:, 256:])


def test_a_table_is_nothing_to_look_at(tmp_path, capsys):
    path = tmp_path / "t.fits"
    fits.BinTableHDU(Table({"a": [1, 2]})).writeto(path)

    status, _, err = ended(capsys, "view", path, "--no-browser")

    assert status == 3
    assert "no image" in err
    assert str(path) in err


# -- sky ---------------------------------------------------------------------------------------


def distorted(ny, nx):
    """Sky coordinates of a detector whose distortion bends by 20 pixels at the edge."""
    wcs = tangential(ny, nx)

    def degrees(x, y):
        u, v = (np.asarray(x) - nx / 2) / nx, (np.asarray(y) - ny / 2) / ny
        bent = x + 20 * u * v + 30 * u**3, y - 15 * u**2 + 10 * v**4 * u
        return wcs.pixel_to_world_values(*bent)

    return degrees


def by_formula(formula, x, y):
    """Evaluate a formula as its description says, with astropy's projection."""
    u = (x - formula["middle"][0]) / formula["half"][0]
    v = (y - formula["middle"][1]) / formula["half"][1]
    xi, eta = (
        sum(c * u**i * v**j for c, (i, j) in zip(formula[axis], formula["powers"], strict=True))
        for axis in ("xi", "eta")
    )
    flat = WCS(naxis=2)
    flat.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    flat.wcs.crval = [formula["ra"], formula["dec"]]
    flat.wcs.crpix, flat.wcs.cdelt = [1, 1], [1, 1]
    return flat.pixel_to_world_values(np.degrees(xi), np.degrees(eta))


@pytest.mark.parametrize("dec", [-69.5, 0.0, 89.995])
def test_a_page_alone_knows_the_sky_to_a_ten_millionth_of_a_degree(dec):
    # at 89.995° the pole lies in the image
    ny, nx = 500, 700
    degrees = Sky(tangential(ny, nx, dec=dec)).degrees if dec else distorted(ny, nx)
    x, y = np.array([0, 123.4, 699.0]), np.array([499.0, 77.7, 0])

    formula = fit_plane(degrees, ny, nx)

    found = SkyCoord(*by_formula(formula, x, y), unit="deg")
    assert found.separation(SkyCoord(*degrees(x, y), unit="deg")).deg.max() < 1e-7
    assert formula["residual"] < 1e-7


def test_a_page_gets_no_formula_for_half_the_sky():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---AIT", "DEC--AIT"], [0, 0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [180, 90], [-1, 1]

    assert Sky(wcs).formula(180, 360) is None


# -- catalogs ------------------------------------------------------------------------------------


def write_catalog(path, **columns):
    Table(columns).write(path, format="ascii.ecsv")
    return path


def test_sources_lie_where_the_sky_says(tmp_path, cal):
    x, y = np.array([10.0, 400.5]), np.array([20.0, 290.25])
    ra, dec = tangential(301, 437).pixel_to_world_values(x, y)
    places = write_catalog(tmp_path / "a.ecsv", sky_centroid=SkyCoord(ra, dec, unit="deg"))

    found = Sources(places).on(Product(cal).sky)

    # 1e-4 pixel are 6 µas: digits of the text file
    assert_allclose(found, [x, y], atol=1e-4)


def test_sources_without_sky_lie_where_their_pixels_say(tmp_path):
    path = write_catalog(tmp_path / "a.ecsv", xcentroid=[3.5, np.nan], ycentroid=[4.0, 1.0])

    assert_array_equal(Sources(path).on(None), [[3.5, np.nan], [4.0, 1.0]])


def test_a_row_is_text_with_units(tmp_path):
    path = write_catalog(tmp_path / "a.ecsv", ra=[1.5] * u.deg, dec=[2.5], name=[HOSTILE])

    assert Sources(path).row(0) == ["1.5", "2.5", HOSTILE]
    assert Sources(path).columns() == [["ra", "deg"], ["dec", ""], ["name", ""]]


def test_catalogs_that_do_not_fit_say_why(tmp_path):
    sky_only = write_catalog(tmp_path / "s.ecsv", ra=[1.5], dec=[2.5])
    nowhere = write_catalog(tmp_path / "n.ecsv", flux=[1.0])
    broken = tmp_path / "b.ecsv"
    broken.write_text("# %ECSV 1.0\n# ---\n# datatype: [oh\n")

    with pytest.raises(DataError, match="no sky coordinates"):
        Sources(sky_only).on(None)
    with pytest.raises(DataError, match="where its sources are"):
        Sources(nowhere)
    with pytest.raises(CorruptFileError, match="cannot be read"):
        Sources(broken)
    with pytest.raises(DataError, match="no such file"):
        Sources(tmp_path / "absent.ecsv")


# -- the server ------------------------------------------------------------------------------------


def test_the_server_tells_pixels_and_sky(cal, noise):
    with serving(Viewer([Product(cal)])) as server:
        _, _, tile = ask(server.url, "tile?file=0&layer=0&plane=0&bin=1&tx=0&ty=0")
        _, _, at = ask(server.url, "at?file=0&layer=0&plane=0&x=20.25&y=9.75")

    assert_array_equal(np.frombuffer(tile, "<f4").reshape(256, 256), noise[:256, :256])
    told = json.loads(at)
    assert told["value"] == float(noise[10, 20])
    ra, dec = tangential(301, 437).pixel_to_world_values(20.25, 9.75)
    # 1e-10 deg: the header has CD as PC and CDELT, rounded
    assert_allclose([told["ra"], told["dec"]], [ra, dec], atol=1e-10)


def test_the_generalised_coordinates_of_a_product_are_used(tmp_path):
    gwcs = pytest.importorskip("gwcs")
    from astropy import coordinates
    from astropy.modeling import models

    # physics: a detector whose distortion moves its corners by tens of pixels
    bent = models.Mapping((0, 1, 0, 1)) | (
        models.Polynomial2D(3, c1_0=1, c2_0=2e-4, c0_2=1e-5, c3_0=1e-8)
        & models.Polynomial2D(3, c0_1=1, c1_1=1e-4, c0_3=2e-8)
    )
    scale = models.Scale(0.065 / 3600) & models.Scale(0.065 / 3600)
    sky = models.Pix2Sky_TAN() | models.RotateNative2Celestial(359.999, 12.0, 180)
    frame = gwcs.coordinate_frames
    detector = frame.Frame2D(name="detector", unit=(u.pix, u.pix))
    world = frame.CelestialFrame(reference_frame=coordinates.ICRS(), name="world")
    shift = models.Shift(-100) & models.Shift(-100)
    wcs = gwcs.WCS([(detector, shift | bent | scale | sky), (world, None)])
    data = np.arange(200 * 200, dtype=np.float32).reshape(200, 200)
    put_wcs(CalModel(data=data), wcs).save(tmp_path / "g_cal.fits")

    with serving(Viewer([Product(tmp_path / "g_cal.fits")])) as server:
        _, _, at = ask(server.url, "at?file=0&layer=0&plane=0&x=180.25&y=30.5")

    # 1e-10 deg: rounding
    told = json.loads(at)
    assert_allclose([told["ra"], told["dec"]], wcs(180.25, 30.5), rtol=0, atol=1e-10)


def test_nobody_without_the_token_gets_anything(cal):
    with serving(Viewer([Product(cal)])) as server:
        token = server.token
        asked = [
            ask(server.url, "", path="/"),
            ask(server.url, "", path="/favicon.ico"),
            ask(server.url, "", path=f"/{token[:-1]}/"),
            ask(server.url, "", path=f"/{token}x/"),
            ask(server.url, "", path=f"/x/{token}/"),
            # a name another site made this machine's: DNS rebinding
            ask(server.url, "", Host=f"evil.example:{server.server_port}"),
        ]
        host = server.server_address[0]
        status, headers, _ = ask(server.url, "")

    assert [status for status, *_ in asked] == [404] * len(asked)
    assert {content for *_, content in asked} == {b"not found\n"}
    assert host == "127.0.0.1"
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "question",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "page.html",
        "tile",
        "tile?file=1&layer=0&plane=0&bin=1&tx=0&ty=0",
        "tile?file=-1&layer=0&plane=0&bin=1&tx=0&ty=0",
        "tile?file=/etc/passwd&layer=0&plane=0&bin=1&tx=0&ty=0",
        "tile?file=0&layer=9&plane=0&bin=1&tx=0&ty=0",
        "tile?file=0&layer=0&plane=1&bin=1&tx=0&ty=0",
        "tile?file=0&layer=0&plane=0&bin=3&tx=0&ty=0",
        "tile?file=0&layer=0&plane=0&bin=0&tx=0&ty=0",
        "tile?file=0&layer=0&plane=0&bin=1&tx=99&ty=0",
        "tile?file=0&layer=0&plane=0&bin=1&tx=0.5&ty=0",
        "tile?file=nan&layer=0&plane=0&bin=1&tx=0&ty=0",
        "at?file=0&layer=0&plane=0&x=nan&y=0",
        "at?file=0&layer=0&plane=0&x=inf&y=0",
        "row?row=0",
    ],
)
def test_questions_that_make_no_sense_get_no_answer(cal, question):
    with serving(Viewer([Product(cal)])) as server:
        status, _, content = ask(server.url, question)

    assert status in {400, 404}
    assert len(content) < 60


def test_a_file_that_changes_while_it_is_looked_at_is_said(cal):
    with serving(Viewer([Product(cal)])) as server:
        cal.write_bytes(cal.read_bytes()[:-2880])
        status, _, content = ask(server.url, "at?file=0&layer=0&plane=0&x=1&y=1")

    assert status == 500
    assert "has changed" in content.decode()


def test_the_page_cannot_change_anything(cal):
    with serving(Viewer([Product(cal)])) as server:
        status, *_ = ask(server.url, "", method="POST")

    assert status == 501


def test_a_port_that_is_taken_is_said(cal, capsys):
    with serving(Viewer([Product(cal)])) as server:
        status, _, err = ended(capsys, "view", cal, "--no-browser", "--port", server.server_port)

    assert status == 5
    assert "--port" in err


def test_once_ends_when_the_page_is_closed(cal, monkeypatch):
    monkeypatch.setattr("lightmill.viewing.server._GONE", 0.01)
    monkeypatch.setattr("lightmill.viewing.server._HEARTBEAT", 0.01)
    with serving(Viewer([Product(cal)]), once=True) as server:
        link = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        link.request("GET", f"/{server.token}/alive")
        reply = link.getresponse()
        reply.read(1)
        assert not server.over.is_set()
        reply.close()
        link.close()

        assert server.over.wait(20)


# -- the page ----------------------------------------------------------------------------------------


def test_names_of_files_and_sources_stay_text(tmp_path, noise):
    path = write_cal(tmp_path / "<u>&amp;.fits", noise, TARGNAME="</title><script>1</script>")
    catalog = write_catalog(tmp_path / "c.ecsv", xcentroid=[1.0], ycentroid=[1.0], id=[HOSTILE])
    viewer = Viewer([Product(path)], sources=Sources(catalog))

    text, policy = page({**viewer.facts(), "inside": [], "rows": [viewer.sources.row(0)]})

    text = text.decode()
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "<u>" not in text
    assert "<title>&lt;u&gt;&amp;amp;.fits" in text
    (facts,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', text)
    assert json.loads(facts)["rows"][0][-1] == HOSTILE
    assert "unsafe" not in policy


def test_a_page_alone_asks_nobody(tmp_path, cal, capsys):
    status, out, _ = ended(capsys, "view", cal, "--html", tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()

    assert status == 0
    assert out.strip() == str(tmp_path / "p.html")
    assert "connect-src &#x27;none&#x27;" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "http://" not in text
    assert "https://" not in text


def test_the_page_carries_its_picture_to_four_digits(tmp_path, cal, noise):
    import base64
    import zlib

    from lightmill.viewing.page import write_page

    text = write_page(Viewer([Product(cal)]), tmp_path / "p.html").read_text()
    (facts,) = re.findall(r'id="facts">(.*?)</script>', text)
    one = json.loads(facts)["inside"][0]
    planes = np.frombuffer(zlib.decompress(base64.b64decode(one["values"])), np.uint8)
    values = np.ascontiguousarray(planes.reshape(4, -1).T).view("<f4").reshape(one["shape"])

    # 14 bits of mantissa are kept, rounded: 2^-15
    assert_allclose(values, noise, rtol=2**-14)
    assert {flag["name"]: flag["count"] for flag in one["summary"]["flags"]} == {
        "DO_NOT_USE": 1,
        "HOT": 1,
    }


def test_the_viewer_of_the_page_is_ours_alone():
    # no script of others, no address: everything the browser runs is in this folder
    folder = Path(main.__code__.co_filename).parent / "view"
    for path in [*folder.glob("*.js"), *folder.glob("*.html"), *folder.glob("*.css")]:
        text = path.read_text()
        assert not re.search(r"https?:|@import|innerHTML|outerHTML|eval\(|document\.write", text)


@pytest.mark.parametrize(
    "typed", [["--plane", "a"], ["--plane", "-1"], ["--ds9", "--html", "p.html"]]
)
def test_options_that_contradict_are_refused(cal, capsys, typed):
    status, _, err = ended(capsys, "view", cal, *typed)

    assert status == 2
    assert "--plane" in err


def test_help_costs_nothing_heavy():
    import subprocess
    import sys

    code = "import lightmill.cli.view.command, sys; print([m for m in ('numpy', 'astropy', 'http.server') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert answer.stdout.strip() == "[]"
