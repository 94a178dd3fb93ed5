"""The tests with the oldest and the newest libraries that pyproject.toml allows: ``nox``."""

import re
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["newest", "oldest"]


@nox.session
def newest(session: nox.Session) -> None:
    """Install what is newest today."""
    session.install(".[test,demo]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """Install the lower bound of every requirement."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    pins = [re.sub(r">=", "==", requirement) + ".*" for requirement in project["dependencies"]]
    session.install(*pins, ".[test,demo]")
    session.run("python", "-m", "pytest", *session.posargs)
