"""The page of an instrument's own demonstration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.cli.report import pictures
from lightmill.cli.report.page import _references, _steps, _templates, written
from lightmill.simulate.story import Plate, Story

__all__ = ["write_story"]


def write_story(directory: str | Path, story: Story, record: Mapping[str, Any]) -> Path:
    """Write ``report.html`` of a story; it needs no other file.

    Parameters
    ----------
    directory : path
        Where the page goes.
    story : Story
    record : mapping
        ``command``: what the user typed.

    Returns
    -------
    path : Path
        The page.

    Raises
    ------
    ConfigurationError
        If the packages that draw it are not installed.
    """
    chapters = [
        (one, [_picture(f"plate-{n}-{m}", plate) for m, plate in enumerate(one.plates)])
        for n, one in enumerate(story.chapters)
    ]
    page = (
        _templates()
        .get_template("story.html.j2")
        .render(
            story=story,
            record=record,
            chapters=chapters,
            runs=[(name, run, _steps(run)) for name, run in story.records.items()],
            references_of=_references,
        )
    )
    return written(directory, page)


def _picture(key: str, plate: Plate) -> pictures.Picture:
    low, high = np.nanpercentile(plate.data, [1.0, 99.7])
    return pictures.picture(
        plate.data,
        key=key,
        title=plate.title,
        text=plate.text,
        alt=f"{plate.title}: {plate.text}",
        palette=plate.palette,
        low=float(low if plate.low is None else plate.low),
        high=float(high if plate.high is None else plate.high),
        contrast=plate.contrast,
        unit=plate.unit,
    )
