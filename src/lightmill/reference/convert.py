"""The same rules in the other form: mapping files as YAML, and YAML as mapping files."""

from __future__ import annotations

from pathlib import Path

from lightmill.reference.parsed import FolderOfMappings, is_yaml, parsed
from lightmill.reference.rules.text import MappingText, format_mapping

__all__ = ["converted", "in_order"]


def converted(path: str | Path, name: str | None = None) -> str:
    """Return the text of a file of rules in the other form.

    Parameters
    ----------
    path : path_like
        A ``.pmap``, ``.imap`` or ``.rmap`` file, or a YAML file of one document.
    name : str, optional
        Name of the new file, which a mapping file says in its header.

    Returns
    -------
    text : str
        YAML; or a mapping file with its checksum.
    """
    from lightmill.reference.yaml_rules import write_rules

    place = Path(path)
    mapping = parsed(place.name, FolderOfMappings(place.parent))
    if not is_yaml(place):
        return write_rules(mapping)
    if name is not None and name.endswith("map"):
        mapping.header["name"] = Path(name).name
    return format_mapping(in_order(mapping))


def in_order(mapping: MappingText) -> MappingText:
    """Return a mapping with the place of the checksum in its header, if the header is sorted."""
    header = mapping.header
    if "sha1sum" not in header and list(header) == sorted(header):
        mapping.header = dict(sorted({**header, "sha1sum": ""}.items()))
    return mapping
