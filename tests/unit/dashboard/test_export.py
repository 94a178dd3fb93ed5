"""The dashboard as a folder of files: every link leads to one of them."""

import re
from html import unescape
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("fastapi")

from lightmill.dashboard import export, running

HOSTILE = "<script>document.body.id='x'</script>\"'`&{{7*7}}..%2f.fits"


def test_an_empty_store_is_written(root, place, tmp_path):
    page = export(place, tmp_path / "kept", archive=root / "archive")

    assert page == tmp_path / "kept" / "index.html"
    assert "Nothing has arrived yet" in page.read_text()


def test_all_links_lead_to_files_of_the_folder(root, fill, tmp_path):
    raw = fill.dataset(HOSTILE, target=HOSTILE, program=HOSTILE[:40])
    task = fill.task(f"../../{HOSTILE}", [(HOSTILE, True)], state="DONE")
    job = fill.job(task)
    fill.made_of(job, raw)
    fill.dataset("../../b_i2d.fits", kind="product", job_id=job)
    folder = tmp_path / "kept"
    export(fill.place, folder, archive=root / "archive")

    pages = sorted(folder.rglob("*.html"))
    assert {page.relative_to(folder).parts[0] for page in pages} == {
        "index.html", "tasks.html", "datasets.html", "candidates.html", "jobs.html", "events.html",
        "tasks", "jobs", "datasets",
    }  # fmt: skip
    others = {one.name for one in tmp_path.iterdir() if not one.name.startswith("lightmill.db")}
    assert others == {"archive", "kept"}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "<form" not in text
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            parts = urlsplit(unescape(link))
            assert not parts.scheme
            assert not parts.netloc
            place = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert place.is_file(), (page, link)
            assert place.is_relative_to(folder)


def test_only_the_newest_have_pages_and_links(root, fill, tmp_path):
    made = [fill.dataset(f"x{n}_rate.fits") for n in range(5)]
    export(fill.place, tmp_path / "kept", archive=root / "archive", most=2)

    pages = {int(page.stem) for page in (tmp_path / "kept" / "datasets").iterdir()}
    assert pages == set(made[-2:])
    text = (tmp_path / "kept" / "datasets.html").read_text()
    assert "x4_rate.fits" in text
    assert "x1_rate.fits" not in text
    assert "a server shows them" in text
    overview = (tmp_path / "kept" / "index.html").read_text()
    assert "x1_rate.fits" in overview
    assert f"datasets/{made[1]}.html" not in overview


def test_a_server_ends_though_somebody_looks_on(app):
    import http.client
    import time

    pytest.importorskip("uvicorn")
    with running(app) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        connection.request("GET", "/api/events/stream")
        assert connection.getresponse().readline() == b"retry: 2000\n"
        began = time.monotonic()
    assert app.state.is_over
    assert app.state.streams == 0
    assert time.monotonic() - began < 60  # or it hangs
    connection.close()
