"""A small context of rules, as files, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

__all__ = ["small_context", "with_checksum"]

_HEADER = """header = {{
    'derived_from' : 'a test',
    'mapping' : '{kind}',
    'name' : '{name}',
    'observatory' : '{observatory}',
{more}    'parkey' : {parkey},
    'sha1sum' : 'SUM',
}}

selector = {selector}
"""


def with_checksum(text: str) -> bytes:
    """Return rules whose ``SUM`` is replaced by the checksum of their other lines."""
    rest = "".join(line for line in text.splitlines(keepends=True) if "sha1sum" not in line)
    return text.replace("SUM", hashlib.sha1(rest.encode()).hexdigest()).encode()  # noqa: S324


def small_context(
    observatory: str = "lantern",
    instrument: str = "glowcam",
    references: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]] | None = None,
    *,
    number: int = 1,
) -> dict[str, bytes]:
    """Return the rules of a context for one instrument.

    Parameters
    ----------
    observatory, instrument : str
        Lower case.
    references : mapping
        Type → detector (``*`` for any) → pairs of the date from which a file serves, and
        its name.
    number : int
        Number of the context and of its rules.

    Returns
    -------
    files : dict
        Name → content, the context first.
    """
    context = f"{observatory}_{number:04}.pmap"
    rules = f"{observatory}_{instrument}_{number:04}.imap"
    kinds = {
        kind: f"{observatory}_{instrument}_{kind}_{number:04}.rmap" for kind in references or {}
    }
    instrument_lines = f"    'instrument' : '{instrument.upper()}',\n"

    def text(name: str, kind: str, parkey: str, selector: str, more: str = "") -> bytes:
        return with_checksum(
            _HEADER.format(
                kind=kind,
                name=name,
                observatory=observatory.upper(),
                more=more,
                parkey=parkey,
                selector=selector,
            )
        )

    files = {
        context: text(
            context,
            "PIPELINE",
            "('META.INSTRUMENT.NAME',)",
            repr({instrument.upper(): rules}),
        ),
        rules: text(rules, "INSTRUMENT", "('REFTYPE',)", repr(kinds), instrument_lines),
    }
    for kind, rows in (references or {}).items():
        lines = "".join(
            f"    ({detector!r},) : UseAfter({dict(dated)!r}),\n"
            for detector, dated in rows.items()
        )
        files[kinds[kind]] = text(
            kinds[kind],
            "REFERENCE",
            "(('META.INSTRUMENT.DETECTOR',), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME'))",
            f"Match({{\n{lines}}})",
            f"{instrument_lines}    'filekind' : '{kind.upper()}',\n",
        )
    return files
