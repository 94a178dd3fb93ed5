"""The run cache: results of steps, kept under the identity of what made them.

The identity of a result is a hash of its input's content, of every step that
made it with its version and parameters, and of the reference files used. A
result found under its identity is the result; so a run can go on where it was
stopped, by a person or by a power cut, and ends with the same product.

An entry is a directory that appears at once, by a rename, when all is in it:
``state.json``, and one file of numbers for each array.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import LightmillError, OutputError
from lightmill.models import Exposures, Model, directory_aside, remove_abandoned, synchronise
from lightmill.models.asdf_tree import Tagged
from lightmill.models.lazy import LazyArray
from lightmill.models.lineage import restore, untouched
from lightmill.pipeline.several import sample_of
from lightmill.pipeline.spool import IN_MEMORY_BYTES, Spool
from lightmill.pipeline.step import Products

__all__ = ["RunCache", "file_digest", "file_or_value", "identity", "model_identity"]

_BLOCK = 1 << 20
_EXPOSURES = "exposures"
_IN_ITS_FILE = "in its file"
_TAG = "!tag"  # key of a node with a tag, where JSON has none


def identity(*parts: Any) -> str:
    """Return the hash of some facts that JSON can spell."""
    import hashlib  # loads OpenSSL, which a run with known files does without

    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file; computed once while size and time stay as they are."""
    path = Path(path).resolve()
    status = path.stat()
    key = f"{path}|{status.st_ino}|{status.st_size}|{status.st_mtime_ns}"
    known = _digests()
    if key not in known:
        import hashlib  # loads OpenSSL, which a run with known files does without

        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        _remember(known)
    return known[key]


def file_or_value(value: Any) -> Any:
    """Return a value, or the digest of the file it names: what a step's parameter stands for."""
    if isinstance(value, str) and value:
        try:
            if Path(value).is_file():
                return file_digest(value)
        except (OSError, ValueError):
            return value
    return value


_memory: dict[str, str] | None = None


def _digest_file() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lightmill" / "digests.json"


def _digests() -> dict[str, str]:
    global _memory  # noqa: PLW0603 - one table a process
    if _memory is None:
        try:
            _memory = dict(json.loads(_digest_file().read_text()))
        except (OSError, ValueError, TypeError, RuntimeError):
            _memory = {}
    return _memory


def _remember(known: dict[str, str]) -> None:
    """Keep the newest digests for the next process; a cache that cannot be written is no failure."""
    import tempfile  # 5 ms, and most runs find what they need

    try:
        path = _digest_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(dict(list(known.items())[-1000:]), file)
        Path(file.name).replace(path)
    except (OSError, RuntimeError):  # a full disk; a user without a home
        return


def model_identity(model: Model | Products | Exposures) -> str:
    """Return the identity of a model: its metadata, and its arrays or the file they are still in.

    It is made of what the model holds now. Nothing is remembered: whoever holds
    the model may write into its arrays at any time.
    """
    if isinstance(model, Products):
        return identity({suffix: model_identity(m) for suffix, m in model.items()})
    if isinstance(model, Exposures):
        members = [(one.name, one.role, model_identity(one.model)) for one in model.members]
        return identity(model.product, members)
    import hashlib  # loads OpenSSL, which a run with known files does without

    digest = hashlib.sha256(type(model).__name__.encode())
    digest.update(json.dumps(model.meta.flat(), sort_keys=True, default=_spelled).encode())
    if model.path is not None and untouched(model):
        digest.update(file_digest(model.path).encode())
        return digest.hexdigest()
    for name, array in sorted(model.arrays.items()):
        digest.update(f"{name} {array.dtype.str} {tuple(array.shape)}".encode())
        for chunk in _chunks(array):
            digest.update(_bytes_of(chunk))
    return digest.hexdigest()


def _spelled(value: Any) -> Any:
    """Return what JSON has no form for as something it has: a node with a tag is its content."""
    return [value.tag, value.value] if isinstance(value, Tagged) else str(value)


def _plain(value: Any) -> Any:
    """Return metadata as JSON can spell them."""
    if isinstance(value, Tagged):
        return {_TAG: value.tag, "value": _plain(value.value)}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _tagged(value: Any) -> Any:
    """Return metadata that `_plain` made plain as they were."""
    if isinstance(value, dict):
        if _TAG in value:
            return Tagged(value[_TAG], _tagged(value["value"]))
        return {key: _tagged(one) for key, one in value.items()}
    return [_tagged(one) for one in value] if isinstance(value, list) else value


def _chunks(array: Any) -> Any:
    return array.chunks() if hasattr(array, "chunks") else [np.asarray(array)]


def _bytes_of(chunk: Any) -> Any:
    chunk = np.ascontiguousarray(chunk)
    return chunk.tobytes() if chunk.dtype.names else chunk.reshape(-1).view(np.uint8).data


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

    def keep(self, key: str, result: Any, notes: dict[str, Any]) -> None:
        """Keep a result, with what the runner notes about the steps so far."""
        if key in self:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.directory)
            with directory_aside(self.directory) as aside:
                self._fill(aside, result, notes)
                try:
                    aside.replace(self.directory / key)
                except OSError:
                    if key not in self:  # else another run was faster
                        raise
            synchronise(self.directory)
        except OSError as error:
            raise OutputError(
                "cannot keep a result for resuming",
                place=self.directory,
                found=error.strerror,
                remedy="free space, name another directory with --cache-dir, or do not resume",
            ) from error

    def find(self, key: str, source: Any) -> tuple[Any, dict[str, Any]] | None:
        """Return a kept result and its notes; what is not arrays comes from `source`.

        An entry that is damaged is removed, so that it can be made again.
        """
        entry = self.directory / key
        if not entry.is_dir():
            return None
        try:
            state = json.loads((entry / "state.json").read_text())
            models = state["models"].items()
            if state["several"] == _EXPOSURES:
                pairs = zip(models, source.science, strict=True)
                science = [self._model(entry, name, facts, own) for (name, facts), own in pairs]
                return source.evolve(science), state["notes"]
            sample = sample_of(source)
            found = {name: self._model(entry, name, facts, sample) for name, facts in models}
            return (Products(found) if state["several"] else found[""]), state["notes"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, LightmillError):
            import shutil  # only for damaged entries

            shutil.rmtree(entry, ignore_errors=True)
            return None

    def _fill(self, entry: Path, result: Any, notes: dict[str, Any]) -> None:
        parts = result if isinstance(result, Products) else {"": result}
        if isinstance(result, Exposures):
            parts = {str(number): model for number, model in enumerate(result.science)}
        state: dict[str, Any] = {
            "several": _EXPOSURES
            if isinstance(result, Exposures)
            else isinstance(result, Products),
            "notes": notes,
            "models": {},
        }
        for suffix, model in parts.items():
            arrays: dict[str, list[Any] | None] = {}
            for name, array in model.arrays.items():
                if array is None:
                    continue
                if isinstance(result, Exposures) and isinstance(array, LazyArray):
                    arrays[name] = [_IN_ITS_FILE]  # which is part of the identity of the result
                    continue
                if getattr(array.dtype, "names", None):
                    with (entry / f"{suffix}.{name}.npy").open("wb") as file:
                        np.save(file, np.asarray(array), allow_pickle=False)
                        file.flush()
                        os.fsync(file.fileno())
                    arrays[name] = None
                    continue
                with (entry / f"{suffix}.{name}").open("wb") as file:
                    for chunk in _chunks(array):
                        file.write(_bytes_of(chunk))
                    file.flush()
                    os.fsync(file.fileno())
                arrays[name] = [list(array.shape), array.dtype.str]
            state["models"][suffix] = {
                "class": type(model).__name__,
                "meta": _plain(model.meta.flat()),
                "history": model.history,
                "arrays": arrays,
            }
        with (entry / "state.json").open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())

    def _model(self, entry: Path, suffix: str, facts: dict[str, Any], source: Model) -> Model:
        arrays: dict[str, Any] = {}
        for name, kind in facts["arrays"].items():
            if kind == [_IN_ITS_FILE]:
                arrays[name] = source.array(name)
                continue
            if kind is None:
                arrays[name] = np.load(entry / f"{suffix}.{name}.npy", allow_pickle=False)
                continue
            shape, dtype = kind
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            path = entry / f"{suffix}.{name}"
            if path.stat().st_size != size:
                raise ValueError(f"{path} is not whole")
            if size > IN_MEMORY_BYTES // 4 and len(shape) > 2:
                arrays[name] = Spool(shape, dtype, path=path)
            else:
                arrays[name] = np.fromfile(path, dtype).reshape(shape)
        model = restore(facts["class"], _tagged(facts["meta"]), arrays, source)
        model.history[:] = facts["history"]
        return model
