"""Caches of rules and reference files, as tests need them."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from lightmill.models import Model

__all__ = ["add_to_cache"]


def add_to_cache(root: str | Path, model: Model, reftype: str, file: Path) -> str:
    """Add a reference of a new type to a cache, for all data of an instrument.

    Parameters
    ----------
    root : path_like
        A cache with a context of the model's observatory.
    model : Model
        Says the observatory and the instrument.
    reftype : str
        A type the instrument's rules do not have.
    file : Path
        The reference; it is copied.

    Returns
    -------
    context : str
        Name of the new context; it is the operational one.
    """
    observatory = str(model.meta.get("telescope")).lower()
    instrument = str(model.meta.get("instrument.name")).lower()
    mappings = Path(root) / "mappings" / observatory
    stem = f"{observatory}_{instrument}_{reftype}"
    folder = Path(root) / "references" / observatory / instrument
    name = f"{stem}_0001{file.suffix}"
    shutil.copyfile(file, folder / name)
    rules = f"""header = {{
    'classes' : ('Match', 'UseAfter'),
    'derived_from' : 'a test',
    'filekind' : '{reftype.upper()}',
    'instrument' : '{instrument.upper()}',
    'mapping' : 'REFERENCE',
    'name' : '{stem}_0001.rmap',
    'observatory' : '{observatory.upper()}',
    'parkey' : (('META.INSTRUMENT.DETECTOR',), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME')),
    'sha1sum' : '',
}}

selector = Match({{
    ('N/A',) : UseAfter({{
        '1900-01-01 00:00:00' : '{name}',
    }}),
}})
"""
    _write(mappings / f"{stem}_0001.rmap", rules)
    newest = max(mappings.glob(f"{observatory}_{instrument}_[0-9]*.imap"))
    types = newest.read_text().replace(
        "selector = {", f"selector = {{\n    '{reftype}' : '{stem}_0001.rmap',"
    )
    imap = _next(newest, types)
    context = max(mappings.glob(f"{observatory}_[0-9]*.pmap"))
    made = _next(context, context.read_text().replace(newest.name, imap.name))
    config = Path(root) / "config" / observatory / "server_config"
    config.write_text(config.read_text().replace(context.name, made.name))
    return made.name


def _next(path: Path, text: str) -> Path:
    """Write rules under the number after that of `path`."""
    stem, number = path.stem.rsplit("_", 1)
    made = path.with_name(f"{stem}_{int(number) + 1:04d}{path.suffix}")
    text = re.sub(r"'derived_from' : '[^']*'", f"'derived_from' : '{path.name}'", text)
    _write(made, text.replace(f"'name' : '{path.name}'", f"'name' : '{made.name}'"))
    return made


def _write(path: Path, text: str) -> None:
    """Write rules with the checksum of all lines but the one that holds it."""
    lines = [line for line in text.splitlines(keepends=True) if "sha1sum" not in line]
    total = hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()
    path.write_text(re.sub(r"'sha1sum' : '[^']*'", f"'sha1sum' : '{total}'", text))
