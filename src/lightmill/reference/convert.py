"""The same rules in the other form: mapping files as YAML, and YAML as mapping files."""

from __future__ import annotations

from pathlib import Path

from lightmill.reference.parsed import is_yaml, parsed
from lightmill.reference.rules.sources import FolderSource
from lightmill.reference.rules.text import MappingText, Node, format_mapping

__all__ = ["converted", "in_order"]


def converted(path: str | Path, name: str | None = None) -> str:
    """Return the text of a file of rules in the other form.

    Parameters
    ----------
    path : path_like
        A ``.pmap``, ``.imap`` or ``.rmap`` file, or a YAML file of one document.
    name : str, optional
        Name of the new file, for the header of a mapping file where the YAML gives none.

    Returns
    -------
    text : str
        YAML; or a mapping file with its checksum.
    """
    from lightmill.reference.yaml_rules import read_rules, write_rules

    place = Path(path)
    source = FolderSource(place.parent)
    if not is_yaml(place):
        return write_rules(parsed(place.name, source))
    mapping = read_rules(*source.read_mapping(place.name))
    header = mapping.header
    if "name" not in header:  # written by a person, who leaves to us what has to be there
        usual = {"name": name or place.stem, "derived_from": place.name, "filekind": place.stem}
        if not isinstance(mapping.selector, Node):
            del usual["filekind"]
        mapping.header = dict(sorted({**usual, **header}.items()))
    return format_mapping(in_order(mapping))


def in_order(mapping: MappingText) -> MappingText:
    """Return a mapping with the place of the checksum in its header, if the header is sorted."""
    header = mapping.header
    if "sha1sum" not in header and list(header) == sorted(header):
        mapping.header = dict(sorted({**header, "sha1sum": ""}.items()))
    return mapping
