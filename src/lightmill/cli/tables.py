"""Plain text tables, for terminals, pipes and log files alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["counted", "short", "size", "table"]


def table(rows: Iterable[Sequence[object]], *, indent: int = 2) -> str:
    """Return rows as aligned columns; the last column is not padded.

    Parameters
    ----------
    rows : iterable of sequence
        The cells of each row; every row has as many.
    indent : int
        Spaces before each row.

    Returns
    -------
    text : str
        Empty for no rows.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        (" " * indent + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))).rstrip()
        for row in cells
    )


def counted(count: int, one: str) -> str:
    """Return a number of things for people: ``1 type``, ``2 types``."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def short(value: object, limit: int = 60) -> str:
    """Return a value as one line of at most `limit` characters."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def size(count: float) -> str:
    """Return a number of bytes for people: ``83.9 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
