"""Lightmill: from an observatory's raw readouts to calibrated science products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightmill.app import run, steps
    from lightmill.models import Model

__all__ = ["open", "run", "steps"]


def open(path: Any) -> Model:
    """Open a FITS or ASDF file as the model it holds; see `lightmill.models.open`."""
    from lightmill import app, models

    app.discover()
    return models.open(path)


def __getattr__(name: str) -> Any:
    if name in {"run", "steps"}:
        from lightmill import app

        return getattr(app, name)
    raise AttributeError(f"module 'lightmill' has no attribute {name!r}")
