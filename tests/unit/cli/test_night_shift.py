"""The demonstration's night: what the report says of the dashboard."""

import subprocess
import sys

import pytest

BOARD = """
import sys
sys.modules["fastapi"] = None  # as if it were not installed
from pathlib import Path
from lightmill.cli.night_shift import _board
print(_board(Path("site"), Path("dashboard")))
"""


def test_a_dashboard_that_cannot_be_written_is_said_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BOARD], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=True,
    )  # fmt: skip

    assert "'no_dashboard': 'fastapi'" in done.stdout
    assert "lightmill[server]" in done.stdout
    assert "no pages of the dashboard: fastapi is not installed" in done.stderr
    assert not (tmp_path / "dashboard").exists()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({}, None),
        ({"dashboard": "dashboard/index.html"}, 'href="dashboard/index.html"'),
        ({"no_dashboard": "fastapi", "remedy": "pip install x"}, "<code>fastapi</code> is not"),
    ],
)
def test_the_report_tells_of_the_dashboard(told, says):
    pytest.importorskip("jinja2")
    from lightmill.cli.report.page import _templates

    page = (
        _templates()
        .get_template("report.html.j2")
        .render(
            record=told, exposures=[], key_figures=[], sky=None, runs=[],
            references_of=lambda _: [], changed_of=lambda _: [],
        )
    )  # fmt: skip

    assert ("nobody did anything" in page) == (says is not None)
    assert says is None or says in page
