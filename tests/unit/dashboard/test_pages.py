"""Pages and interface over stores that are empty, full, and hostile."""

import json
import re
from html.parser import HTMLParser

import pytest

pytest.importorskip("fastapi")

from lightmill.dashboard.render import TEMPLATES
from lightmill.workflow.states import TaskState
from lightmill.workflow.store import tables as t

NOW = 1_800_000_000.0
HOSTILE = "<script>document.body.id='x'</script>\"'`&{{7*7}}..%2f.fits"
PAGES = ["/", "/?by=hour", "/tasks", "/datasets", "/candidates", "/jobs", "/events", "/login"]
INTERFACE = [
    "/api/status", "/api/tasks", "/api/datasets", "/api/candidates", "/api/jobs",
    "/api/events?after=0", "/api/rates/minute", "/api/rates/hour", "/metrics", "/health",
    "/openapi.json",
]  # fmt: skip


@pytest.fixture
def night(fill):
    """A task that failed and one that waits, a product, its input."""
    raw = fill.dataset(HOSTILE, target=HOSTILE, program="p'\"<b>")
    failed = fill.task(f"{HOSTILE}.json", [(HOSTILE, True), ("../../etc/passwd", False)],
                       state="FAILED", reason=HOSTILE, target=HOSTILE)  # fmt: skip
    job = fill.job(failed, state="FAILED", reason=HOSTILE, handle=HOSTILE, exit_status=3,
                   command=["lightmill", "run", HOSTILE])  # fmt: skip
    fill.made_of(job, raw)
    done = fill.task("b_asn.json", [(HOSTILE, True)], state="DONE")
    ended = fill.job(done)
    fill.made_of(ended, raw)
    product = fill.dataset("../b_i2d.fits", kind="product", suffix="i2d", job_id=ended)
    folder = fill.root / "jobs" / str(job)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(f"\x1b[31mred\x1b[0m\x00 {HOSTILE}\nlast line\n")
    waiting = fill.task("c_asn.json", [("late_rate.fits", False)])
    return {"raw": raw, "failed": failed, "job": job, "product": product, "waiting": waiting}


@pytest.mark.parametrize("path", PAGES + INTERFACE)
def test_an_empty_store_has_all_its_pages(browser, path):
    assert browser.ask(path).status == 200


@pytest.mark.usefixtures("night")
@pytest.mark.parametrize("path", PAGES + INTERFACE)
def test_a_hostile_store_has_all_its_pages(browser, path):
    assert browser.ask(path).status == 200


@pytest.mark.parametrize("what", ["task", "dataset", "job"])
def test_what_is_not_there_is_said_so(browser, what):
    for number in ("1", "0", "-1", "99999999999999999999", "9223372036854775807", "x", "1e3", "²"):
        assert browser.ask(f"/{what}s/{number}").status == 404
        answer = browser.ask(f"/api/{what}s/{number}", accept="application/json")
        assert answer.status == 404
        assert answer.json["status"] == 404


def test_hostile_text_is_shown_and_does_nothing(browser, night):
    for path in ("/", "/tasks", "/datasets", "/jobs", "/events", f"/tasks/{night['failed']}",
                 f"/jobs/{night['job']}", f"/datasets/{night['raw']}",
                 f"/datasets/{night['product']}"):  # fmt: skip
        text = browser.ask(path).text
        assert "<script>document" not in text
        assert "<b>" not in text.replace("<b>", "", 0) or "p'\"<b>" not in text
        assert "49" not in re.findall(r"\{\{7\*7\}\}|&#39;49", text)  # no template within
        assert "&lt;script&gt;" in text or path == f"/datasets/{night['product']}"
        assert " onerror" not in text
        assert "javascript:" not in text


def test_no_page_has_a_script_or_a_style_of_its_own(browser, night):
    for path in (*PAGES, f"/tasks/{night['failed']}", f"/datasets/{night['product']}"):
        answer = browser.ask(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert re.findall(r"<script[^>]*>", answer.text) == ['<script src="/static/live.js" defer>']
        assert " style=" not in answer.text
        assert "<style" not in answer.text
        assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text)


class Heard(HTMLParser):
    """What a screen reader makes of a page, as far as it can be counted."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.ids, self.unnamed, self.labels = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.labels += tag == "label"
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        is_shown = given.get("type") != "hidden" and "hidden" not in given
        is_named = self.labels or "aria-label" in given
        if tag in {"input", "select"} and is_shown and not is_named:
            self.unnamed.append(given)
        if (tag == "img" and "alt" not in given) or (tag == "svg" and not _is_told(given)):
            self.unnamed.append(given)

    def handle_endtag(self, tag):
        self.labels -= tag == "label"


def _is_told(given):
    return "aria-label" in given or given.get("aria-hidden") == "true"


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_pages_can_be_read_aloud(operator, night):
    for path in (*PAGES, f"/tasks/{night['failed']}", f"/jobs/{night['job']}",
                 f"/datasets/{night['raw']}", f"/datasets/{night['product']}", "/nowhere"):  # fmt: skip
        text = operator.ask(path).text
        heard = Heard(text)
        assert '<html lang="en">' in text
        assert heard.unnamed == [], path
        assert len(set(heard.ids)) == len(heard.ids), path
        assert heard.headings.count(1) == 1, path
        levels = [1, *heard.headings]
        jumps = [b - a for a, b in zip(levels, heard.headings, strict=False)]
        assert max(jumps) <= 1, (path, heard.headings)


def test_every_template_shows_escaped_text():
    for path in TEMPLATES.glob("*.j2"):
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text(encoding="utf-8")), path.name


def test_a_task_tells_its_story(browser, night):
    task = browser.ask(f"/api/tasks/{night['failed']}").json

    assert [(one["name"], one["is_present"]) for one in task["awaited"]] == [
        ("../../etc/passwd", False),
        (HOSTILE, True),
    ]
    assert task["awaited"][1]["dataset_id"] == night["raw"]
    assert task["actions"] == ["retry", "reprocess", "hold", "priority", "cancel"]
    assert task["guarantee"] == TaskState.FAILED.guarantee
    (job,) = task["jobs"]
    assert job["log"] == f"red\N{REPLACEMENT CHARACTER} {HOSTILE}\nlast line\n"
    assert job["again"].startswith("cd ")
    assert [row["id"] for row in job["inputs"]] == [night["raw"]]
    assert job["products"] == []
    assert [one["kind"] for one in task["events"]] == ["TaskPlanned"]


def test_a_command_to_reproduce_cannot_do_more_than_it_did(browser, night, tmp_path):
    import shlex

    again = browser.ask(f"/api/jobs/{night['job']}").json["again"]

    words = shlex.split(again)
    assert words == ["cd", str(tmp_path / "jobs" / str(night["job"])), "&&", "lightmill", "run",
                     HOSTILE]  # fmt: skip


def test_lineage_goes_both_ways_and_is_drawn(browser, night):
    found = browser.ask(f"/api/datasets/{night['raw']}").json["lineage"]

    assert {node["id"]: node["depth"] for node in found["nodes"]} == {
        night["raw"]: 0,
        night["product"]: 1,
    }
    assert [edge[:2] for edge in found["edges"]] == [[night["raw"], night["product"]]]
    back = browser.ask(f"/api/datasets/{night['product']}").json["lineage"]
    assert {node["id"]: node["depth"] for node in back["nodes"]} == {
        night["raw"]: -1,
        night["product"]: 0,
    }
    assert f'<a href="/datasets/{night["raw"]}">' in browser.ask(
        f"/datasets/{night['product']}"
    ).text  # fmt: skip


def test_lineage_is_bounded(fill, app):
    from lightmill.dashboard.lineage import lineage

    first = last = fill.dataset("d0_rate.fits")
    for number in range(1, 30):
        job = fill.job(fill.task(f"t{number}"))
        fill.made_of(job, last)
        last = fill.dataset(f"d{number}_rate.fits", job_id=job)
    wide = fill.job(fill.task("wide"))
    fill.made_of(wide, *[fill.dataset(f"w{n}_rate.fits") for n in range(40)])
    product = fill.dataset("wide_i2d.fits", job_id=wide)

    deep = lineage(app.state.questions, first, depth=8)
    broad = lineage(app.state.questions, product, most=20)

    assert (len(deep.nodes), deep.is_cut) == (9, True)
    assert (len(broad.nodes), broad.is_cut) == (20, True)
    assert len(lineage(app.state.questions, last, depth=100, most=1000).nodes) == 30


def test_lists_go_on_where_they_ended(fill, browser):
    made = [fill.dataset(f"x{n:03d}_rate.fits") for n in range(7)]
    seen, path = [], "/api/datasets?limit=3"
    pages = []
    while path:
        answer = browser.ask(path).json
        pages.append(answer)
        seen += [row["id"] for row in answer["rows"]]
        path = f"/api/datasets?limit=3&before={answer['older']}" if answer["older"] else ""

    assert seen == made[::-1]
    assert [len(page["rows"]) for page in pages] == [3, 3, 1]
    back = browser.ask(f"/api/datasets?limit=3&after={pages[2]['newer']}").json
    assert back["rows"] == pages[1]["rows"]
    assert (back["older"], back["newer"]) == (pages[1]["older"], pages[1]["newer"])
    newest = browser.ask(f"/api/datasets?limit=3&after={back['newer']}").json
    assert newest["rows"] == pages[0]["rows"]
    assert newest["newer"] is None


def test_lists_are_searched(fill, browser):
    fill.dataset("one_rate.fits", program="p1", target="M 51", arrived_at=1000.0)
    fill.dataset("two%_rate.fits", program="p2", target="NGC 1", state="CONFLICT", kind="product")
    fill.task("t1", type="image3", state="FAILED")
    fill.job(fill.task("t2", program="p9"), state="RUNNING")

    def names(query):
        return [row["name"] for row in browser.ask(f"/api/{query}").json["rows"]]

    assert names("datasets?program=p2") == ["two%_rate.fits"]
    assert names("datasets?target=ngc") == ["two%_rate.fits"]
    assert names("datasets?name=%25") == ["two%_rate.fits"]  # a per cent sign, not anything
    assert names("datasets?name=E_RATE") == ["one_rate.fits"]
    assert names("datasets?state=conflict&kind=product") == ["two%_rate.fits"]
    assert names("datasets?until=1970-01-01") == ["one_rate.fits"]
    assert names("datasets?since=1001") == ["two%_rate.fits"]
    assert names("tasks?kind=image3&state=FAILED") == ["t1"]
    assert names("jobs?program=p9&state=RUNNING") == ["t2"]
    assert names("datasets?name=%00two") == ["two%_rate.fits"]


@pytest.mark.parametrize("query", ["before=x", "after=-1", "limit=1e9", "since=yesterday",
                                   "until=9999-99-99", "before=99999999999999999999"])  # fmt: skip
def test_questions_that_make_no_sense_are_refused(browser, query):
    assert browser.ask(f"/tasks?{query}").status == 400
    answer = browser.ask(f"/api/tasks?{query}", accept="*/*")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")


def test_an_sql_sentence_is_only_a_name(fill, browser):
    fill.dataset()
    answer = browser.ask("/api/datasets?name=%27%3B+DROP+TABLE+datasets%3B--&program=%27+OR+1%3D1")

    assert answer.json["rows"] == []
    assert browser.ask("/api/status").json["datasets"] == {"CURRENT": 1}


def test_the_store_cannot_be_written_from_here(app):
    from sqlalchemy import insert
    from sqlalchemy.exc import DBAPIError

    from lightmill.workflow.store import tables as t

    with (
        app.state.questions.engine.connect() as connection,
        pytest.raises(DBAPIError, match=r"read-?only"),
    ):
        connection.execute(insert(t.settings).values(name="a", value=1))


def test_a_log_that_is_a_link_is_not_followed(fill, browser, tmp_path):
    job = fill.job(fill.task(), state="FAILED")
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "jobs" / str(job)
    folder.mkdir(parents=True)
    (folder / "log.txt").symlink_to(tmp_path / "secret")

    assert browser.ask(f"/api/jobs/{job}").json["log"] is None
    assert browser.ask(f"/api/jobs/{job}/log").status == 404


def test_a_long_log_is_shown_from_its_end(fill, browser, tmp_path):
    job = fill.job(fill.task(), state="FAILED")
    folder = tmp_path / "jobs" / str(job)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("".join(f"line {n}\n" for n in range(20_000)))

    log = browser.ask(f"/api/jobs/{job}").json["log"]

    assert log.endswith("line 19999\n")
    assert log.startswith("line ")
    assert len(log) <= 64 << 10
    assert browser.ask(f"/api/jobs/{job}/log").text.startswith("line 0\n")


RECORD = {
    "outcomes": [{"status": "FAILED", "record": {
        "pipeline": "calwebb_image2", "context": "c_1.pmap", "software": {"lightmill": "0.1.0"},
        "steps": [
            {"name": "photom", "status": "COMPLETE", "wall_s": 0.25,
             "parameters": {"inverse": {"value": False, "origin": "default"}},
             "references": {"photom": {"name": "photom_1.fits"}}},
            {"name": "resample", "status": "PLANNED",
             "parameters": {"pixfrac": {"value": 0.7, "origin": HOSTILE},
                            "kernel": {"value": HOSTILE, "origin": "command line"}}},
            {"name": HOSTILE, "status": "SKIPPED", "reason": HOSTILE}]}}]
}  # fmt: skip


def write_record(fill, job, content):
    folder = fill.root / "jobs" / str(job)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(content)


def test_a_job_tells_with_which_parameters_it_ran_or_would_have(fill, browser):
    task = fill.task(state="FAILED")
    first, last = (fill.job(task, number, state="FAILED") for number in (1, 2))
    for job in (first, last):
        write_record(fill, job, json.dumps(RECORD))

    photom, resample, _ = browser.ask(f"/api/jobs/{last}").json["record"]["steps"]
    assert (photom["usual"], photom["references"]) == (
        [["inverse", "false", "default"]],
        [["photom", "photom_1.fits"]],
    )
    assert resample["chosen"][0] == ["pixfrac", "0.7", HOSTILE]
    assert resample["wall_s"] is None
    jobs = browser.ask(f"/api/tasks/{task}").json["jobs"]
    assert [one["record"] is None for one in jobs] == [False, True]  # of the newest alone
    for path in (f"/tasks/{task}", f"/jobs/{last}"):
        text = browser.ask(path).text
        assert "pixfrac = 0.7" in text
        assert "photom_1.fits" in text
        assert "<script>document" not in text


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"outcomes": []}', '{"outcomes": [3]}', '{"outcomes": [{}, {}]}',
     '{"outcomes": [{"record": {"steps": 3}}]}', '{"outcomes": [{"record": {"steps": ["a"]}}]}',
     '{"outcomes": [{"record": {"steps": [{"parameters": [1]}]}}]}', "[" * 100_000,
     '{"outcomes": [{"record": {"steps": [{"parameters": {"a": null}}]}}]}'],
)  # fmt: skip
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_record_that_is_none_is_not_shown(fill, browser, content):
    job = fill.job(fill.task(state="FAILED"), state="FAILED")
    write_record(fill, job, content)

    assert browser.ask(f"/api/jobs/{job}").json["record"] is None
    assert browser.ask(f"/jobs/{job}").status == 200


@pytest.mark.usefixtures("night")
def test_metrics_are_what_prometheus_reads(browser):
    answer = browser.ask("/metrics")

    lines = answer.text.splitlines()
    assert 'lightmill_tasks{state="FAILED"} 1' in lines
    assert 'lightmill_jobs{state="RUNNING"} 0' in lines
    assert 'lightmill_job_seconds_bucket{le="+Inf"} 1' in lines
    assert 'lightmill_job_seconds_bucket{le="20"} 0' in lines
    assert 'lightmill_job_seconds_bucket{le="50"} 1' in lines
    assert all(re.fullmatch(r"# (HELP|TYPE) .+|[a-z_]+(\{.+\})? [0-9.]+", line) for line in lines)


@pytest.mark.usefixtures("night")
def test_what_waits_and_what_runs_is_on_the_overview(fill, browser):
    job = fill.job(fill.task("r_asn.json", state="RUNNING"), state="RUNNING", ended_at=None)
    (fill.root / "jobs" / str(job)).mkdir(parents=True)
    (fill.root / "jobs" / str(job) / "worker.json").write_text(json.dumps({"host": "node-7"}))

    text = browser.ask("/").text

    assert "late_rate.fits" in text
    assert "node-7" in text
    assert "r_asn.json" in text


def test_candidates_that_lack_exposures_are_on_the_overview(fill, browser):
    about = {"program": "p1", "changed_at": NOW - 600, "is_dirty": False}
    for name, present, expected in (("o001", 4, 4), ("o002", 3, 4), ("o003", 7, None)):
        fill.row(t.candidates, name=name, present=present, expected=expected,
                 state="GIVEN_UP", **about)  # fmt: skip

    waiting = browser.ask("/").text.partition('<section id="waiting"')[2].partition("</section>")[0]

    assert "3 of 4" in waiting
    assert "given up" in waiting
    assert "o001" not in waiting
    assert "o003" not in waiting


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # PostgreSQL takes no such number
def test_numbers_that_are_none_are_told_as_null(fill, browser):
    number = fill.event("FileRefused", "store", None, size=float("nan"))

    (event,) = browser.ask(f"/api/events?after={number - 1}").json["events"]

    assert event["told"] == {"size": None}
