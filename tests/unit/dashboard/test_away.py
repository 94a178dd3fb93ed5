"""A store that cannot be reached: pages say so, and name neither its place nor its password."""

import pytest

pytest.importorskip("fastapi", reason="NO FASTAPI: pip install 'lightmill[server]'")

from lightmill.dashboard import Tokens, application
from lightmill.workflow.patience import Unavailable

AWAY = "postgresql://pipeline:secret@127.0.0.1:1/nowhere"


@pytest.fixture
def away(root):
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgresql`")
    made = application(
        AWAY, archive=root / "archive", tokens=Tokens(root), pause=0.01, title="test"
    )
    yield made
    made.state.questions.close()


@pytest.mark.parametrize("path", ["/", "/tasks", "/api/tasks"])
def test_pages_say_that_the_store_is_away(browsers, away, path):
    answer = browsers(away).ask(path)

    assert answer.status == 503
    assert "nothing is lost" in answer.text
    assert "secret" not in answer.text
    assert "nowhere" not in answer.text


def test_a_stream_ends_when_the_store_goes_away(app, browser, monkeypatch):
    def goes(*_):
        raise Unavailable("the store is away")

    monkeypatch.setattr(app.state.questions, "events_after", goes)

    answer = browser.ask("/api/events/stream?after=0")

    assert answer.status == 200
    assert app.state.streams == 0
