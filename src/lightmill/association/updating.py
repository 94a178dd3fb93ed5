"""Write the associations of a pool that changed: what is the same stays as it is.

A folder that is kept up to date has a file beside the associations, `MEMORY`, that says what was
made of each candidate and which files were written. It may be deleted: then all is made anew.
"""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from lightmill.association.engine.candidates import Candidate
from lightmill.association.engine.incremental import Associator
from lightmill.association.engine.memory import fingerprint, recall, told
from lightmill.association.engine.options import Options
from lightmill.association.language.rules import RuleSet
from lightmill.association.output import CODE_VERSION, FILE_NAME, Written, write_associations
from lightmill.association.pool_table import Pool
from lightmill.association.records import Association
from lightmill.errors import OutputError

__all__ = ["MEMORY", "Updated", "update_associations"]

MEMORY = ".lightmill-associations"
"""Name of the file that remembers; not ``.json``, so nobody takes it for an association."""

_HEAD = "lightmill associations"


class Updated(NamedTuple):
    """What became of a folder of associations.

    Parameters
    ----------
    associations : list of Association
        All of the pool, as `associate` makes them.
    written : Written or None
        Their files; None if nothing was to be written.
    gone : list of str
        Files written before, still there, that are made no more.
    recomputed : list of (str, str)
        The candidates that were worked on.
    anew : str
        Why all of them were, if that has another reason than the pool; else empty.
    """

    associations: list[Association]
    written: Written | None
    gone: list[str]
    recomputed: list[Candidate]
    anew: str


def update_associations(
    pool: Pool,
    rules: RuleSet,
    folder: str | os.PathLike[str],
    options: Options | None = None,
    *,
    pattern: str = FILE_NAME,
    version: str | None = None,
    dry_run: bool = False,
) -> Updated:
    """Bring the associations in a folder up to date with a pool.

    Candidates whose rows are those of the last time, in their order, are not worked on again. The
    result is that of all candidates. Files that say the same already are not touched. Nothing is
    deleted.

    Whenever the process is killed, each file is as it was before or as it is after, and doing the
    same again completes the work: names are noted before files get them, and what is known of
    candidates when all of them have.

    Parameters
    ----------
    pool : Pool
        Folded.
    rules : RuleSet
        Of the observatory.
    folder : path-like
        It exists.
    options : Options, optional
        If they are others than the last time, all is made anew.
    pattern, version : str
        See `write_associations`.
    dry_run : bool
        Write nothing, only tell.

    Returns
    -------
    updated : Updated
        What was written, what had been there, what no longer follows from the pool.
    """
    folder, options = Path(folder), options or Options()
    if not folder.is_dir():
        raise OutputError("there is no such folder", place=folder)
    mark = fingerprint(rules, options, CODE_VERSION)
    before, anew = _read(folder)
    associator = Associator(rules, options)
    if before and before["of"] != mark:
        anew = "rules, options or program are others than the last time"
    elif before:
        recall(associator, before["known"])
    associations = associator.update(pool)
    listed: list[str] = before["files"] if before else []
    if dry_run:
        return Updated(associations, None, [], associator.recomputed, anew)
    from lightmill import models

    models.remove_abandoned(folder)
    names: list[str] = []

    def note(now: list[str]) -> None:
        names.extend(now)
        if set(now) - set(listed):
            known = before["known"] if before else told(Associator(rules, options))
            old = {"of": before["of"] if before else mark, "known": known}
            _write(folder, old | {"files": list(dict.fromkeys([*listed, *now]))})

    written = write_associations(
        associations, folder, pattern=pattern, version=version, keep_equal=True, before=note
    )
    made = set(names)
    gone = [name for name in listed if name not in made and (folder / name).is_file()]
    _write(folder, {"of": mark, "known": told(associator), "files": [*names, *gone]})
    return Updated(associations, written, gone, associator.recomputed, anew)


def _read(folder: Path) -> tuple[dict[str, Any], str]:
    """Return what was remembered, and why it is nothing if it is."""
    path = folder / MEMORY
    try:
        head, _, text = path.read_text(encoding="utf-8").partition("\n")
    except FileNotFoundError:
        return {}, ""
    except (OSError, UnicodeDecodeError):
        return {}, f"{MEMORY} cannot be read"
    if head != _head(text):
        return {}, f"{MEMORY} is damaged, or of another version"
    found = json.loads(text)
    assert isinstance(found, dict)
    return found, ""


def _write(folder: Path, content: dict[str, Any]) -> None:
    from lightmill import models

    text = json.dumps(content, separators=(",", ":"))
    with models.atomic(folder / MEMORY) as file:
        file.write(f"{_head(text)}\n{text}".encode())


def _head(text: str) -> str:
    return f"{_HEAD} {CODE_VERSION} {blake2b(text.encode(), digest_size=16).hexdigest()}"
