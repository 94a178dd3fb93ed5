"""The flags of WFPC2 associations as a drawing, from the table that moves them."""

from __future__ import annotations

from typing import Any

WIDE, HIGH = 250, 120  # from state to state
BOX = (96, 40)
ASIDE = 14  # an arrow from the straight line, so that there and back are two
PROCESSES = {"jep_ok": "JEP", "sql": "SQL", "chdb": "CHDB", "ab_ok": "AB"}
SPELLED = {" ": "blank", "-": "none"}
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 500" font-family="sans-serif"
font-size="12"><defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"
markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>
<rect width="660" height="500" fill="#fff"/><text x="40" y="30" fill="#446">CAL / OMS</text>"""


def drawing() -> str:
    """Return an SVG: states in a grid, moves as arrows; arrivals are dashed."""
    from lightmill.observatories.hst.wfpc2.flags import CAL_FLAGS, OMS_FLAGS, transitions

    places = {
        (cal, oms): (40 + WIDE * column, 60 + HIGH * row)
        for column, oms in enumerate(OMS_FLAGS)
        for row, cal in enumerate(CAL_FLAGS)
    }
    moves: dict[tuple[Any, Any], set[str]] = {}
    for before, event, after in transitions():
        if before != after and "meanwhile" not in event and "older" not in event:
            moves.setdefault((before, after), set()).add(PROCESSES.get(str(event), ""))
    arrows = [
        arrow(places[before], places[after], sorted(names - {""}))
        for (before, after), names in sorted(moves.items())
    ]
    states = [state(*place, *flags) for flags, place in places.items()]
    return "\n".join([HEAD, *arrows, *states, "</svg>"]) + "\n"


def state(x: int, y: int, cal: str, oms: str) -> str:
    """Return the box of a state."""
    label = f"{SPELLED.get(cal, cal)} / {SPELLED.get(oms, oms)}"
    return (
        f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="8" fill="#eef2f8" '
        f'stroke="#446"/><text x="{x + BOX[0] / 2}" y="{y + 24}" text-anchor="middle">{label}</text>'
    )


def arrow(start: tuple[int, int], end: tuple[int, int], names: list[str]) -> str:
    """Return an arrow from box to box, with the processes that go that way; dashed without any."""
    x0, y0 = start[0] + BOX[0] / 2, start[1] + BOX[1] / 2
    x1, y1 = end[0] + BOX[0] / 2, end[1] + BOX[1] / 2
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    along = ((x1 - x0) / length, (y1 - y0) / length)
    aside = (-ASIDE * along[1], ASIDE * along[0])
    edge = min(BOX[n] / 2 / max(abs(along[n]), 1e-9) for n in (0, 1)) + 3
    first = (x0 + edge * along[0] + aside[0], y0 + edge * along[1] + aside[1])
    last = (x1 - edge * along[0] + aside[0], y1 - edge * along[1] + aside[1])
    bend = 3.0 if length > 1.5 * HIGH and along[0] == 0 else 0.8
    middle = [(a + b) / 2 + bend * c for a, b, c in zip(first, last, aside, strict=True)]
    dash = "" if names else ' stroke-dasharray="4 3" stroke-opacity="0.45"'
    path = (
        f'<path d="M{first[0]:.0f},{first[1]:.0f} Q{middle[0]:.0f},{middle[1]:.0f} '
        f'{last[0]:.0f},{last[1]:.0f}" fill="none" stroke="#555" marker-end="url(#end)"{dash}/>'
    )
    x, y = ((a + 2 * b + c) / 4 for a, b, c in zip(first, middle, last, strict=True))
    text = (
        f'<text x="{x + aside[0]:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="#a33" stroke="#fff" '
        f'stroke-width="3" paint-order="stroke">{", ".join(names)}</text>'
    )
    return path + text if names else path
