"""Questions as they come over the wire: filters of lists, numbers of things, forms."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

from lightmill.dashboard.access import Sessions
from lightmill.dashboard.guard import visitor_of
from lightmill.dashboard.lists import MOST, PAGE, Filter
from lightmill.dashboard.queries import LARGEST

__all__ = ["FIELDS", "asked_of", "checked_form", "form_of", "number_of"]

FIELDS = ("program", "target", "name", "state", "kind", "since", "until")  # of a search
LARGEST_FORM = 64 << 10  # bytes
_LONGEST = 200  # characters of what is searched for


def asked_of(query: Mapping[str, str]) -> Filter:
    """Return which rows of a list are asked for.

    Raises
    ------
    HTTPException
        400, if a number or a date is none.
    """
    text = {
        name: query.get(name, "").replace("\0", "").strip()[:_LONGEST]
        for name in ("program", "target", "name", "state", "kind")
    }
    text["state"] = text["state"].upper()
    return Filter(
        **text,
        since=_time(query.get("since", ""), "since"),
        until=_time(query.get("until", ""), "until", is_end=True),
        before=_number(query.get("before", ""), "before"),
        after=_number(query.get("after", ""), "after"),
        limit=min(MOST, _number(query.get("limit", ""), "limit") or PAGE),
    )


def number_of(text: str, what: str) -> int:
    """Return the number of a thing.

    Raises
    ------
    HTTPException
        404, if it can be none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= LARGEST):
        raise HTTPException(404, f"there is no {what} {text[:40]!r}")
    return int(text)


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, or of an object in JSON.

    Raises
    ------
    HTTPException
        413 if it is too large, 400 if it cannot be read.
    """
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_FORM:
            raise HTTPException(413, "the form is too large")
    try:
        text = content.decode("utf-8")
        if "json" in request.headers.get("content-type", ""):
            return _object(text)
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the form cannot be read") from error


def checked_form(request: Request, form: Mapping[str, str], sessions: Sessions) -> None:
    """Let a form pass that we gave to this browser.

    Who sends a token with the request needs none: no other site can do so in somebody's name.

    Raises
    ------
    HTTPException
        403, if it is not.
    """
    visitor = visitor_of(request)
    seal = form.get("csrf", "") or request.headers.get("x-csrf-token", "")
    if not visitor.by_header and not sessions.is_sealed(visitor.session, seal):
        raise HTTPException(403, "the form was not given to you by this page: load it again")


def _object(text: str) -> dict[str, str]:
    import json

    found: Any = json.loads(text or "{}")
    if not isinstance(found, dict):
        raise ValueError  # noqa: TRY004 - told like all that cannot be read
    return {str(name): str(value) for name, value in found.items()}


def _number(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST):
        raise HTTPException(400, f"{name} is no number: {text[:40]!r}")
    return int(text)


def _time(text: str, name: str, *, is_end: bool = False) -> float | None:
    """Return seconds since 1970 of a number or a date; as an end, a day is over at its end."""
    text = text.strip()
    if not text:
        return None
    try:
        if text.replace(".", "", 1).isdigit():
            return float(text)
        when = dt.datetime.fromisoformat(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=dt.UTC)
        if is_end and len(text) <= len("2026-01-01"):
            when += dt.timedelta(days=1)
        return when.timestamp()
    except (ValueError, OverflowError) as error:
        raise HTTPException(400, f"{name} is no date: {text[:40]!r}") from error
