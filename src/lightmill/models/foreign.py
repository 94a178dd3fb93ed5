"""What a file holds and no schema knows: kept, shown, and written again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightmill.models.cards import commentary_cards

if TYPE_CHECKING:
    from lightmill.models.asdf_tree import AsdfSection
    from lightmill.models.cards import Header
    from lightmill.models.fits_reader import Hdu

__all__ = ["Foreign"]


@dataclass(slots=True)
class Foreign:
    """The parts of a file outside the schema.

    Parameters
    ----------
    headers : dict
        (extension, version) -> the header as it was in the file; the cards of
        keywords the schema knows are replaced when written.
    hdus : list of Hdu
        Extensions the schema does not name, in file order; copied as bytes.
    asdf : AsdfSection, optional
        The ASDF tree of the file, read when asked for.
    """

    headers: dict[tuple[str, int], Header] = field(default_factory=dict)
    hdus: list[Hdu] = field(default_factory=list)
    asdf: AsdfSection | None = None

    def hold(self) -> None:
        """Read what is still in the file only, because the file is about to go."""
        from lightmill.models.lazy import HeldBytes

        if self.asdf is not None:
            self.asdf.content  # noqa: B018 - read and kept
        for hdu in self.hdus:
            hdu.source, hdu.offset = HeldBytes(hdu.data_bytes(), hdu.source.path), 0

    def tree(self) -> dict[str, Any]:
        """Return the parts of the ASDF tree that are neither metadata nor arrays."""
        return {} if self.asdf is None else self.asdf.rest()

    def keywords(self, hdu: str = "PRIMARY") -> dict[str, Any]:
        """Return every keyword of an extension's header as it was in the file."""
        header = self.headers.get((hdu, 1))
        return {} if header is None else header.to_dict()

    def history(self) -> list[str]:
        """Return the HISTORY cards and the history entries of the ASDF tree, each once."""
        header = self.headers.get(("PRIMARY", 1))
        texts = header.history() if header is not None else []
        if self.asdf is not None and self.asdf.may_hold("history_entry"):
            for entry in self.asdf.history():
                _join(texts, entry)
        return texts


def _join(texts: list[str], entry: str) -> None:
    """Put an entry of the tree in place of the cards it was cut into; at the end if there are none."""
    pieces = [card[8:].decode("latin-1").strip() for card in commentary_cards("HISTORY", entry)]
    for first in range(len(texts) - len(pieces) + 1):
        if texts[first : first + len(pieces)] == pieces:
            texts[first : first + len(pieces)] = [entry]
            return
    if entry not in "\n".join(texts):
        texts.append(entry)
