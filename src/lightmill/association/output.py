"""Associations as files: JSON as the field's programs read it, under the field's names."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, NamedTuple

from lightmill.association.documents import faults_of
from lightmill.association.names import file_name_fault
from lightmill.association.records import Association
from lightmill.errors import LightmillError, OutputError, ValidationError

__all__ = [
    "FILE_NAME",
    "Written",
    "as_document",
    "as_text",
    "file_name",
    "version_stamp",
    "write_associations",
    "write_document",
]

CODE_VERSION = "0.1.0"  # as the run records say it; asking them costs as much as a small pool
FILE_NAME = "{program}-{candidate}{version}_{type}_{sequence}_asn.json"
"""How an association's file is called, unless an observatory says otherwise."""

SOUND = "No known degraded exposures in association."
DEGRADED = (
    "One or more members have an error associated with them.\n"
    "Details can be found in the member.exposerr attribute."
)
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Written(NamedTuple):
    """What became of associations.

    Parameters
    ----------
    paths : list of Path
        The files, in the order of the associations.
    refused : list of LightmillError
        Why others were not written, with the name of each.
    unchanged : int
        How many of the files were there already, equal, and were not touched.
    """

    paths: list[Path]
    refused: list[LightmillError]
    unchanged: int = 0


def version_stamp(now: dt.datetime | None = None) -> str:
    """Return the time as the field stamps versions with it, in UTC: ``20260102t030405``."""
    now = now or dt.datetime.now(dt.UTC)
    return now.astimezone(dt.UTC).strftime("%Y%m%dt%H%M%S")


def as_document(association: Association, *, version: str | None = None) -> dict[str, Any]:
    """Return an association as the field's files have it.

    Parameters
    ----------
    association : Association
        What to write.
    version : str, optional
        Stamp of the run.

    Returns
    -------
    document : dict
        Keys in the order the field's generator writes them, which differs by level.
    """
    head: dict[str, Any] = {
        "asn_type": association.type,
        "asn_rule": association.rule,
        "version_id": version,
        "code_version": CODE_VERSION,
        "degraded_status": DEGRADED if association.degraded else SOUND,
        "program": association.program,
        "constraints": association.constraints or "No constraints",
        "asn_id": association.candidate,
    }
    pool, target = {"asn_pool": association.pool}, {"target": association.target}
    head |= {**pool, **target} if association.level == 2 else {**target, **pool}
    head["products"] = [
        {"name": product.name, "members": [member.as_dict() for member in product.members]}
        for product in association.products
    ]
    return head


def as_text(document: dict[str, Any]) -> str:
    """Return a document as JSON, indented by four blanks, in ASCII.

    The result is what ``json.dumps(document, indent=4)`` gives, which is slow: it takes as long
    as making the associations.
    """
    lines: list[str] = []
    quote = encode_basestring_ascii
    for key, value in document.items():
        if key != "products":
            text = quote(value) if isinstance(value, str) else json.dumps(value, indent=4)
            lines.append(f"    {quote(key)}: " + text.replace("\n", "\n    "))
            continue
        products = []
        for product in value:
            members = []
            for member in product["members"]:
                cells = ",\n".join(
                    f"                    {quote(name)}: "
                    + (quote(cell) if isinstance(cell, str) else json.dumps(cell))
                    for name, cell in member.items()
                )
                members.append(f"                {{\n{cells}\n                }}")
            inside = ",\n".join(members)
            listed = f"[\n{inside}\n            ]" if members else "[]"
            products.append(
                f'        {{\n            "name": {quote(product["name"])},\n'
                f'            "members": {listed}\n        }}'
            )
        inside = ",\n".join(products)
        lines.append('    "products": ' + (f"[\n{inside}\n    ]" if products else "[]"))
    return "{\n" + ",\n".join(lines) + "\n}"


def file_name(
    association: Association, *, pattern: str = FILE_NAME, version: str | None = None
) -> str:
    """Return how the file of an association is called.

    Parameters
    ----------
    association : Association
        Numbered.
    pattern : str
        With ``{program}``, ``{candidate}``, ``{version}``, ``{type}`` and ``{sequence}``.
    version : str, optional
        Stamp of the run; it stands behind the candidate.

    Returns
    -------
    name : str
        In lower case.

    Raises
    ------
    ValidationError
        If a part of it, which comes from data, would not be a part of a file's name.
    """
    parts = {
        "program": association.program,
        "candidate": association.candidate,
        "type": association.type,
    }
    for part, text in parts.items():
        if not _SAFE.fullmatch(text) or ".." in text:
            raise ValidationError(
                f"the {part} of an association cannot be part of a file's name",
                place=f"{association.pool} [{association.rule}]",
                found=text,
                expected="letters, digits, '-', '_', '+' and '.'",
            )
    name = pattern.format(
        **parts,
        version=f"_{version}" if version else "",
        sequence=f"{association.sequence:05d}",
    ).lower()
    if association.duplicate is not None:
        name = f"dup{association.duplicate:05d}_{name}"
    fault = file_name_fault(name)
    if fault:
        raise ValidationError(fault, place=f"{association.pool} [{association.rule}]", found=name)
    return name


def write_associations(
    associations: Iterable[Association],
    directory: str | os.PathLike[str],
    *,
    pattern: str = FILE_NAME,
    version: str | None = None,
    keep_equal: bool = False,
    before: Callable[[list[str]], None] | None = None,
) -> Written:
    """Write associations into a folder, each completely or not at all.

    All are made ready beside the folder's files first; only then they get their names, and
    replace files of the same names.

    Parameters
    ----------
    associations : iterable of Association
        Numbered; in the order to write.
    directory : path-like
        A folder that exists. Nothing outside it is touched.
    pattern, version : str
        See `file_name`.
    keep_equal : bool
        Whether files that are there and say the same already are left untouched.
    before : callable, optional
        Is told the names of all files when they are ready, before any gets its name.

    Returns
    -------
    written : Written
        The files, and which associations were refused: one that programs could not read, or
        whose name is no file's name or another's.

    Raises
    ------
    OutputError
        If there is no such folder or it cannot be written to.
    ConfigurationError
        If the version is none.
    """
    folder = _folder(directory)
    if version is not None and not _VERSION.fullmatch(version):
        raise OutputError(
            "the version cannot be part of a file's name",
            found=version,
            expected="letters, digits, '-', '_' and '.', 64 at most",
        )
    refused: list[LightmillError] = []
    names: dict[str, str] = {}
    equal: set[str] = set()
    try:
        with _aside(folder) as aside:
            for association in associations:
                try:
                    name = file_name(association, pattern=pattern, version=version)
                    document = as_document(association, version=version)
                    _refuse_faulty(document, f"{association.pool} [{name}]")
                    _refuse_known(name, association, names)
                except ValidationError as error:
                    refused.append(error)
                    continue
                names[name] = association.rule
                content = as_text(document).encode("ascii")
                if keep_equal and _is(folder / name, content):
                    equal.add(name)
                else:
                    (aside / name).write_bytes(content)
            for name in names:
                if (folder / name).is_dir() and not (folder / name).is_symlink():
                    raise OutputError("a folder has the name of a file", place=folder / name)
            if before is not None:
                before(list(names))
            paths = [
                folder / name if name in equal else (aside / name).replace(folder / name)
                for name in names
            ]
    except OSError as error:
        raise OutputError(
            "associations cannot be written", place=folder, found=error.strerror
        ) from error
    return Written(paths, refused, len(equal))


def write_document(document: dict[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write one association to a file of a given name, completely or not at all.

    Raises
    ------
    ValidationError
        If the field's programs could not read it.
    OutputError
        If it cannot be written.
    """
    from lightmill import models

    path = Path(path)
    if path.suffix != ".json":
        raise OutputError(
            "an association's file must end in '.json', or the field's programs refuse it",
            place=path,
        )
    _refuse_faulty(document, str(path))
    with models.atomic(path) as file:
        file.write(as_text(document).encode("ascii"))
    return path


def _refuse_faulty(document: dict[str, Any], place: str) -> None:
    for fault in faults_of(document):
        if fault.fatal:
            raise ValidationError(fault.fact, place=f"{place} {fault.path}", found=fault.found)


def _refuse_known(name: str, association: Association, names: dict[str, str]) -> None:
    if name in names:
        raise ValidationError(
            "two associations have one file name",
            place=f"{association.pool} [{name}]",
            found=f"{names[name]} and {association.rule}",
        )


def _is(path: Path, content: bytes) -> bool:
    """Say whether a file is there and has this content."""
    try:
        return not path.is_symlink() and path.read_bytes() == content
    except OSError:
        return False


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Make a hidden folder to fill; it is removed, with what was not renamed.

    It is locked as long as this process lives, so that `models.remove_abandoned` removes it if
    the process was killed (`models.directory_aside` does the same; to import the models takes
    longer than to associate a small pool).
    """
    import fcntl

    path = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _folder(directory: str | os.PathLike[str]) -> Path:
    folder = Path(directory)
    if not folder.is_dir():
        raise OutputError("there is no such folder", place=folder)
    return folder
