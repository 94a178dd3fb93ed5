"""``lightmill view`` as people meet it: a page in a browser, and DS9.

The pictures go to ``build/evidence`` (or where LIGHTMILL_EVIDENCE says).
"""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from lightmill.cli import main
from lightmill.models import dq

HOSTILE = "<img src=x onerror='document.body.id=1'><script>document.body.id=1</script>"
FLAGGED = (300, 420)  # x, y of a pixel with two flags
SOURCES = np.array([[150.0, 200.0], [480.0, 430.0], [333.0, 90.0]])
NY, NX = 900, 1000


def wcs_of_field(dx=0.0):
    """Sky of the field: 0.065 arcsec pixels, turned by 20 degrees, shifted by dx pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [80.5, -69.5]
    wcs.wcs.crpix = [NX / 2 + dx, NY / 2]
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    wcs.wcs.cd = 0.065 / 3600 * np.array([[-c, s], [s, c]])
    return wcs


def field(dx=0.0):
    """Noise, 150 stars and 60 galaxies [MJy/sr]."""
    rng = np.random.default_rng(7)
    image = np.random.default_rng(int(dx) + 1).normal(0.3, 0.02, (NY, NX))
    y, x = np.mgrid[-40:41, -40:41]
    stars = np.column_stack([rng.uniform(0, NX, 150), rng.uniform(0, NY, 150)])
    stars[:3] = SOURCES
    flux = 10 ** rng.uniform(-0.6, 2, 150)
    flux[:3] = 60
    shapes = [
        f * (np.exp(-(x**2 + y**2) / 2 / 1.1**2) + 0.02 / (1 + (x**2 + y**2) / 9) ** 1.3)
        for f in flux
    ]
    for _ in range(60):
        size, q, turn = rng.gamma(2, 1.6) + 1, rng.uniform(0.3, 1), rng.uniform(0, np.pi)
        u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / q
        shapes.append(10 ** rng.uniform(-0.8, 0.9) * np.exp(-1.68 * np.hypot(u, v) / size))
    places = np.vstack([stars, np.column_stack([rng.uniform(0, NX, 60), rng.uniform(0, NY, 60)])])
    padded = np.pad(image, 140)
    for (px, py), shape in zip(places, shapes, strict=True):
        row, column = round(py) + 100, round(px + dx) + 100
        padded[row : row + 81, column : column + 81] += shape
    return padded[140:-140, 140:-140].astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A field, the same one shifted by 24 pixels, and a catalog with a hostile name."""
    folder = tmp_path_factory.mktemp("view")
    for name, dx in (("a_cal.fits", 0.0), ("b_cal.fits", 24.0)):
        flags = np.zeros((NY, NX), np.uint32)
        flags[FLAGGED[1], FLAGGED[0]] = dq.PIXEL["HOT"] | dq.PIXEL["DO_NOT_USE"]
        rng = np.random.default_rng(5)
        flags[rng.integers(0, NY, 700), rng.integers(0, NX, 700)] |= dq.PIXEL["JUMP_DET"]
        data = field(dx)
        data[:, :4] = np.nan
        science = fits.ImageHDU(data, name="SCI")
        science.header.update(wcs_of_field(dx).to_header())
        science.header["BUNIT"] = "MJy/sr"
        hdus = fits.HDUList(
            [
                fits.PrimaryHDU(),
                science,
                fits.ImageHDU(np.full_like(data, 0.02), name="ERR"),
                fits.ImageHDU(flags, name="DQ"),
            ]
        )
        hdus[0].header.update(DATAMODL="CalModel", TARGNAME="demo field", FILTER="F200W")
        hdus.writeto(folder / name)
    ra, dec = wcs_of_field().pixel_to_world_values(*SOURCES.T)
    table = Table({"label": [1, 2, 3], "sky_centroid": SkyCoord(ra, dec, unit="deg")})
    table["name"] = [HOSTILE, "star two", "star three"]
    table.write(folder / "c.ecsv", format="ascii.ecsv")
    return folder


@contextlib.contextmanager
def viewing(*typed, cwd, **env):
    """Run the command and yield its address; Ctrl-C ends it, with status 0."""
    command = [sys.executable, "-m", "lightmill", "view", "--no-browser", *map(str, typed)]
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **env},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield line.split()[0]
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, ""), out + err


class Page:
    """A page that is looked at, and everything it said and asked."""

    def __init__(self, browser, address, **settings):
        settings = {"viewport": {"width": 1280, "height": 800}, **settings}
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#picture[data-ready]")
        self.drawn()

    def drawn(self):
        """Wait until everything that is on the screen has been read and drawn."""
        self.page.wait_for_selector("#picture[data-drawn*=' ']")

    def settled(self, **expected):
        """Wait until the picture says of itself what is expected."""
        for name, value in expected.items():
            self.page.wait_for_selector(f"#picture[data-{name}='{value}']")
        self.drawn()

    def data(self, selector, name):
        return self.page.locator(selector).get_attribute(f"data-{name}")

    def go(self, place):
        """Type a place; the readout is then of the middle of the screen."""
        self.page.fill("#place", place)
        with self.told():
            self.page.press("#place", "Enter")
        self.drawn()

    @contextlib.contextmanager
    def told(self):
        """Do something, and wait until the readout has told of another pixel."""
        before = self.data("#readout", "told")
        yield
        self.page.wait_for_selector(f"#readout[data-told]:not([data-told='{before}'])")

    def colour(self):
        """Colour of the middle of the picture as it is seen, (red, green, blue)."""
        from PIL import Image

        box = self.page.locator("#stage").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        seen = self.page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
        return Image.open(io.BytesIO(seen)).convert("RGB").getpixel((0, 0))

    def readout(self):
        return {
            name: float(self.data("#readout", name)) for name in ("x", "y", "value", "ra", "dec")
        }

    def close(self):
        self.context.close()


@pytest.fixture(scope="module")
def address(files, browser):
    """The command, running."""
    del browser  # skip before anything is started
    typed = ["a_cal.fits", "b_cal.fits", "--catalog", "c.ecsv"]
    with viewing(*typed, cwd=files) as found:
        yield found


@pytest.fixture(scope="module")
def shared(browser, address):
    """One page for most tests: opening one costs more than looking at it."""
    opened = Page(browser, address)
    yield opened
    opened.close()


@pytest.fixture
def looked(shared, address):
    shared.page.select_option("#file", "0")
    shared.page.wait_for_selector("#picture[data-drawn^='0 ']")
    shared.page.select_option("#layer", "0")
    shared.page.wait_for_selector("#picture[data-drawn^='0 0 ']")
    shared.page.uncheck("#invert")
    shared.page.click("#noflags")
    shared.page.click("#fit")
    shared.drawn()
    yield shared
    assert shared.said == []  # no error, no warning, no dialog
    assert all(url.startswith((address, "data:")) for url in shared.asked)


def test_the_picture_the_pixels_and_the_sky(looked, files, evidence):
    data = fits.getdata(files / "a_cal.fits", "SCI")
    whole = looked.data("#picture", "bin")
    looked.page.screenshot(path=evidence / "view-whole.png")

    looked.go("150, 200")
    for _ in range(6):
        looked.page.click("#in")
    with looked.told():
        looked.page.mouse.move(500, 400)
    looked.drawn()
    told, shown = looked.readout(), looked.page.inner_text("#value")
    sky = looked.page.inner_text("#degrees")
    looked.page.screenshot(path=evidence / "view-zoomed.png")

    assert int(looked.data("#picture", "bin")) <= int(whole)
    assert float(looked.data("#picture", "scale")) > 10
    value = data[round(told["y"]), round(told["x"])]
    assert np.float32(told["value"]) == value
    assert np.float32(shown.split()[0]) == value  # what is printed names the number exactly
    assert "± 0.02 MJy/sr" in shown
    ra, dec = wcs_of_field().pixel_to_world_values(told["x"], told["y"])
    assert_allclose([told["ra"], told["dec"]], [ra, dec], rtol=0, atol=1e-7)
    # what is printed has seven decimals
    assert_allclose([float(one.replace("−", "-")) for one in sky.split()], [ra, dec], atol=1e-7)
    hms = SkyCoord(looked.page.inner_text("#sexagesimal").replace("−", "-"), unit="hourangle,deg")
    assert hms.separation(SkyCoord(ra, dec, unit="deg")).arcsec < 2e-3  # 0.0001 s, 0.001 arcsec


def test_zooming_fetches_finer_tiles(browser, address):
    # the stage is 300 pixels high, the image 900: a bin of two pixels fills one of the screen
    small = Page(browser, address, viewport={"width": 700, "height": 430})
    coarse, first = small.data("#picture", "bin"), [u for u in small.asked if "/tile?" in u]
    del small.asked[:]

    small.page.mouse.move(200, 200)
    small.page.mouse.wheel(0, -600)
    small.settled(bin=1)
    finer = [url for url in small.asked if "/tile?" in url]
    small.close()

    assert coarse == "2"
    assert first
    assert all("&bin=2&" in url for url in first)
    assert finer
    assert all("&bin=1&" in url for url in finer)
    assert small.said == []


def test_flags_colour_their_pixels(looked, evidence):
    looked.go("{}, {}".format(*FLAGGED))
    plain, flags = looked.colour(), looked.page.inner_text("#dq")

    looked.page.locator("input[data-name=HOT]").check()
    looked.page.locator("input[data-name=JUMP_DET]").check()
    looked.drawn()
    coloured = looked.colour()
    looked.page.screenshot(path=evidence / "view-flags.png")
    looked.page.locator("#noflags").click()
    looked.drawn()

    assert flags == "DO_NOT_USE HOT"
    # three quarters of the flag's colour, #b48cf2, over the picture; rounding twice
    mixed = 0.75 * np.array([0xB4, 0x8C, 0xF2]) + 0.25 * np.array(plain)
    assert_allclose(coloured, mixed, atol=2)
    assert looked.colour() == plain


def test_a_hostile_name_is_only_text(looked, evidence):
    looked.go("{:.0f}, {:.0f}".format(*SOURCES[0]))
    box = looked.page.locator("#picture").bounding_box()
    looked.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    looked.page.wait_for_selector("#row td")
    cells = looked.page.locator("#row td").all_inner_texts()
    looked.page.screenshot(path=evidence / "view-source.png")

    assert cells[0] == "1"
    assert cells[-1] == HOSTILE
    assert looked.page.locator("body[id]").count() == 0
    assert looked.page.locator("img, #row script").count() == 0


def test_blinking_keeps_the_place_on_the_sky(looked):
    looked.go("480, 430")
    before = looked.readout()

    looked.page.keyboard.press("Escape")
    looked.page.focus("#picture")
    looked.page.keyboard.press("n")
    looked.page.wait_for_selector("#name:text-is('b_cal.fits')")
    looked.page.wait_for_selector("#picture[data-drawn^='1 0 0']")
    with looked.told():
        looked.page.keyboard.press("+")  # reads the pixel in the middle
    after = looked.readout()

    assert_allclose(after["x"] - before["x"], 24, atol=1e-3)
    # a thousandth of a pixel is 2e-8 deg
    assert_allclose([after["ra"], after["dec"]], [before["ra"], before["dec"]], atol=1e-7)


def test_stretch_limits_and_colours_are_those_chosen(looked):
    looked.go("150, 200")
    page = looked.page
    for selector, value in (("#stretch", "linear"), ("#map", "grey")):
        page.select_option(selector, value)
    for selector, value in (("#low", "0"), ("#high", "200")):
        page.fill(selector, value)
        page.press(selector, "Enter")
    looked.drawn()
    value = looked.readout()["value"]

    # physics: a linear grey of 0 … 200 is value / 200 of white, in 1024 shades
    assert_allclose(looked.colour(), 255 * value / 200, atol=1)
    assert page.locator("#ticks span").all_inner_texts() == ["0", "50", "100", "150", "200"]
    page.check("#invert")
    looked.drawn()
    assert_allclose(looked.colour(), 255 * (1 - value / 200), atol=1)


def test_north_and_east_point_where_they_are(looked):
    # physics: y is turned from north by 20 degrees, and east is left of north on the sky
    looked.page.wait_for_selector("#compass[data-north]")

    assert_allclose(float(looked.data("#compass", "north")), 20, atol=0.1)
    assert_allclose(float(looked.data("#compass", "east")), 20 - 90, atol=0.1)


def test_the_keyboard_alone_is_enough(looked):
    from playwright.sync_api import expect

    page = looked.page
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.locator("#picture:focus").count():
            break
    with looked.told():
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("e")
    page.wait_for_selector("#picture[data-drawn^='0 1 0']")

    assert re.match(r"x \d+, y \d+, value ", page.text_content("#spoken"))
    controls = page.locator("button:visible, input:visible, select:visible, canvas#picture")
    for number in range(controls.count()):
        expect(controls.nth(number)).to_have_accessible_name(re.compile(r"\S"))


def test_a_phone_shows_it_too(browser, address, evidence):
    phone = Page(
        browser, address, viewport={"width": 390, "height": 780}, device_scale_factor=2,
        has_touch=True, is_mobile=True,
    )  # fmt: skip
    phone.page.touchscreen.tap(190, 330)
    phone.page.wait_for_selector("#readout[data-ra]")
    boxes = [phone.page.locator(one).bounding_box() for one in ("#panel", "#bar", "#readout")]
    phone.page.screenshot(path=evidence / "view-phone.png")
    before = float(phone.data("#picture", "scale"))
    fingers = phone.context.new_cdp_session(phone.page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80)):
        places = [{"x": 190 + sign * apart, "y": 330, "id": sign + 1} for sign in (-1, 1)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    phone.page.wait_for_selector(f"#picture:not([data-scale='{before}'])")
    phone.drawn()
    after = float(phone.data("#picture", "scale"))
    phone.page.wait_for_timeout(500)  # a tap right after a pinch is no click to a browser
    phone.page.tap("#panel")
    phone.page.wait_for_selector("#controls.open #stretch")
    phone.close()

    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    assert_allclose(after / before, 2, rtol=1e-6)  # two fingers, twice as far apart
    assert phone.said == []


def test_a_page_alone_shows_the_same(browser, files, tmp_path, evidence):
    page = tmp_path / "p.html"
    command = [sys.executable, "-m", "lightmill", "view", "a_cal.fits", "--catalog", "c.ecsv"]
    subprocess.run([*command, "--html", page], cwd=files, check=True, capture_output=True)
    data = fits.getdata(files / "a_cal.fits", "SCI")

    alone = Page(browser, page.as_uri())
    alone.go("05:22:00 -69:30:00")  # the point the field is turned about
    told = alone.readout()
    alone.page.screenshot(path=evidence / "view-page.png")
    with alone.told():
        alone.page.mouse.move(400, 300)
    other = alone.readout()
    alone.close()

    assert alone.said == []
    assert alone.asked == [page.as_uri(), "data:,"] or alone.asked == [page.as_uri()]
    assert_allclose([told["x"], told["y"]], [NX / 2 - 1, NY / 2 - 1], atol=1e-3)
    for one in (told, other):
        # four digits are kept in the page
        assert_allclose(one["value"], data[round(one["y"]), round(one["x"])], rtol=6e-4)
        sky = wcs_of_field().pixel_to_world_values(one["x"], one["y"])
        assert_allclose([one["ra"], one["dec"]], sky, rtol=0, atol=1e-7)


# -- SAMP --------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A real SAMP hub on the loopback interface, its lock file in the folder of the test."""
    import warnings

    lock = tmp_path / "samp.lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    with warnings.catch_warnings():
        # Deprecated since astropy 8; the hub is the only one that pip brings. Its threads warn, too.
        warnings.simplefilter("ignore")
        samp = pytest.importorskip("astropy.samp")
        with samp.conf.set_temp("use_internet", False):
            running = samp.SAMPHubServer(
                web_profile=False, lockfile=str(lock), addr="127.0.0.1", mode="single"
            )
            running.start()
            yield samp
            running.stop()


@pytest.fixture
def sent(capsys, monkeypatch):
    """Send a file as the command does; returns exit status and what was said."""

    def send(*typed, cwd):
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as caught:
            main(["view", "--ds9", *typed])
        said = capsys.readouterr()
        return caught.value.code, said.out, said.err

    return send


@pytest.fixture
def viewer(hub):
    """A viewer on the hub that notes what it is told, and answers as it is bid."""
    client = hub.SAMPIntegratedClient(name="a viewer", addr="127.0.0.1")
    client.connect()
    client.heard, client.answer = [], {"samp.status": "samp.ok", "samp.result": {}}

    def receive(_key, _sender, msg_id, _mtype, params, _extra):
        client.heard.append(params)
        # This hub loses an answer that comes before it has begun to wait; loading takes time anyway.
        time.sleep(0.5)
        client.reply(msg_id, client.answer)

    client.bind_receive_call("image.load.fits", receive)
    yield client
    client.disconnect()


def test_a_file_goes_to_every_viewer_on_the_hub(viewer, files, sent):
    status, out, err = sent("a_cal.fits", "b_cal.fits", "--extension", "ERR", cwd=files)

    assert (status, out) == (0, "sent to a viewer\n"), err
    assert [one["url"] for one in viewer.heard] == [
        (files / name).as_uri() + "[ERR]" for name in ("a_cal.fits", "b_cal.fits")
    ]
    assert len(viewer.get_registered_clients()) == 1  # the viewer knows the hub; we have left


def test_a_viewer_that_refuses_is_quoted(viewer, files, sent):
    viewer.answer = {
        "samp.status": "samp.error",
        "samp.result": {},
        "samp.error": {"samp.errortxt": "no colours left"},
    }

    status, _, err = sent("a_cal.fits", cwd=files)

    assert status == 3
    assert "no colours left" in err
    assert "a viewer" in err


@pytest.mark.usefixtures("hub")
def test_a_hub_without_viewers_is_said(files, sent):
    status, _, err = sent("a_cal.fits", cwd=files)

    assert status == 5
    assert "start DS9" in err


@pytest.mark.parametrize(
    "lock",
    [
        None,
        "samp.secret=x\n",
        "samp.secret=x\nsamp.hub.xmlrpc.url=http://127.0.0.1:9/\n",
        "samp.secret=x\nsamp.hub.xmlrpc.url=http://192.0.2.1:80/\n",
        "samp.secret=x\nsamp.hub.xmlrpc.url=file:///etc/passwd\n",
    ],
)
def test_without_a_hub_the_way_to_one_is_told(files, tmp_path, monkeypatch, sent, lock):
    path = tmp_path / "samp.lock"
    if lock:
        path.write_text(lock)
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{path.as_uri()}")

    status, _, err = sent("a_cal.fits", cwd=files)

    assert status == 5
    assert str(path) in err
    assert "start a hub" in err


@pytest.mark.usefixtures("hub")
def test_a_file_that_is_none_is_not_sent(tmp_path, sent):
    (tmp_path / "a.fits").write_bytes(b"nothing")

    status, _, err = sent("a.fits", cwd=tmp_path)

    assert status == 3
    assert "not a FITS file" in err


def photograph(screen, path):
    """Write what is on a screen of Xvfb (a file in XWD 7) as a PNG."""
    from PIL import Image

    content = screen.read_bytes()
    header = np.frombuffer(content, ">u4", 25)
    width, height, line, colours = (int(header[n]) for n in (4, 5, 12, 19))
    begin = int(header[0]) + 12 * colours
    pixels = np.frombuffer(content, np.uint8, line * height, begin).reshape(height, -1, 4)
    Image.fromarray(np.ascontiguousarray(pixels[:, :width, 2::-1])).save(path)


def test_ds9_shows_what_it_is_sent(hub, files, tmp_path, evidence, sent):
    """DS9 itself, on a screen of its own."""
    if not (shutil.which("ds9") and shutil.which("Xvfb")):
        pytest.skip("NO DS9: apt-get install saods9 xvfb")
    import threading

    started = threading.Event()
    client = hub.SAMPIntegratedClient(name="a test", addr="127.0.0.1")
    client.connect()
    client.bind_receive_notification("samp.hub.event.subscriptions", lambda *_: started.set())
    read, write = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1100x860x24", "-nolisten", "tcp",
         "-fbdir", str(tmp_path)],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as stream:
        display = stream.readline().strip()
    env = {**os.environ, "DISPLAY": f":{display}", "HOME": str(tmp_path)}
    ds9 = subprocess.Popen(["ds9"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not client.get_subscribed_clients("image.load.fits"):
            assert started.wait(60), "DS9 did not come"
            started.clear()

        status, out, err = sent("a_cal.fits", cwd=files)
        (viewer,) = client.get_subscribed_clients("ds9.get")

        def told(command):
            message = {"samp.mtype": "ds9.get", "samp.params": {"cmd": command}}
            return client.call_and_wait(viewer, message, "30")["samp.result"]["value"]

        name, size = told("file"), told("fits size")
        for command in ("scale zscale", "zoom to fit"):
            message = {"samp.mtype": "ds9.set", "samp.params": {"cmd": command}}
            client.call_and_wait(viewer, message, "30")
        told("zoom")  # answered after the picture was drawn
        photograph(tmp_path / "Xvfb_screen0", evidence / "view-ds9.png")
    finally:
        client.disconnect()
        for process in (ds9, screen):
            process.kill()
            process.wait()

    assert (status, out) == (0, "sent to SAOImageDS9\n"), err
    assert name == f"{files / 'a_cal.fits'}[SCI]"
    assert size.split() == [str(NX), str(NY)]
