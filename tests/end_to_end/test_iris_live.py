"""``lightmill iris play`` and ``lightmill iris live`` as people meet them: products, a page, SAMP.

A small detector is played at a few times its cadence. The picture goes to ``build/evidence`` (or
where LIGHTMILL_EVIDENCE says).
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose

from lightmill import models
from lightmill.models import wcs_of
from lightmill.observatories.tmt.iris.live import wire
from lightmill.observatories.tmt.iris.live.files import reads_of
from lightmill.observatories.tmt.iris.simulate import Camera, observe

SIZE, READS, SKY = 128, 12, 20.0
COMMAND = (sys.executable, "-m", "lightmill", "iris")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A sky and two dithers of a field, without cosmic rays, which are not looked for live."""
    folder = tmp_path_factory.mktemp("raw")
    made, cache = observe(
        folder, camera=Camera(size=SIZE, rays=0.0), dithers=((0.0, 0.0), (4.0, -3.0)), skies=1,
        stars=8, faintest=2000.0, sky=SKY, seed=8, reads=READS, read_time=0.72,
    )  # fmt: skip
    made.sort(key=lambda one: "_sky_" not in one.title)  # the sky is taken first
    return made, cache


class Live:
    """The command, watching; it ends by itself or at Ctrl-C, with status 0."""

    def __init__(self, folder, source, cache, *more, env=None):
        self.folder = folder
        self.process = subprocess.Popen(
            [*COMMAND, "live", str(source), "--output-dir", str(folder), "--crds-path",
             str(cache.root), "--context", cache.context, "--report", str(folder / "report.json"),
             *map(str, more)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        self.said = []
        self.page, self.source = None, None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("http"):
                self.page = line.split()[0]
            if line.startswith("watching"):
                self.source = line.split()[1]
                break
        assert self.source, "".join(self.said)

    def over(self):
        out, _ = self.process.communicate(timeout=60)
        self.said += out.splitlines(keepends=True)
        assert self.process.returncode == 0, "".join(self.said)
        return json.loads((self.folder / "report.json").read_text())


@contextlib.contextmanager
def live(*given, **more):
    found = Live(*given, **more)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.send_signal(signal.SIGINT)
            found.process.wait(30)
        found.process.stdout.close()


def play(files, to, cadence):
    return subprocess.run(
        [*COMMAND, "play", *(str(one.uncal) for one in files), "--to", to, "--cadence",
         str(cadence)], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


# -- products ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(raw, tmp_path_factory):
    """What was made of the reads that came through a socket."""
    made, cache = raw
    folder = tmp_path_factory.mktemp("watched")
    with live(folder, "tcp:0", cache, "--no-page", "--exposures", 3) as watch:
        played = play(made, watch.source, 0)  # as fast as they are taken
        report = watch.over()
    assert played.returncode == 0, played.stdout + played.stderr
    return folder, report


def test_every_read_is_in_a_frame_and_every_frame_is_saved(watched):
    folder, report = watched

    assert (report["exposures"], report["reads"], report["lost"]) == (3, 3 * READS, 0)
    names = sorted(path.name.rpartition("_")[2] for path in folder.glob("*.fits"))
    assert names == ["cal.fits"] * 2 + ["rop.fits"] * 3


def test_reduced_frames_are_the_field_within_their_errors(watched, raw):
    folder, _ = watched
    for one in raw[0][1:]:
        cal = models.open(folder / f"{one.title}_cal.fits")
        truth = fits.getdata(one.truth, "LIGHT") - SKY
        good = cal.dq == 0
        pull = (cal.data - truth)[good] / cal.err[good]

        # the scatter of χ² of 16,000 pixels is 0.011; one frame of the sky is in both frames
        assert np.mean(pull**2) == pytest.approx(1, abs=0.06)
        assert abs(pull.mean()) < 0.1


def test_stars_are_where_the_coordinates_say(watched, raw):
    folder, _ = watched
    for one in raw[0][1:]:
        stars = fits.getdata(one.truth, "CATALOG")
        x, y = wcs_of(models.open(folder / f"{one.title}_cal.fits")).world_to_pixel_values(
            stars["ra"], stars["dec"]
        )

        assert_allclose(np.hypot(x - stars["x"], y - stars["y"]), 0, atol=1e-5)  # pixel


def test_a_frame_through_a_folder_is_the_same(watched, raw, tmp_path):
    made, cache = raw
    (tmp_path / "reads").mkdir()
    with live(tmp_path, tmp_path / "reads", cache, "--no-page", "--exposures", 1) as watch:
        played = play(made[:1], watch.source, 0)
        watch.over()
    name = f"{made[0].title}_rop.fits"

    assert played.returncode == 0, played.stderr
    for plane in ("data", "err", "dq"):
        ours, theirs = (getattr(models.open(one / name), plane) for one in (tmp_path, watched[0]))
        np.testing.assert_array_equal(ours, theirs)


def test_ctrl_c_saves_what_there_is(raw, tmp_path):
    made, cache = raw
    with live(tmp_path, "tcp:0", cache, "--no-page", "--patience", 60) as watch:
        host, port = watch.source.removeprefix("tcp:").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as link:
            answers = [wire.send(link, one) for one in itertools.islice(reads_of(made[0].uncal), 6)]
            watch.process.send_signal(signal.SIGINT)
            report = watch.over()
    frame = models.open(tmp_path / f"{made[0].title}_rop.fits")

    assert answers == [wire.TAKEN] * 6
    assert (report["exposures"], report["reads"], report["lost"]) == (1, 6, READS - 6)
    assert any("is not in the frame" in line for line in frame.history)


# -- the page ------------------------------------------------------------------------------------


def test_the_page_follows_the_detector(browser, raw, tmp_path, evidence):
    made, cache = raw
    (tmp_path / "reads").mkdir()
    with live(tmp_path, tmp_path / "reads", cache, "--prepare", made[1].uncal) as watch:
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(watch.page)
        page.wait_for_selector("#picture[data-ready]")
        waiting = page.inner_text("#name")
        player = subprocess.Popen(
            [*COMMAND, "play", *(str(one.uncal) for one in made), "--to", watch.source,
             "--cadence", "0.25"], stdout=subprocess.DEVNULL,
        )  # fmt: skip
        page.wait_for_selector("#title:text-matches('[0-9] of 12 reads')")
        during = page.inner_text("#name"), page.inner_text("#states")
        player.wait(60)
        page.wait_for_selector(f"#name:has-text('{made[2].title}_cal.fits')")
        page.wait_for_selector("#picture[data-drawn*=' ']")
        files = page.locator("#file option").all_inner_texts()
        page.check("#cutting")
        page.fill("#place", "60, 70")
        page.press("#place", "Enter")
        page.wait_for_selector("#readout[data-x='60']")
        page.wait_for_selector("#cut[data-x='60'][data-y='70']")
        told = {
            name: float(page.get_attribute("#readout", f"data-{name}"))
            for name in ("value", "ra", "dec")
        }
        cut = [float(page.get_attribute("#cut", f"data-{name}")) for name in ("at", "up")]
        messages = page.inner_text("#count-told")
        page.screenshot(path=evidence / "iris-live.png")
    data = fits.getdata(tmp_path / f"{made[2].title}_cal.fits", "SCI")
    wcs = wcs_of(models.open(tmp_path / f"{made[2].title}_cal.fits"))

    assert waiting == "waiting for the first read"
    assert during[0] == "IMG1 live"
    assert "of 12 reads" in during[1]
    assert files[0] == "IMG1 live"
    assert len(files) == 6  # three raw frames and two reduced ones
    assert_allclose([told["value"], *cut], data[70, 60], rtol=1e-6)
    assert_allclose([told["ra"], told["dec"]], wcs.pixel_to_world_values(60, 70), atol=1e-9, rtol=0)
    assert int(messages) >= 5
    assert said == []
    assert all(url.startswith((watch.page, "data:")) for url in asked)


def test_the_page_is_for_whom_it_was_made_for(raw, tmp_path):
    with live(tmp_path, "tcp:0", raw[1]) as watch:
        with urllib.request.urlopen(watch.page) as answer:
            content = answer.read()
        host = watch.page.rsplit("/", 2)[0]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{host}/no-token/")
        refused.value.close()

    assert host.startswith("http://127.0.0.1:")
    assert b"waiting for the first read" in content
    assert refused.value.code == 404


# -- DS9 -----------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path):
    """A real SAMP hub on the loopback interface; yields its module and its lock file."""
    lock = tmp_path / "samp.lock"
    with warnings.catch_warnings():
        # Deprecated since astropy 8; the hub is the only one that pip brings. Its threads warn, too.
        warnings.simplefilter("ignore")
        from astropy import samp

        running = samp.SAMPHubServer(
            web_profile=False, lockfile=str(lock), mode="single", addr="127.0.0.1"
        )
        running.start()
        try:
            yield samp, lock
        finally:
            running.stop()


@pytest.mark.filterwarnings("ignore")
def test_frames_go_to_the_viewers_on_the_hub(hub, raw, tmp_path, monkeypatch):
    samp, lock = hub
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    made, cache = raw
    client = samp.SAMPIntegratedClient(name="a viewer", addr="127.0.0.1")
    client.connect()
    loaded = []

    def load(key, sender, message, mtype, params, extra):
        del key, mtype, extra
        loaded.append(params["url"])
        time.sleep(0.5)  # this hub loses an answer that comes before it has begun to wait
        client.reply(message, {"samp.status": "samp.ok", "samp.result": {}})
        del sender

    client.bind_receive_call("image.load.fits", load)
    try:
        with live(tmp_path, "tcp:0", cache, "--no-page", "--ds9", "--exposures", 2) as watch:
            play(made[:2], watch.source, 0)
            watch.over()
    finally:
        client.disconnect()

    # the newest product of the detector: a viewer that is slow may miss some before
    assert loaded[-1] == (tmp_path / f"{made[1].title}_cal.fits").as_uri() + "[SCI]" or (
        loaded[-1] == (tmp_path / f"{made[1].title}_rop.fits").as_uri() + "[SCI]"
    )
    assert any("sent to a viewer" in line for line in watch.said)
