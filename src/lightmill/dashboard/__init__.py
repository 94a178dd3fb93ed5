"""The dashboard: an observatory at work, in a browser. It reads the archive store and starts nothing."""

from __future__ import annotations

from lightmill.dashboard.access import Role, Tokens, new_token
from lightmill.dashboard.app import application
from lightmill.dashboard.export import export
from lightmill.dashboard.serving import run, running

__all__ = ["Role", "Tokens", "application", "export", "new_token", "run", "running"]
