"""Arrays as PNG pictures, inside the page that shows them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightmill.models import dq as flags

__all__ = ["FLAG_COLOURS", "Picture", "close_up", "flag_picture", "picture", "shrunk", "stretch"]

_LEVELS = 72  # finer shades only make files larger
_NAN = 255

# later ones are painted over earlier ones
FLAG_COLOURS = (
    ("HOT", "#b48cf2", "hot"),
    ("LOW_QE", "#7c9cf5", "weak response"),
    ("NO_LIN_CORR", "#8fd19e", "no linearity or gain known"),
    ("NO_GAIN_VALUE", "#8fd19e", ""),
    ("REFERENCE_PIXEL", "#5b6577", "reference pixel"),
    ("JUMP_DET", "#38d6d0", "jump found"),
    ("SATURATED", "#ffd24a", "saturated"),
    ("DO_NOT_USE", "#ff5d5d", "do not use"),
)


@dataclass
class Picture:
    """A picture of a page.

    Attributes
    ----------
    key, title, text, alt : str
        Identity, caption, and what it shows to those who cannot see it.
    source : str
        ``data:`` address of the PNG.
    width, height : int
        Pixels.
    legend : list of (colour, label)
    scale : (low, high, unit, gradient) or None
        Colour bar: numbers at its ends and a CSS gradient.
    """

    key: str
    title: str
    text: str
    alt: str
    source: str
    width: int
    height: int
    legend: list[tuple[str, str]] = field(default_factory=list)
    scale: tuple[str, str, str, str] | None = None


def stretch(image: np.ndarray, low: float, high: float, contrast: float) -> np.ndarray:
    """Map values to 0 … 1 by an inverse hyperbolic sine, or linearly if contrast is 0."""
    with np.errstate(invalid="ignore"):
        scaled = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
        return np.arcsinh(scaled * contrast) / np.arcsinh(contrast) if contrast else scaled


def shrunk(image: np.ndarray, largest: int = 1100) -> np.ndarray:
    """Average blocks of pixels until no side is longer than `largest`; NaN are left out."""
    step = -(-max(image.shape) // largest)
    if step == 1:
        return image
    ny, nx = (n // step * step for n in image.shape)
    blocks = image[:ny, :nx].reshape(ny // step, step, nx // step, step)
    good = np.isfinite(blocks)
    count = good.sum(axis=(1, 3))
    total = np.where(good, blocks, 0).sum(axis=(1, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def picture(
    image: np.ndarray,
    *,
    key: str,
    title: str,
    text: str,
    alt: str,
    palette: str,
    low: float,
    high: float,
    contrast: float = 0.0,
    unit: str = "",
    missing: str = "#3a2230",
    largest: int = 1100,
    average: bool = True,
) -> Picture:
    """Make a picture of a (ny, nx) image, the first row at the bottom.

    Parameters
    ----------
    palette : str
        Name of a colour map.
    low, high, contrast : float
        See `stretch`.
    missing : str
        Colour of NaN.
    largest : int
        Longest side of the picture [pixel].
    average : bool
        A larger image is made smaller by averaging; else by leaving pixels out, as labels need it.
    """
    step = -(-max(image.shape) // largest)
    small = shrunk(image, largest) if average else image[::step, ::step]
    level = stretch(small, low, high, contrast)
    index = np.where(np.isfinite(level), np.rint(np.nan_to_num(level) * (_LEVELS - 1)), _NAN)
    colours = _palette(palette)
    table = np.zeros((256, 3), np.uint8)
    table[:_LEVELS] = colours
    table[_NAN] = _rgb(missing)
    stops = ", ".join(
        "rgb({} {} {})".format(*colours[round(f * (_LEVELS - 1))]) for f in np.linspace(0, 1, 9)
    )
    return Picture(
        key,
        title,
        text,
        alt,
        _png(index.astype(np.uint8), table),
        small.shape[1],
        small.shape[0],
        scale=(_number(low), _number(high), unit, f"linear-gradient(90deg, {stops})"),
    )


def flag_picture(dq: np.ndarray, *, key: str, text: str, largest: int = 1100) -> Picture:
    """Paint each pixel in the colour of its most important flag; lone pixels are enlarged."""
    step = -(-max(dq.shape) // largest)
    ny, nx = (n // step * step for n in dq.shape)
    index = np.zeros((ny // step, nx // step), np.uint8)
    table = np.zeros((256, 3), np.uint8)
    table[0] = _rgb("#11151d")
    legend = []
    for number, (name, colour, label) in enumerate(FLAG_COLOURS, start=1):
        mark = dq[:ny, :nx] & np.uint32(flags.PIXEL[name]) != 0
        mark = mark.reshape(ny // step, step, nx // step, step).any(axis=(1, 3))
        table[number] = _rgb(colour)
        if mark.any():
            index[mark if name == "REFERENCE_PIXEL" else _thickened(mark)] = number
            if label:
                legend.append((colour, label))
    alt = "Map of the data-quality flags: " + ", ".join(label for _, label in legend)
    source = _png(index, table)
    return Picture(key, "Data quality", text, alt, source, index.shape[1], index.shape[0], legend)


def close_up(y: float, x: float, shape: tuple[int, int], half: int = 70) -> tuple[slice, slice]:
    """Return rows and columns of a square around a place, inside the frame."""
    half = min(half, shape[0] // 2, shape[1] // 2)
    cy = int(np.clip(round(y), half, shape[0] - half))
    cx = int(np.clip(round(x), half, shape[1] - half))
    return slice(cy - half, cy + half), slice(cx - half, cx + half)


def _thickened(mark: np.ndarray) -> np.ndarray:
    out = mark.copy()
    out[1:] |= mark[:-1]
    out[:, 1:] |= out[:, :-1].copy()
    return out


def _palette(name: str) -> np.ndarray:
    import matplotlib as mpl

    if name == "sky":
        from matplotlib.colors import LinearSegmentedColormap

        stops = ["#05060a", "#0f1b33", "#2b4a7d", "#7f9cc4", "#f3e3c3", "#ffffff"]
        where = [0, 0.18, 0.4, 0.62, 0.85, 1]
        chosen: Any = LinearSegmentedColormap.from_list(name, list(zip(where, stops, strict=True)))
    else:
        chosen = mpl.colormaps[name]
    return np.rint(chosen(np.linspace(0, 1, _LEVELS))[:, :3] * 255).astype(np.uint8)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def _png(index: np.ndarray, table: np.ndarray) -> str:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(index[::-1]))
    image.putpalette(table.reshape(-1).tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
