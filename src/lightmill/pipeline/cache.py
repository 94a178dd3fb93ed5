"""The run cache: results of steps, kept under the identity of what made them.

The identity of a result is a hash of its input's content, of every step that
made it with its version and parameters, and of the reference files used. A
result found under its identity is the result; so a run can go on where it was
stopped, by a person or by a power cut, and ends with the same product.

An entry is a directory that appears at once, by a rename, when all is in it:
``state.json``, and one file of numbers for each array.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import OutputError
from lightmill.models import Model
from lightmill.models.lineage import identity_of, restore, set_identity, untouched
from lightmill.pipeline.spool import IN_MEMORY_BYTES, Spool
from lightmill.pipeline.step import Products

__all__ = ["RunCache", "file_digest", "identity", "model_identity"]

_BLOCK = 1 << 20


def identity(*parts: Any) -> str:
    """Return the hash of some facts that JSON can spell."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file; computed once while size and time stay as they are."""
    path = Path(path).resolve()
    status = path.stat()
    key = f"{path}|{status.st_ino}|{status.st_size}|{status.st_mtime_ns}"
    known = _digests()
    if key not in known:
        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        _remember(known)
    return known[key]


_memory: dict[str, str] | None = None


def _digest_file() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lightmill" / "digests.json"


def _digests() -> dict[str, str]:
    global _memory  # noqa: PLW0603 - one table a process
    if _memory is None:
        try:
            _memory = dict(json.loads(_digest_file().read_text()))
        except (OSError, ValueError):
            _memory = {}
    return _memory


def _remember(known: dict[str, str]) -> None:
    """Keep the newest digests for the next process; a cache that cannot be written is no failure."""
    path = _digest_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(dict(list(known.items())[-5000:]), file)
        os.replace(file.name, path)
    except OSError:
        return


def model_identity(model: Model | Products) -> str:
    """Return the identity of a model: what made it if that is known, else its content."""
    if isinstance(model, Products):
        return identity({suffix: model_identity(m) for suffix, m in model.items()})
    known = identity_of(model)
    if known is None:
        if model.path is not None and untouched(model):
            known = file_digest(model.path)
        else:
            digest = hashlib.sha256(json.dumps(model.meta.flat(), sort_keys=True, default=str).encode())
            for name in sorted(model.arrays):
                digest.update(name.encode())
                for chunk in _chunks(model.arrays[name]):
                    digest.update(np.ascontiguousarray(chunk).view(np.uint8).data)
            known = digest.hexdigest()
        set_identity(model, known)
    return known


def _chunks(array: Any) -> Any:
    return array.chunks() if hasattr(array, "chunks") else [array]


class RunCache:
    """A directory of results.

    Parameters
    ----------
    directory : path_like
        Made when the first result is kept.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def __contains__(self, key: str) -> bool:
        return (self.directory / key / "state.json").exists()

    def keep(self, key: str, result: Model | Products, notes: dict[str, Any]) -> None:
        """Keep a result, with what the runner notes about the steps so far."""
        if key in self:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=self.directory))
            try:
                self._fill(aside, result, notes)
                aside.replace(self.directory / key)
            except OSError:
                if key not in self:
                    raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise OutputError(
                "cannot keep a result for resuming",
                place=self.directory,
                found=error.strerror,
                remedy="free space, name another directory with --cache-dir, or do not resume",
            ) from error

    def find(self, key: str, source: Model) -> tuple[Model | Products, dict[str, Any]] | None:
        """Return a kept result and its notes; what is not arrays comes from `source`."""
        entry = self.directory / key
        try:
            state = json.loads((entry / "state.json").read_text())
        except (OSError, ValueError):
            return None
        found = {
            suffix: self._model(entry, suffix, facts, source)
            for suffix, facts in state["models"].items()
        }
        result = Products(found) if state["several"] else found[""]
        if not isinstance(result, Products):
            set_identity(result, key)
        return result, state["notes"]

    def _fill(self, entry: Path, result: Model | Products, notes: dict[str, Any]) -> None:
        parts = result if isinstance(result, Products) else {"": result}
        state: dict[str, Any] = {
            "several": isinstance(result, Products),
            "notes": notes,
            "models": {},
        }
        for suffix, model in parts.items():
            arrays = {}
            for name, array in model.arrays.items():
                if array is None:
                    continue
                if getattr(array.dtype, "names", None):
                    np.save(entry / f"{suffix}.{name}.npy", np.asarray(array), allow_pickle=False)
                    arrays[name] = None
                    continue
                with (entry / f"{suffix}.{name}").open("wb") as file:
                    for chunk in _chunks(array):
                        file.write(np.ascontiguousarray(chunk).view(np.uint8).data)
                    file.flush()
                    os.fsync(file.fileno())
                arrays[name] = [list(array.shape), array.dtype.str]
            state["models"][suffix] = {
                "class": type(model).__name__,
                "meta": model.meta.flat(),
                "arrays": arrays,
            }
        with (entry / "state.json").open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())

    def _model(self, entry: Path, suffix: str, facts: dict[str, Any], source: Model) -> Model:
        arrays: dict[str, Any] = {}
        for name, kind in facts["arrays"].items():
            if kind is None:
                arrays[name] = np.load(entry / f"{suffix}.{name}.npy", allow_pickle=False)
                continue
            shape, dtype = kind
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            path = entry / f"{suffix}.{name}"
            if size > IN_MEMORY_BYTES // 4 and len(shape) > 2:  # noqa: PLR2004 - planes of rows and columns
                arrays[name] = Spool(shape, dtype, path=path)
            else:
                arrays[name] = np.fromfile(path, dtype).reshape(shape)
        return restore(facts["class"], facts["meta"], arrays, source)
