"""A cache of rules and reference files, as the official client lays it out.

An existing cache is used as it stands. What is added appears at once and only
after its size and checksum were found right; several processes, on several
machines, may fill and read the same cache.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lightmill.errors import ConfigurationError, CorruptFileError, OutputError
from lightmill.reference.config import FileInfo, ServerConfig
from lightmill.reference.digests import sha1_of
from lightmill.reference.layout import is_true
from lightmill.reference.shelves import Shelves, observatory_of
from lightmill.reference.storing import Place, mismatch, refused, writing

__all__ = ["Cache", "observatory_of"]


class Cache(Shelves):
    """Rules, references and configuration in folders.

    Parameters
    ----------
    root : path_like, optional
        The cache. By default what the ``CRDS_*`` variables say, and without them a
        folder of our own under the user's cache home.
    environ : mapping, optional
        The variables; by default those of this process.
    readonly : bool, optional
        Whether nothing may be written; by default what ``CRDS_READONLY_CACHE`` says.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        readonly: bool | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        super().__init__(root, environ)
        if readonly is None:
            readonly = is_true(environ.get("CRDS_READONLY_CACHE"))
        self.readonly = readonly
        self._configs: dict[str, ServerConfig | None] = {}

    def __repr__(self) -> str:
        return f"Cache({str(self.root)!r}{', readonly=True' if self.readonly else ''})"

    # -- reading --------------------------------------------------------------------------

    def read_mapping(self, name: str) -> tuple[str, str]:
        """Return the text of a rule file and its place.

        Raises
        ------
        ConfigurationError
            If the file is not in the cache.
        CorruptFileError
            If it cannot be read as text.
        """
        path = self.mapping_path(name)
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except FileNotFoundError:
            raise ConfigurationError(
                "these rules are not in the cache",
                place=path,
                remedy=f"fetch them: lightmill refs sync --contexts {name}"
                if name.endswith(".pmap")
                else "fetch the whole context: lightmill refs sync --contexts CONTEXT",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise CorruptFileError(
                "the rules cannot be read",
                place=path,
                found=getattr(error, "strerror", None) or str(error),
            ) from error

    def config(self, observatory: str) -> ServerConfig | None:
        """Return what the observatory's server said last, or None if nobody asked it."""
        if observatory not in self._configs:
            path = self.layout.folder("config", observatory) / "server_config"
            try:
                text = path.read_text(encoding="utf-8")
            except (FileNotFoundError, NotADirectoryError):
                self._configs[observatory] = None
            except (OSError, UnicodeDecodeError) as error:
                raise CorruptFileError(
                    "the configuration of the cache cannot be read",
                    place=path,
                    found=getattr(error, "strerror", None) or str(error),
                ) from error
            else:
                self._configs[observatory] = ServerConfig.parse(text, path)
        return self._configs[observatory]

    def file_info(self, name: str, observatory: str | None = None) -> FileInfo:
        """Return what is known of a file's size and checksum; both may be unknown."""
        config = self.config(observatory or self.observatory_of(name))
        return (config.file_info(name) if config else None) or FileInfo(name)

    def verify(
        self,
        name: str,
        observatory: str | None = None,
        *,
        info: FileInfo | None = None,
        path: Path | None = None,
    ) -> str | None:
        """Return what is wrong with a file in the cache, or None.

        Its SHA-1 is computed once, as long as the file does not change.

        Parameters
        ----------
        name : str
            File name.
        observatory : str, optional
            Needed where the name does not say it.
        info : FileInfo, optional
            What the file should be; by default what the server told when asked last.
        path : Path, optional
            Where it is, if that is known already.
        """
        path = path or self.path(name, observatory)
        info = info or self.file_info(name, observatory)
        try:
            size = path.stat().st_size
            if info.size is None or size == info.size:
                sha1 = sha1_of(path) if info.sha1 else None
            else:
                sha1 = None
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        problem = mismatch(info, size, sha1)
        return None if problem is None else f"its {problem[0]} is {problem[1]}, not {problem[2]}"

    # -- contexts -------------------------------------------------------------------------

    def default_context(self, observatory: str) -> str:
        """Return the context to use where nobody names one; see `standing.default_context`."""
        from lightmill.reference.standing import default_context

        return default_context(self, observatory)

    def resolve_context(self, spec: str | None, observatory: str) -> str:
        """Return the context a person means; see `standing.resolve_context`."""
        from lightmill.reference.standing import resolve_context

        return resolve_context(self, spec, observatory)

    # -- writing --------------------------------------------------------------------------

    def writable(self, place: object) -> None:
        """Raise the error of a read-only cache, if this is one.

        Raises
        ------
        OutputError
            If nothing may be written.
        """
        if self.readonly:
            raise OutputError(
                "the cache is read-only",
                place=place,
                remedy="unset CRDS_READONLY_CACHE, or set CRDS_PATH to a cache of your own, or "
                "ask whoever keeps this one to add the file",
            )

    def store(
        self,
        name: str,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        sha1: str | None = None,
        observatory: str | None = None,
        instrument: str | None = None,
        replace: bool = False,
    ) -> Path:
        """Put a file into the cache; it is there at once and whole, or not at all.

        Parameters
        ----------
        name : str
            File name.
        chunks : iterable of bytes
            The content.
        size, sha1 : int and str, optional
            What the content must be.
        observatory, instrument : str, optional
            Needed where the name does not say them.
        replace : bool
            Whether to replace a file of this name that differs. A name never changes
            its meaning, so this is for the repair of damaged files only.

        Returns
        -------
        path : Path
            Where it is.

        Raises
        ------
        CorruptFileError
            If the content is not what was announced, or differs from what is there.
        OutputError
            If the cache is read-only, cannot be written, or the disk is full.
        """
        import hashlib

        info = FileInfo(name, size, sha1)
        target = self.path(name, observatory, instrument)
        with self.writing(target, f"store {name}", info=info) as place:
            digest, length = hashlib.sha1(usedforsecurity=False), 0
            with place.part.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    length += len(chunk)
                file.flush()
                os.fsync(file.fileno())
            if target.exists() and not replace:
                if target.stat().st_size == length and sha1_of(target) == digest.hexdigest():
                    place.discard()
                    return target
                if mismatch(info, length, digest.hexdigest()) is None:
                    place.discard()
                    raise CorruptFileError(
                        "the cache has another file of this name",
                        place=target,
                        found=f"{target.stat().st_size} bytes, sha1 {sha1_of(target)}",
                        expected=f"{length} bytes, sha1 {digest.hexdigest()}",
                        remedy="find out which is right; lightmill refs verify --repair replaces "
                        "a damaged file by the server's",
                    )
            place.publish(info, digest.hexdigest())
        return target

    @contextlib.contextmanager
    def writing(
        self, target: Path, what: str, *, info: FileInfo | None = None, keep: bool = False
    ) -> Iterator[Place]:
        """Give a place to write a file of this cache; see `storing.writing`.

        Yields
        ------
        place : Place
            Where to write.

        Raises
        ------
        OutputError
            If the cache is read-only, cannot be written, or the disk is full.
        """
        self.writable(target)
        try:
            self._remember_mode(target)
        except OSError as error:
            raise refused(target, error) from error
        with writing(target, what, info=info, keep=keep) as place:
            yield place

    def _remember_mode(self, target: Path) -> None:
        """Write down the layout of a new cache, so that other programs find what we put there."""
        for observatory in self.observatories():
            folder = self.layout.folder("references", observatory)
            if folder not in target.parents:
                continue
            note = self.layout.folder("config", observatory) / "ref_cache_subdir_mode"
            if not note.exists():
                self._write_text(note, self.subdir_mode(observatory))

    def save_config(self, config: ServerConfig, observatory: str | None = None) -> Path:
        """Keep what a server said, for use without it.

        Raises
        ------
        OutputError
            If the cache is read-only or cannot be written.
        """
        observatory = observatory or config.observatory
        path = self.layout.folder("config", observatory) / "server_config"
        self.writable(path)
        self._write_text(path, config.text())
        self._write_text(path.with_name("bad_files.txt"), "\n".join(sorted(config.bad_files)))
        note = path.with_name("ref_cache_subdir_mode")
        if not note.exists():
            self._write_text(note, self.subdir_mode(observatory))
        self._configs[observatory] = ServerConfig(config.facts, path)
        return path

    def _write_text(self, path: Path, text: str) -> None:
        from lightmill.models import atomic

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(path, error) from error
        with atomic(path) as file:
            file.write(text.encode())
