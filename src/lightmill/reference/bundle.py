"""One file that holds all that calibrates some data: rules, references, checksums.

A bundle is a zip archive: ``bundle.json`` first, then the files under
``mappings/`` and ``references/``. It takes the place of a server for whoever has
no network. On import every file must be what ``bundle.json`` says it is.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill.errors import CorruptFileError, LightmillError, OutputError
from lightmill.reference.cache import Cache
from lightmill.reference.config import FileInfo, ServerConfig
from lightmill.reference.digests import sha1_of
from lightmill.reference.layout import is_mapping, plain_name

__all__ = ["Bundle", "check_archive_name", "read_bundle", "write_bundle"]

_FORMAT = "lightmill reference bundle 1"
_CONTENTS = "bundle.json"
_BLOCK = 1 << 20
_REMEDIES = {
    errno.ENOENT: "make the folder first, or write it elsewhere",
    errno.ENOSPC: "free some space, or write it elsewhere",
    errno.EDQUOT: "free some space, or write it elsewhere",
}
_STORED = {".fits", ".asdf", ".json", ".yaml"}


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    Parameters
    ----------
    observatory, context : str
        Whose files, and the context they belong to.
    files : tuple of FileInfo
        All files.
    instruments : dict
        Name of a reference → its instrument, where it is known.
    path : Path
        The archive.
    """

    observatory: str
    context: str
    files: tuple[FileInfo, ...]
    instruments: dict[str, str]
    path: Path


def write_bundle(
    path: str | os.PathLike[str],
    cache: Cache,
    *,
    observatory: str,
    context: str,
    names: Iterable[str],
    instruments: dict[str, str] | None = None,
) -> Bundle:
    """Write a bundle of files a cache has.

    Parameters
    ----------
    path : path_like
        The archive to write.
    cache : Cache
        Where the files are.
    observatory, context : str
        Whose files, and the context they belong to.
    names : iterable of str
        The files: rules and references.
    instruments : dict, optional
        Name of a reference → its instrument.

    Returns
    -------
    bundle : Bundle
        What was written.

    Raises
    ------
    CorruptFileError
        If a file in the cache is damaged.
    OutputError
        If the archive cannot be written; nothing of it is then left.
    """
    path = Path(path)
    check_archive_name(path)
    infos = []
    for name in dict.fromkeys(names):
        place = cache.path(name, observatory)
        problem = cache.verify(name, observatory, path=place)
        if problem:
            raise CorruptFileError(
                f"the file in the cache cannot go into a bundle: {problem}",
                place=place,
                remedy="lightmill refs verify --repair --server URL",
            )
        infos.append(FileInfo(name, place.stat().st_size, sha1_of(place)))
    bundle = Bundle(observatory, context, tuple(infos), dict(instruments or {}), path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(_CONTENTS, json.dumps(_contents(bundle, cache), indent=1))
            for info in infos:
                archive.write(
                    cache.path(info.name, observatory),
                    _inside(info.name),
                    zipfile.ZIP_STORED
                    if Path(info.name).suffix in _STORED
                    else zipfile.ZIP_DEFLATED,
                )
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise OutputError(
            "the bundle cannot be written",
            place=path,
            found=error.strerror,
            remedy=_REMEDIES.get(error.errno or 0, "write it elsewhere"),
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return bundle


def check_archive_name(path: Path) -> None:
    """Refuse to write a bundle under a name that says it is something else.

    Raises
    ------
    OutputError
        If the name does not end in ``.zip``, or there is no folder to write it to.
    """
    if path.suffix.lower() != ".zip":
        raise OutputError(
            "a bundle is a zip archive, and its name has to say so",
            place=path,
            expected=f"{path.name.partition('.')[0] or 'references'}.zip",
        )
    if not path.parent.is_dir():
        raise OutputError(
            "the bundle cannot be written",
            place=path,
            found=f"no folder {path.parent}",
            remedy=_REMEDIES[errno.ENOENT],
        )


def _contents(bundle: Bundle, cache: Cache) -> dict[str, Any]:
    config = cache.config(bundle.observatory)
    return {
        "format": _FORMAT,
        "observatory": bundle.observatory,
        "context": bundle.context,
        "bad_files": sorted(config.bad_files) if config else [],
        "files": [
            {
                "name": info.name,
                "size": info.size,
                "sha1": info.sha1,
                **(
                    {"instrument": bundle.instruments[info.name]}
                    if info.name in bundle.instruments
                    else {}
                ),
            }
            for info in bundle.files
        ],
    }


def _inside(name: str) -> str:
    return f"{'mappings' if is_mapping(name) else 'references'}/{name}"


def read_bundle(path: str | os.PathLike[str], cache: Cache) -> Bundle:
    """Put the files of a bundle into a cache.

    Files the cache has already stay as they are. A cache without a configuration gets one
    that names the bundle's context.

    Parameters
    ----------
    path : path_like
        The archive.
    cache : Cache
        Where to put the files.

    Returns
    -------
    bundle : Bundle
        What it held.

    Raises
    ------
    CorruptFileError
        If the archive is damaged, or a file is not what ``bundle.json`` says.
    OutputError
        If the cache is read-only, cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            bundle, bad_files = _read_contents(archive, path)
            cache.writable(cache.root)
            for info in bundle.files:
                _import(archive, info, bundle, cache)
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        EOFError,
        NotImplementedError,
        OSError,
    ) as error:
        raise _damaged(path, getattr(error, "strerror", None) or str(error)) from error
    _configure(bundle, bad_files, cache)
    return bundle


def _import(archive: zipfile.ZipFile, info: FileInfo, bundle: Bundle, cache: Cache) -> None:
    instrument = bundle.instruments.get(info.name)
    if archive.getinfo(_inside(info.name)).file_size != info.size:
        raise _damaged(bundle.path, f"{info.name}: its size is not the one bundle.json says")
    if cache.has(info.name, bundle.observatory) and not cache.verify(
        info.name, bundle.observatory, info=info
    ):
        return
    cache.store(
        info.name,
        _blocks(archive, info),
        size=info.size,
        sha1=info.sha1,
        observatory=bundle.observatory,
        instrument=instrument,
        replace=_is_damaged(info.name, bundle.observatory, cache),
    )


def _is_damaged(name: str, observatory: str, cache: Cache) -> bool:
    """Say whether the cache has the file, and its server says it is another."""
    return cache.has(name, observatory) and cache.verify(name, observatory) is not None


def _blocks(archive: zipfile.ZipFile, info: FileInfo) -> Iterator[bytes]:
    """Yield the content of a file; an error follows it if it is not what ``bundle.json`` says."""
    import hashlib

    place, digest = Path(str(archive.filename)), hashlib.sha1(usedforsecurity=False)
    try:
        with archive.open(_inside(info.name)) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                yield block
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(place, f"{info.name}: {error}") from error
    if digest.hexdigest() != info.sha1:
        raise _damaged(place, f"{info.name}: its sha1 is not the one bundle.json says")


def _read_contents(archive: zipfile.ZipFile, path: Path) -> tuple[Bundle, list[str]]:
    try:
        facts = json.loads(archive.read(_CONTENTS))
        if facts["format"] != _FORMAT:
            raise ValueError(f"format {facts['format']!r}")  # noqa: TRY301 - one message for all
        files = tuple(
            FileInfo(plain_name(f["name"], path), int(f["size"]), str(f["sha1"]))
            for f in facts["files"]
        )
        instruments = {
            f["name"]: plain_name(f["instrument"], path)
            for f in facts["files"]
            if "instrument" in f
        }
        observatory, context = (
            plain_name(facts["observatory"], path),
            plain_name(facts["context"], path),
        )
        return (
            Bundle(observatory, context, files, instruments, path),
            [str(name) for name in facts.get("bad_files", [])],
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"{_CONTENTS}: {type(error).__name__}: {error}") from error


def _configure(bundle: Bundle, bad_files: list[str], cache: Cache) -> None:
    """Tell a cache that knows no server which context there is, and what the files are."""
    config = cache.config(bundle.observatory)
    if config is None:
        config = ServerConfig(
            {
                "observatory": bundle.observatory,
                **{f"{s}_context": bundle.context for s in ("operational", "latest", "edit")},
                "bad_files_list": bad_files,
                "bad_files": " ".join(bad_files),
                "mappings": sorted(i.name for i in bundle.files if is_mapping(i.name)),
                "crds_version": {"str": "14.0.0"},
                "force_remote_mode": False,
                "connected": False,
                "status": "bundle",
                "last_synced": "never",
            }
        )
    elif config.facts.get("status") == "bundle":
        names = {*config.mapping_names, *(i.name for i in bundle.files if is_mapping(i.name))}
        states = {f"{state}_context": bundle.context for state in ("operational", "latest", "edit")}
        config = ServerConfig({**config.facts, **states, "mappings": sorted(names)})
    else:
        return
    cache.save_config(config.with_files(bundle.files), bundle.observatory)


def _damaged(path: Path, found: str) -> LightmillError:
    return CorruptFileError(
        "the bundle cannot be read",
        place=path,
        found=found,
        expected=f"a zip archive that lightmill refs bundle wrote ({_FORMAT})",
        remedy="copy or download it again",
    )
