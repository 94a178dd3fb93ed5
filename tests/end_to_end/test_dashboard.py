"""The dashboard as people meet it: a night arrives, a job fails, and somebody retries it.

Most tests look at a store that is filled by hand; the last one at an observatory at work.

The pictures go to ``build/evidence`` (or where LIGHTMILL_EVIDENCE says).
"""

import hashlib
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="NO FASTAPI: pip install 'lightmill[server]'")

from astropy.io import fits
from sqlalchemy import insert, update

from lightmill.dashboard import Tokens, application, export, new_token, running
from lightmill.workflow.store import create_store, open_engine
from lightmill.workflow.store import tables as t
from tests.end_to_end import stand_in

HOSTILE = "<img src=x onerror='document.body.id=1'><script>document.body.id=1</script>.fits"

RECORD = {
    "outcomes": [{"status": "FAILED", "record": {
        "pipeline": "calwebb_image3", "context": "jwst_1234.pmap",
        "software": {"lightmill": "0.1.0"},
        "steps": [
            {"name": "tweakreg", "status": "PLANNED", "parameters": {
                "snr_threshold": {"value": 40.0, "origin": "command line"},
                "kernel_fwhm": {"value": 2.5, "origin": "default"}}},
            {"name": "source_catalog", "status": "PLANNED", "parameters": {},
             "references": {"apcorr": {"name": "jwst_niriss_apcorr_0008.fits"}}}]}}]
}  # fmt: skip


class Night:
    """A store that fills while somebody looks on."""

    def __init__(self, root):
        self.root, self.archive = root, root / "archive"
        self.now = time.time()
        create_store(root)
        self.engine = open_engine(root)

    def row(self, table, **values):
        with self.engine.begin() as connection:
            result = connection.execute(insert(table).values(**values))
            return result.inserted_primary_key[0]

    def event(self, kind, subject, number, **told):
        self.row(t.events, at=time.time(), kind=kind, subject=subject, subject_id=number, told=told)

    def dataset(self, name, content=b"", *, job=None, kind="exposure", at=None, target="NGC 1365"):
        """Put a file into archive and store, and say so."""
        digest = hashlib.sha256(name.encode() + content).hexdigest()
        path = f"1001/{digest[:8]}/1/{digest[:8]}.fits"
        if content:
            (self.archive / path).parent.mkdir(parents=True, exist_ok=True)
            (self.archive / path).write_bytes(content)
        number = self.row(
            t.datasets, name=name, revision=1, generation="2027-01-15", sha256=digest,
            size=len(content) or 8_390_000, path=path, kind=kind, program="1001", target=target,
            suffix=Path(name).stem.rpartition("_")[2][:8], state="CURRENT",
            facts={"filter": "F200W", "exposure": "1"}, job_id=job,
            arrived_at=self.now if at is None else at,
        )  # fmt: skip
        self.event("DatasetArrived", "dataset", number, name=name)
        return number

    def task(self, name, awaits, *, kind="image2", state="DONE", since=0.0, **values):
        number = self.row(
            t.tasks, identity=name, version=1, name=name, type=kind, level=2, pipeline=kind,
            program="1001", candidate="o001", target="NGC 1365", state=state,
            missing=sum(not there for there in awaits.values()), since_at=self.now - since,
            **values,
        )  # fmt: skip
        for file, there in awaits.items():
            self.row(t.awaited, task_id=number, name=file, role="science", is_present=there)
        self.event("TaskPlanned", "task", number, name=name, type=kind)
        return number

    def job(self, task, *, state="DONE", at=0.0, took=20.0, number=1, given=(), log="", **values):
        ended = None if state == "RUNNING" else self.now - at
        job = self.row(
            t.jobs, task_id=task, number=number, state=state, engine="local", handle="4242:77",
            queued_at=self.now - at - took - 4, started_at=self.now - at - took, ended_at=ended,
            exit_status={"DONE": 0, "FAILED": 3}.get(state), peak_mb=812.0, cpu_s=took * 0.8,
            memory_mb=1400.0, command=["lightmill", "run", "imaging2", "in/a_asn.json"], **values,
        )  # fmt: skip
        for dataset in given:
            self.row(t.inputs, job_id=job, dataset_id=dataset)
        folder = self.root / "jobs" / str(job)
        folder.mkdir(parents=True)
        if log:
            (folder / "log.txt").write_text(log)
            (folder / "record.json").write_text(json.dumps(RECORD))
        return job

    def set(self, table, number, **values):
        with self.engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == number).values(**values))


def galaxy():
    """A FITS product with a galaxy, stars and noise."""
    y, x = np.mgrid[-300:300, -350:350]
    rng = np.random.default_rng(3)
    image = rng.normal(0.2, 0.02, x.shape)
    radius, angle = np.hypot(x, y * 1.5), np.arctan2(y * 1.5, x)
    arms = 1 + 0.7 * np.cos(2 * angle - 6 * np.log(radius + 8))
    image += 3 * np.exp(-radius / 70) * arms
    for _ in range(90):
        px, py, flux = rng.uniform(-340, 340), rng.uniform(-290, 290), 10 ** rng.uniform(-1, 1.5)
        image += flux * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / 1.4**2)
    image[:6] = np.nan
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image.astype(np.float32), name="SCI")])
    hdus[0].header.update(DATAMODL="CalModel", TARGNAME="NGC 1365")
    hdus[1].header.update(
        CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=53.4015, CRVAL2=-36.1404, CRPIX1=350.0,
        CRPIX2=300.0, CD1_1=-1.7e-5, CD1_2=5e-6, CD2_1=5e-6, CD2_2=1.7e-5,
    )  # fmt: skip
    from io import BytesIO

    stream = BytesIO()
    hdus.writeto(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night half over: some is done, one job failed, one runs, one task waits."""
    one = Night(tmp_path_factory.mktemp("night") / "observatory")
    raws, rates = [], []
    for number in range(6):
        raw = one.dataset(f"lm1001_{number}_uncal.fits", at=one.now - 5400 + number * 500)
        task = one.task(f"lm1001_{number}_uncal.fits", {f"lm1001_{number}_uncal.fits": True},
                        kind="exposure")  # fmt: skip
        job = one.job(task, at=5300 - number * 500, took=12 + 9 * number, given=[raw])
        raws.append(raw)
        rates.append(
            one.dataset(f"lm1001_{number}_rate.fits", galaxy(), job=job, kind="product",
                        at=one.now - 5290 + number * 500)
        )  # fmt: skip
    names = {f"lm1001_{number}_rate.fits": True for number in range(4)}
    task = one.task("lm1001_o001_image3_asn.json", names, kind="image3")
    job = one.job(task, at=900, took=140, given=rates[:4])
    one.product = one.dataset("lm1001_o001_i2d.fits", galaxy(), job=job, kind="product",
                              at=one.now - 890)  # fmt: skip
    one.failed = one.task("lm1001_o002_image3_asn.json", names, kind="image3", state="FAILED",
                          since=700, attempts=3, reason="exit status 3: no stars to align on")  # fmt: skip
    for number in (1, 2, 3):
        one.job(one.failed, state="FAILED", at=1000 - 100 * number, number=number,
                given=rates[2:], reason="exit status 3: no stars to align on",
                log="align_images: 4 images\nerror: no stars to align on\n")  # fmt: skip
    running_ = one.task("lm1001_5_cal_asn.json", {"lm1001_5_rate.fits": True}, state="RUNNING")
    one.job(running_, state="RUNNING", given=rates[5:])
    one.waiting = one.task(
        "lm1001_o003_image3_asn.json",
        {"lm1001_5_rate.fits": True, "lm1001_6_rate.fits": False, "lm1001_7_rate.fits": False},
        kind="image3", state="WAITING", since=1500,
    )  # fmt: skip
    one.hostile = one.dataset(HOSTILE, target=HOSTILE)
    yield one
    one.engine.dispose()


@pytest.fixture(scope="module")
def acts():
    """What operators asked for."""
    return []


@pytest.fixture(scope="module")
def address(night, browser, acts):
    """The dashboard, running."""
    del browser  # skip before anything is started

    def act(task, action, told, who):
        acts.append((task, action, told, who))
        night.set(t.tasks, task, state="READY", reason="an operator asked for it")
        night.event("TaskRetry", "task", task, **{"from": "FAILED", "to": "READY"})

    app = application(
        night.root, archive=night.archive, tokens=Tokens(night.root), act=act, pause=0.1,
        title="Observatory at night",
    )  # fmt: skip
    with running(app) as url:
        yield url
    app.state.questions.close()


class Page:
    """A page that is looked at, and everything it said and asked."""

    def __init__(self, browser, address, path="/", **settings):
        settings = {"viewport": {"width": 1280, "height": 900}, **settings}
        self.address = address
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.said, self.asked, self.expected = [], [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.go(path)

    def go(self, path):
        self.page.goto(self.address + path)

    def live(self):
        """Wait until the page hears of events, and has been read again once."""
        self.page.wait_for_selector("#live.on")

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def is_wider_than_the_screen(self):
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.fixture
def look(browser, address):
    """Open pages; at the end they must have said nothing, and asked nobody else."""
    opened = []

    def opening(path="/", **settings):
        opened.append(Page(browser, address, path, **settings))
        return opened[-1]

    yield opening
    for one in opened:
        one.context.close()
    for one in opened:
        assert one.said == one.expected  # no error, no warning, no dialog
        assert all(url.startswith((address, "data:")) for url in one.asked)


def test_a_night_is_watched_as_it_arrives(look, night, evidence):
    seen = look()
    seen.live()
    page = seen.page
    before = int(seen.text("[data-count='datasets-CURRENT']"))
    assert seen.text("[data-count='tasks-WAITING']") == "1"
    assert "lm1001_6_rate.fits, lm1001_7_rate.fits" in seen.text("#waiting")

    number = night.dataset("lm1001_6_rate.fits", galaxy(), kind="product")
    with night.engine.begin() as connection:
        connection.execute(
            update(t.awaited).where(t.awaited.c.name == "lm1001_6_rate.fits")
            .values(is_present=True)
        )  # fmt: skip
    night.set(t.tasks, night.waiting, missing=1)
    night.event("TaskArrived", "task", night.waiting, name="lm1001_6_rate.fits")

    page.wait_for_selector(f"[data-count='datasets-CURRENT']:text-is('{before + 1}')")
    page.wait_for_selector("#waiting:not(:has-text('lm1001_6_rate.fits'))")
    assert "lm1001_7_rate.fits" in seen.text("#waiting")
    assert page.locator(f"#arrivals a[href='/datasets/{number}']").count() == 1
    page.screenshot(path=evidence / "dashboard-overview.png", full_page=True)


def test_a_failed_job_is_opened_and_retried(look, night, acts, evidence):
    token = new_token(night.root, "operate", "Ada")
    seen = look()
    page = seen.page
    page.click("#failed >> text=lm1001_o002_image3_asn.json")
    assert "no stars to align on" in seen.text("#jobs details[open] .log")
    assert "lightmill run imaging2" in seen.text("#jobs details[open] .command")
    assert "snr_threshold = 40.0" in seen.text("#jobs details[open] .steps")
    assert page.locator("button >> text=Retry").count() == 0

    page.click("#actions >> text=Log in")
    page.fill("input[name=token]", token)
    page.click("button >> text=Log in")
    page.wait_for_selector(".who >> text=Ada")
    page.screenshot(path=evidence / "dashboard-failed.png", full_page=True)
    page.click("button >> text=Retry")

    page.wait_for_selector("#head .state.ready")
    assert acts == [(night.failed, "retry", {}, "Ada")]
    assert page.locator("button >> text=Retry").count() == 0
    cookies = page.context.cookies()
    assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
    page.click("text=Log out")
    page.wait_for_selector(".who >> text=Log in")


def test_a_preview_and_a_lineage_are_looked_at(look, night, evidence):
    seen = look(f"/datasets/{night.product}", color_scheme="dark")
    page = seen.page
    page.locator(".preview img").evaluate("image => image.decode()")
    size = page.evaluate(
        "(({naturalWidth, naturalHeight}) => [naturalWidth, naturalHeight])"
        "(document.querySelector('.preview img'))"
    )
    assert size == [700, 600]
    assert page.locator("#lineage a").count() == 9  # itself, four rates, four exposures
    page.screenshot(path=evidence / "dashboard-dataset.png", full_page=True)

    page.click("#lineage a:has-text('lm1001_2_rate.fits')")
    assert page.locator("h1").inner_text().startswith("lm1001_2_rate.fits")


def test_hostile_names_are_shown_and_do_nothing(look, night):
    for path in ("/", "/datasets", f"/datasets/{night.hostile}", "/events"):
        seen = look(path)
        seen.live()
        assert seen.page.evaluate("document.body.id") == ""
        assert HOSTILE in seen.page.locator("main").inner_text()
        if "/datasets/" in path:  # its file is not in the archive: there is no preview
            seen.expected = [text for text in seen.said if "404" in text]
            assert len(seen.expected) == 1


def test_a_phone_shows_all_pages(look, night, evidence):
    seen = look(viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True,
                has_touch=True)  # fmt: skip
    for path in ("/", "/tasks", "/datasets", "/jobs", "/candidates", "/events", "/login",
                 f"/tasks/{night.failed}", f"/datasets/{night.product}"):  # fmt: skip
        seen.go(path)
        assert not seen.is_wider_than_the_screen(), path
        if path in {"/", f"/tasks/{night.failed}"}:
            name = f"dashboard-phone{'-task' * (path != '/')}.png"
            seen.page.screenshot(path=evidence / name, full_page=True)


def test_everything_works_without_a_script(look):
    seen = look(java_script_enabled=False)
    seen.page.click("text=tasks >> nth=0")
    seen.page.fill("input[name=name]", "o003")
    seen.page.click("button >> text=Search")
    assert "lm1001_o003_image3_asn.json" in seen.text("#list")
    assert "lm1001_o002" not in seen.text("#list")
    seen.page.click("#list >> text=lm1001_o003_image3_asn.json")
    assert "lm1001_7_rate.fits" in seen.text("#watch")


def test_a_night_is_kept_as_a_folder_of_files(browser, night, evidence, tmp_path):
    page = export(night.root, tmp_path / "kept", archive=night.archive, title="A night that was")

    seen = Page(browser, page.as_uri(), "")
    assert seen.page.locator("#failed, #arrivals, #rates").count() == 3
    seen.page.click("#arrivals >> text=lm1001_5_rate.fits")
    seen.page.locator(".preview img").evaluate("image => image.decode()")
    seen.page.click("nav >> text=tasks")
    seen.page.click("text=lm1001_o003_image3_asn.json")
    assert seen.page.locator("#watch").count() == 1
    seen.page.click(".brand")
    seen.page.screenshot(path=evidence / "dashboard-export.png")
    assert seen.said == []
    assert all(url.startswith((tmp_path / "kept").as_uri()) for url in seen.asked)
    seen.context.close()


class Clouded(stand_in.StandIn):
    """Cannot stack while there are clouds."""

    def __init__(self, sky):
        super().__init__(pause=0.05)
        self.clouds = sky / "clouds"

    def command(self, job, folder):
        words, need = super().command(job, folder)
        if job.pipeline == "stage3" and self.clouds.exists():
            return [sys.executable, "-c", "print('no star is seen'); raise SystemExit(3)"], need
        return words, need


@pytest.fixture
def observatory(browser, tmp_path, monkeypatch):
    """An observatory at work, with its real service and engine, and its dashboard's address."""
    del browser
    from lightmill.cli.ops.serving import _acting

    root, inbox = tmp_path / "site", tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "clouds").touch()
    create_store(root)
    monkeypatch.setattr(stand_in, "StandIn", lambda _: Clouded(tmp_path))
    service = stand_in.service_of(root)
    is_over = threading.Event()
    working = threading.Thread(
        target=lambda: service.run(is_over=is_over.is_set, pause=0.02), daemon=True
    )
    working.start()
    app = application(
        root, archive=root / "archive", tokens=Tokens(root), act=_acting(service.store), pause=0.1
    )
    with running(app) as url:
        yield url, root
    is_over.set()
    working.join(60)
    app.state.questions.close()
    assert not working.is_alive()


def test_an_observatory_at_work_is_watched_and_helped(browser, observatory, tmp_path):
    address, root = observatory
    seen = Page(browser, address)
    page = seen.page
    assert "Nothing has arrived yet" in seen.text("#arrivals")
    seen.live()

    for number in (1, 2, 3):  # nobody reloads the page
        stand_in.delivered(tmp_path / "inbox", f"p1-a-{number}")
        page.wait_for_selector(f"#arrivals >> text=p1-a-{number}_uncal.txt")
    page.wait_for_selector("[data-count='tasks-DONE']:text-is('6')")
    page.click("#failed >> text=p1-a")
    assert "no star is seen" in seen.text("#jobs details[open] .log")
    assert page.request.post(page.url + "/retry").status == 401  # nobody is logged in

    (tmp_path / "clouds").unlink()
    page.click("#actions >> text=Log in")
    page.fill("input[name=token]", new_token(root, "operate", "Ada"))
    page.keyboard.press("Enter")
    page.click("button >> text=Retry")
    page.wait_for_selector("#head .state.done")
    page.wait_for_selector("#story >> text=Ada")
    page.click("#jobs >> text=p1-a_i2d.txt >> nth=0")
    assert page.locator("#lineage a").count() == 1 + 3 * 3  # the stack, and three stages of three

    seen.context.close()
    assert [text for text in seen.said if "401" not in text] == []
