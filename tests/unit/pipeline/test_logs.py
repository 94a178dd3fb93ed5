import io
import json
import logging
import platform

import pytest

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.pipeline import logs

log = logging.getLogger("lightmill.test")


def test_messages_are_shown_and_collected_and_no_trace_is_left():
    root = logging.getLogger()
    ours = logging.getLogger("lightmill")
    before = list(root.handlers), root.level, list(ours.handlers), ours.level, ours.propagate
    shown = io.StringIO()

    with logs.configured(stream=shown) as collected:
        log.info("jump begins")
        log.debug("not shown")
        assert (root.handlers, root.level) == before[:2]

    assert shown.getvalue().endswith("lightmill.test - INFO - jump begins\n")
    assert len(collected.lines) == 1
    assert collected.events[0]["message"] == "jump begins"
    assert (list(root.handlers), root.level) == before[:2]
    assert (list(ours.handlers), ours.level, ours.propagate) == before[2:]


def test_events_are_json_with_what_came_with_them(tmp_path):
    path = tmp_path / "log.jsonl"

    with logs.configured(stream=None, file=path, json=True), logs.exposure("jw001"):
        log.warning("hot", extra={"step": "jump", "pixels": 3})

    event = json.loads(path.read_text())
    assert event["exposure"] == "jw001"
    assert (event["level"], event["step"], event["pixels"]) == ("WARNING", "jump", 3)


def test_a_message_at_the_break_level_stops_the_run():
    with (
        pytest.raises(logs.LoggedError, match="reference is old"),
        logs.configured(stream=None, break_level="WARNING"),
    ):
        log.warning("the reference is old")


def test_each_exposure_has_its_own_file(tmp_path):
    with logs.configured(stream=None):
        for name in ("a", "b"):
            with logs.exposure(name, tmp_path / f"{name}.log"):
                log.info("exposure %s", name)

    assert "exposure a" in (tmp_path / "a.log").read_text()
    assert "exposure b" not in (tmp_path / "a.log").read_text()


def test_the_old_configuration_file_is_read(tmp_path):
    path = tmp_path / "stpipe-log.cfg"
    path.write_text(
        "[*]\nhandler = file:run.log, stdout\nlevel = DEBUG\nbreak_level = ERROR\n"
        "format = '%(levelname)s %(message)s'\n"
    )

    arguments = logs.read_log_cfg(path)

    assert arguments == {
        "level": "DEBUG",
        "break_level": "ERROR",
        "format": "%(levelname)s %(message)s",
        "stream": "stdout",
        "file": ["run.log"],
    }


@pytest.mark.parametrize(
    "text", ["[*]\nlevl = INFO\n", "[jwst]\nlevel = INFO\n", "[*]\nhandler = syslog\n"]
)
def test_a_configuration_that_cannot_be_meant_is_refused(tmp_path, text):
    path = tmp_path / "log.cfg"
    path.write_text(text)

    with pytest.raises(UnknownNameError):
        logs.read_log_cfg(path)
    with pytest.raises(ConfigurationError):
        logs.read_log_cfg(tmp_path / "absent.cfg")


def test_a_misspelled_level_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="INFO"), logs.configured(level="INF"):
        pass


def test_a_file_is_appended_to_when_asked(tmp_path):
    path = tmp_path / "run.log"
    path.write_text("before\n")

    with logs.configured(stream=None, file=f"append:{path}"):
        log.info("after")

    assert path.read_text().startswith("before\n")
    assert "after" in path.read_text()


def test_the_platform_line_names_software_and_no_machine():
    line = logs.platform_line()

    assert platform.python_version() in line
    assert "numpy" in line
    assert platform.node() not in line
