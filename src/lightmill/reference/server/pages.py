"""Pages for people: what there is, what a context is made of, and why a reference was chosen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from lightmill.errors import LightmillError
from lightmill.reference.cache import observatory_of
from lightmill.reference.layout import is_mapping
from lightmill.reference.server import pasted
from lightmill.reference.server.holdings import Holdings, NotHereError

__all__ = ["add_pages", "error_page", "explained", "instruments_of"]

_TEMPLATES = Path(__file__).parent / "templates"
_STATIC = {"style.css": "text/css", "explain.js": "text/javascript"}
_POLICY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def add_pages(app: FastAPI, holdings: Holdings, address: Callable[[Request], str]) -> None:
    """Answer people's browsers.

    Parameters
    ----------
    app : FastAPI
        Where the pages go.
    holdings : Holdings
        What they show.
    address : callable
        Gives the address of the server for a request.
    """

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        shown = [
            {
                "name": one,
                "contexts": holdings.contexts(one),
                "operational": holdings.operational(one) if holdings.contexts(one) else None,
                "mappings": len(holdings.mappings(one)),
                "references": len(holdings.references(one)),
            }
            for one in holdings.observatories()
        ]
        return _page(
            "index.html.j2",
            observatories=shown,
            problems=holdings.problems(),
            url=address(request).rstrip("/"),
        )

    @app.get("/contexts/{context}", include_in_schema=False)
    def context_page(context: str) -> Response:
        rules = holdings.rules(context)
        whose = observatory_of(rules.name)
        return _page(
            "context.html.j2",
            context=rules,
            observatory=whose,
            operational=holdings.operational(whose),
            instruments=instruments_of(rules),
        )

    @app.get("/explain", include_in_schema=False)
    @app.post("/explain", include_in_schema=False)
    async def explain_page(request: Request) -> Response:
        fields = dict(request.query_params)
        if request.method == "POST":
            text = (await request.body()).decode("utf-8", "replace")
            fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=20))
        return await run_in_threadpool(_explain_page, holdings, fields)

    @app.get("/api", include_in_schema=False)
    def interface() -> Response:
        return _page("api.html.j2", paths=app.openapi()["paths"])

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise NotHereError("file", name, ())
        text = (_TEMPLATES / name).read_bytes()
        return Response(text, media_type=_STATIC[name], headers=_POLICY)


def error_page(error: LightmillError, status: int) -> Response:
    """Return the page that tells a failure."""
    return _page("error.html.j2", status=status, error=error)


def instruments_of(rules: Any) -> dict[str, Any]:
    """Return what a context is made of.

    Parameters
    ----------
    rules : Context
        The context.

    Returns
    -------
    instruments : dict
        Instrument → ``rules`` (file), ``types`` (type → file) and ``keys`` (looked at), or
        ``problem`` where its rules cannot be read.
    """
    found: dict[str, Any] = {}
    for instrument, name in sorted(rules.instruments.items()):
        facts: dict[str, Any] = {"rules": name, "types": {}, "keys": []}
        if is_mapping(name):
            try:
                facts["types"] = dict(sorted(rules.rules(instrument).types.items()))
                facts["keys"] = list(rules.required_keys(instrument))
            except LightmillError as error:
                facts["problem"] = error.story()
        found[instrument] = facts
    return found


def explained(
    rules: Any, header: Mapping[str, Any], types: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the answers for a header with how the rules came to them.

    Parameters
    ----------
    rules : Context
        The context.
    header : mapping
        What the data say of themselves.
    types : sequence of str, optional
        By default all types of the instrument.

    Returns
    -------
    answers : dict
        Type → ``answer``, or ``error`` and ``message``; and ``explanation``, a text.
    """
    found: dict[str, dict[str, Any]] = {}
    answers = rules.best_references(header, list(types) if types else None)
    for reftype, answer in sorted(answers.items()):
        facts: dict[str, Any] = {}
        if isinstance(answer, LightmillError):
            facts = {"error": getattr(answer, "kind", answer.code), "message": answer.story()}
        else:
            facts = {"answer": list(answer) if isinstance(answer, tuple) else answer}
        try:
            facts["explanation"] = str(rules.explain(header, reftype))
        except LightmillError as error:
            facts["explanation"] = error.story()
        found[reftype] = facts
    return found


def _explain_page(holdings: Holdings, fields: Mapping[str, str]) -> Response:
    text, spec = fields.get("header", ""), fields.get("context") or None
    types = [one.strip().lower() for one in fields.get("types", "").split(",") if one.strip()]
    known = {
        one: holdings.contexts(one) for one in holdings.observatories() if holdings.contexts(one)
    }
    shown: dict[str, Any] = {"text": text, "spec": spec, "types": ", ".join(types), "known": known}
    shown["used"] = [holdings.operational(one) for one in known]
    if not text.strip():
        return _page("explain.html.j2", **shown)
    try:
        pasted_header = pasted.header_from_text(text)
        whose = _observatory_of(pasted_header, known) if spec is None else None
        rules = holdings.rules(holdings.resolve(spec, whose))
        header, instrument, translated = _read(rules, pasted_header)
        keys = rules.required_keys(instrument, types or None) if instrument else []
        shown.update(
            context=rules.name,
            instrument=instrument,
            keys={key: header.get(key.upper()) or header.get(key) for key in keys},
            translated=translated,
            answers=explained(rules, header, types),
        )
    except LightmillError as error:
        return _page("explain.html.j2", **shown, error=error)
    return _page("explain.html.j2", **shown)


def _observatory_of(header: Mapping[str, str], known: Mapping[str, Any]) -> str | None:
    for key in ("TELESCOP", "META.TELESCOPE", "ROMAN.META.TELESCOPE"):
        if header.get(key, "").lower() in known:
            return header[key].lower()
    return None


def _read(
    rules: Any, given: Mapping[str, str]
) -> tuple[dict[str, str], str | None, dict[str, str]]:
    """Return a pasted header in the words of a context, its instrument, and what was translated."""
    telescope = observatory_of(rules.name)
    asked = [str(key) for key in rules.header.get("parkey", ())]
    header, translated = pasted.in_words_of(given, asked, telescope)
    said = [header.get(key.upper(), "").lower() for key in asked]
    instrument = said[0] if said and said[0] in rules.instruments else None
    if instrument:
        header, more = pasted.in_words_of(header, rules.required_keys(instrument), telescope)
        translated |= more
    return header, instrument, translated


def _page(name: str, *, status: int = 200, **facts: Any) -> Response:
    # What was asked may hold halves of characters, which no page can.
    text = _environment().get_template(name).render(**facts).encode("utf-8", "backslashreplace")
    headers = {**_POLICY, "Cache-Control": "no-store"}
    return Response(text, status_code=status, media_type="text/html", headers=headers)


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
