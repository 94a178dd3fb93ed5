"""Events as they happen, and after an interruption."""

import json
import threading

import pytest

pytest.importorskip("fastapi")

from lightmill.workflow.store.following import Follower


def told(text):
    """Return the numbers of the events in a stream, and what each told."""
    found = []
    for message in text.split("\n\n"):
        lines = dict(
            line.split(": ", 1) for line in message.splitlines() if not line.startswith(":")
        )
        if "id" in lines:
            row = json.loads(lines["data"])
            assert str(row["seq"]) == lines["id"]
            found.append(row)
    return found


def test_a_stream_goes_on_after_the_last_event_that_was_heard(fill, browser):
    numbers = [fill.event("TaskPlanned", "task", n, name=f"line\nbreak {n}") for n in range(1, 6)]

    answer = browser.ask(
        "/api/events/stream", last_event_id=str(numbers[1]),
        until=lambda text: f"id: {numbers[-1]}\n" in text,
    )  # fmt: skip

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [row["seq"] for row in told(answer.text)] == numbers[2:]
    assert told(answer.text)[0]["told"] == {"name": "line\nbreak 3"}
    assert answer.text.startswith("retry: 2000\n\n")


def test_the_query_says_it_too(fill, browser):
    numbers = [fill.event("TaskPlanned", "task", n) for n in range(3)]

    answer = browser.ask("/api/events/stream?after=0", until=lambda text: text.count("id: ") == 3)

    assert [row["seq"] for row in told(answer.text)] == numbers


def test_a_new_stream_begins_now(fill, browser):
    fill.event("TaskPlanned", "task", 1)
    later = threading.Timer(0.3, lambda: fill.event("TaskStarted", "task", 1))
    later.start()

    answer = browser.ask("/api/events/stream", until=lambda text: "id: " in text)

    later.join()
    assert [row["kind"] for row in told(answer.text)] == ["TaskStarted"]


def test_a_stream_that_is_left_is_forgotten(fill, app, browser):
    fill.event("TaskPlanned", "task", 1)
    browser.ask("/api/events/stream?after=0", until=lambda text: "id: " in text)

    assert app.state.streams == 0


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30])
def test_what_is_no_number_of_an_event_is_refused(browser, last):
    assert browser.ask("/api/events/stream", last_event_id=last).status == 400


def test_events_come_in_pages(fill, browser):
    numbers = [fill.event("TaskPlanned", "task", n) for n in range(1, 8)]
    seen, after = [], 0
    while found := browser.ask(f"/api/events?after={after}&limit=3").json["events"]:
        seen += [row["seq"] for row in found]
        after = found[-1]["seq"]

    assert seen == numbers


def test_an_event_that_is_seen_late_is_told(fill, app):
    # two processes write: the numbers are given before the transactions end
    from lightmill.workflow.store import tables as t

    def event(seq):
        fill.row(t.events, seq=seq, at=0.0, kind="k", subject="task", told={})

    event(10)
    follower = Follower(app.state.questions.events_after, 5)
    assert [row["seq"] for row in follower.new()] == [10]
    event(12)
    event(9)
    assert [row["seq"] for row in follower.new()] == [9, 12]
    assert follower.new() == []
