"""Charts as SVG, drawn in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lightmill.cli.report.measures import HISTOGRAM, Completeness, Pulls

__all__ = ["completeness_chart", "magnitude_chart", "offset_chart", "pull_chart", "sources_chart"]

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 16, 46


def pull_chart(pulls: Pulls) -> str:
    """Histogram of pulls on a logarithmic scale, with the unit Gaussian they should follow."""
    assert pulls.histogram is not None  # made by measures.pulls
    width = HISTOGRAM[1] - HISTOGRAM[0]
    density = pulls.histogram / pulls.count / width
    lowest = max(10 ** math.floor(math.log10(1 / pulls.count / width)), 1e-7)
    decades = range(round(math.log10(lowest)), 1)

    def x(value: float) -> float:
        return _LEFT + (value + 6) / 12 * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        level = (math.log10(max(value, lowest)) - decades[0]) / (decades[-1] - decades[0])
        return _HEIGHT - _BOTTOM - level * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_grid_y(y(10.0**d), f"10{_superscript(d)}") for d in decades]
    parts += [_tick_x(x(v), f"{v:+d}" if v else "0") for v in range(-6, 7, 2)]
    base = y(0)
    steps = [f"M{x(-6):.1f} {base:.1f}"]
    for low, high, value in zip(HISTOGRAM[:-1], HISTOGRAM[1:], density, strict=True):
        steps.append(f"V{y(value):.1f}H{x(high):.1f}")
        del low
    parts.append(f'<path class="bars" d="{" ".join(steps)}V{base:.1f}Z"/>')
    gauss = [
        (x(v), y(math.exp(-(v**2) / 2) / math.sqrt(2 * math.pi))) for v in np.linspace(-6, 6, 121)
    ]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in gauss if b < base - 0.2)
    parts.append(f'<polyline class="model" points="{points}"/>')
    label = (
        f"Histogram of the pulls of {pulls.count:,} pixels of {pulls.name}: mean {pulls.mean:+.3f},"
        f" standard deviation {pulls.std:.3f}; the curve is a Gaussian of unit width"
    )
    return _svg(parts, label, "(rate − truth) / error", "density")


def completeness_chart(found: Completeness) -> str:
    """Fraction of the hits found against their significance."""
    n = len(found.bins)
    slot = (_WIDTH - _LEFT - _RIGHT) / n

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value * (_HEIGHT - _TOP - _BOTTOM - 14)

    parts = [_grid_y(y(v), f"{v:.0%}") for v in (0, 0.25, 0.5, 0.75, 1)]
    for k, (low, high, number, fraction) in enumerate(found.bins):
        left = _LEFT + k * slot
        name = f"{low:g}–{high:g}" if math.isfinite(high) else f">{low:g}"
        parts.append(
            f'<rect class="bars" x="{left + 3:.1f}" width="{slot - 6:.1f}" y="{y(fraction):.1f}"'
            f' height="{y(0) - y(fraction):.1f}" rx="2"><title>{number:,} hits, {fraction:.1%}'
            " found</title></rect>"
        )
        parts.append(_text(left + slot / 2, y(fraction) - 5, f"{fraction:.0%}", "value"))
        parts.append(_text(left + slot / 2, _HEIGHT - _BOTTOM + 16, name, "tick"))
    label = "Fraction of cosmic-ray hits found, by significance: " + ", ".join(
        f"{fraction:.0%} of {number} at {low:g} sigma and more"
        for low, _, number, fraction in found.bins
    )
    return _svg(parts, label, "charge of the hit / noise of one difference", "found")


def sources_chart(bins: Sequence[tuple[float, float, int, float]]) -> str:
    """Fraction of the sources found against their magnitude."""
    slot = (_WIDTH - _LEFT - _RIGHT) / max(len(bins), 1)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value * (_HEIGHT - _TOP - _BOTTOM - 14)

    parts = [_grid_y(y(v), f"{v:.0%}") for v in (0, 0.25, 0.5, 0.75, 1)]
    for k, (low, high, number, fraction) in enumerate(bins):
        left = _LEFT + k * slot
        parts.append(
            f'<rect class="bars" x="{left + 2:.1f}" width="{slot - 4:.1f}" y="{y(fraction):.1f}"'
            f' height="{y(0) - y(fraction):.1f}" rx="2"><title>{number:,} sources of magnitude'
            f" {low:g} to {high:g}, {fraction:.1%} found</title></rect>"
        )
        parts.append(_text(left + slot / 2, _HEIGHT - _BOTTOM + 16, f"{low:g}", "tick"))
    label = "Fraction of the simulated sources found, by magnitude: " + ", ".join(
        f"{fraction:.0%} of {number} from {low:g}" for low, _, number, fraction in bins
    )
    return _svg(parts, label, "AB magnitude", "found")


def magnitude_chart(
    magnitude: np.ndarray, difference: np.ndarray, is_star: np.ndarray, *, half: float = 0.5
) -> str:
    """Measured minus simulated magnitude against magnitude: stars filled, galaxies open."""
    known = np.isfinite(difference)
    magnitude, difference, is_star = magnitude[known], difference[known], is_star[known]
    low = math.floor(magnitude.min()) if magnitude.size else 0
    high = math.ceil(magnitude.max()) if magnitude.size else 1

    def x(value: float) -> float:
        return _LEFT + (value - low) / max(high - low, 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (half - value) / (2 * half) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        _grid_y(y(v), f"{v:+.2f}" if v else "0") for v in (-half, -half / 2, 0, half / 2, half)
    ]
    parts += [_tick_x(x(v), str(v)) for v in range(low, high + 1, max(1, (high - low) // 6))]
    parts += _dots(
        [(x(a), y(b), s) for a, b, s in zip(magnitude, difference, is_star, strict=True)
         if abs(b) <= half]
    )  # fmt: skip
    outside = int((np.abs(difference) > half).sum())
    label = (
        f"Magnitude differences of {magnitude.size:,} sources against their magnitude;"
        f" {outside} differ by more than {half:g} and are not drawn"
    )
    return _svg(parts, label, "simulated AB magnitude", "measured − simulated")


def offset_chart(east: np.ndarray, north: np.ndarray, *, half: float = 40.0) -> str:
    """Measured minus simulated positions on the sky, north up and east to the left [mas]."""
    side = _HEIGHT - _TOP - _BOTTOM
    left = (_WIDTH - side) / 2

    def x(value: float) -> float:
        return left + (half - value) / (2 * half) * side

    def y(value: float) -> float:
        return _TOP + (half - value) / (2 * half) * side

    parts = [
        _grid_y(y(v), f"{v:+.0f}" if v else "0") for v in (-half, -half / 2, 0, half / 2, half)
    ]
    parts += [_tick_x(x(v), f"{v:+.0f}" if v else "0") for v in (-half, 0, half)]
    inside = (np.abs(east) < half) & (np.abs(north) < half)
    parts += _dots([(x(a), y(b), True) for a, b in zip(east[inside], north[inside], strict=True)])
    label = f"Offsets of {east.size:,} bright stars from where they are, in milliarcseconds"
    return _svg(parts, label, "east ← offset [mas]", "north [mas]")


def _dots(points: Sequence[tuple[float, float, bool]]) -> list[str]:
    """Return small discs, filled or open, as two paths: thousands of elements would be slow."""
    paths = []
    for kind, chosen in (("dot open", False), ("dot", True)):
        some = [f"M{x:.1f} {y:.1f}h0" for x, y, filled in points if bool(filled) == chosen]
        if some:
            paths.append(f'<path class="{kind}" d="{"".join(some)}"/>')
    return paths


def _svg(parts: list[str], label: str, x_title: str, y_title: str) -> str:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts = [
        *parts,
        _text(middle, _HEIGHT - 8, x_title, "axis"),
        f'<text class="axis" transform="translate(14 {_HEIGHT / 2 - 14}) rotate(-90)">{y_title}</text>',
    ]
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        + "".join(parts)
        + "</svg>"
    )


def _grid_y(y: float, label: str) -> str:
    line = f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + f'<text class="tick end" x="{_LEFT - 7}" y="{y + 4:.1f}">{label}</text>'


def _tick_x(x: float, label: str) -> str:
    return _text(x, _HEIGHT - _BOTTOM + 16, label, "tick")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{text}</text>'


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
