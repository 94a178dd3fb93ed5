"""Where each file of a cache is, or would be: the official client has put them in two ways.

The references of an observatory are in one folder, or those of an instrument
have a folder of their own; a note in the cache says which, and an old cache
without the note is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from lightmill.errors import ConfigurationError
from lightmill.reference.layout import Layout, files_in, folders_in, is_mapping, plain_name

__all__ = ["Shelves", "observatory_of"]

_MANY = 20  # more visible files than that without a note on the layout: an old, flat cache


def observatory_of(name: str) -> str:
    """Return the observatory a file name begins with: ``tmt`` of ``tmt_wide_0001.imap``."""
    return re.split(r"[_.-]", name, maxsplit=1)[0].lower()


class Shelves:
    """The places of rules and references in folders.

    Parameters
    ----------
    root : path_like, optional
        The cache; by default what the variables say.
    environ : mapping
        The variables.
    """

    def __init__(self, root: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> None:
        self.layout = Layout(root, environ)
        self._modes: dict[str, str] = {}

    @property
    def root(self) -> Path:
        """Folder of the cache."""
        return self.layout.root

    def observatories(self) -> list[str]:
        """Return the names of the observatories the cache has anything of."""
        return self.layout.observatories()

    def observatory_of(self, name: str) -> str:
        """Return the observatory of a file, by its name or by where it is.

        Raises
        ------
        ConfigurationError
            If the name does not say it and no folder has the file.
        """
        guess, known = observatory_of(plain_name(name)), self.observatories()
        if guess in known or is_mapping(name):
            return guess
        for one in known:
            if self._found_reference(name, one):
                return one
        if re.fullmatch(r"[a-z]+_[a-z0-9]+_.+", name):
            return guess
        raise ConfigurationError(
            "the name does not say which observatory the file is of",
            place=name,
            expected=", ".join(known) or "an observatory",
            remedy="name the observatory",
        )

    def mapping_path(self, name: str) -> Path:
        """Return where a rule file is, or would be."""
        return self.layout.folder("mappings", observatory_of(name)) / plain_name(name)

    def reference_path(
        self, name: str, observatory: str | None = None, instrument: str | None = None
    ) -> Path:
        """Return where a reference file is, or would be.

        Parameters
        ----------
        name : str
            File name.
        observatory, instrument : str, optional
            Needed for a file that is not there yet and whose name does not say them.

        Returns
        -------
        path : Path
            In the folder of all references, or in that of its instrument, as this cache
            has it.
        """
        observatory = (observatory or self.observatory_of(name)).lower()
        found = self._found_reference(name, observatory, instrument)
        if found is not None:
            return found
        folder = self.layout.folder("references", observatory)
        if self.subdir_mode(observatory) == "flat":
            return folder / name
        parts = name.lower().split("_")
        if instrument is None and parts[0] == observatory and len(parts) > 2:
            instrument = parts[1]
        if instrument is None:
            raise ConfigurationError(
                "the name does not say which instrument the file is of",
                place=folder / name,
                remedy="fetch it with the data it is for: lightmill refs sync FILES",
            )
        return folder / plain_name(instrument.lower()) / name

    def _found_reference(
        self, name: str, observatory: str, instrument: str | None = None
    ) -> Path | None:
        folder = self.layout.folder("references", observatory)
        plain_name(name)
        likely = [instrument.lower()] if instrument else name.lower().split("_")[1:2]
        for one in (folder, *(folder / part for part in likely)):
            if (one / name).is_file():
                return one / name
        for one in folders_in(folder):
            if (one / name).is_file():
                return one / name
        return None

    def path(
        self, name: str, observatory: str | None = None, instrument: str | None = None
    ) -> Path:
        """Return where a rule or reference file is, or would be."""
        if is_mapping(name):
            return self.mapping_path(name)
        return self.reference_path(name, observatory, instrument)

    def has(self, name: str, observatory: str | None = None) -> bool:
        """Say whether a file is in the cache."""
        try:
            return self.path(name, observatory).is_file()
        except ConfigurationError:
            return False

    def subdir_mode(self, observatory: str) -> str:
        """Return ``flat`` or ``instrument``: whether instruments have folders of their own."""
        if observatory not in self._modes:
            note = self.layout.folder("config", observatory) / "ref_cache_subdir_mode"
            try:
                mode = note.read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                many = len(files_in(self.layout.folder("references", observatory))) > _MANY
                mode = "flat" if many else "instrument"
            self._modes[observatory] = "flat" if mode == "flat" else "instrument"
        return self._modes[observatory]

    def mappings(self, observatory: str) -> list[str]:
        """Return the names of the rule files in the cache."""
        folder = self.layout.folder("mappings", observatory)
        return [
            one.name
            for one in files_in(folder)
            if is_mapping(one.name)
            and (folder.name == observatory or observatory_of(one.name) == observatory)
        ]

    def references(self, observatory: str) -> list[Path]:
        """Return the reference files in the cache."""
        folder = self.layout.folder("references", observatory)
        inside = (
            file for one in folders_in(folder) if not one.is_symlink() for file in files_in(one)
        )
        return sorted([*files_in(folder), *inside], key=lambda path: path.name)
