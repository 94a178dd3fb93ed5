"""Logging: lines for people, events for machines, a file per exposure.

Everything is logged below ``lightmill``. The root logger, and the handlers
others put there, are never touched.
"""

from __future__ import annotations

import contextlib
import contextvars
import json as json_
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from lightmill.errors import ConfigurationError, DataError, OutputError, UnknownNameError

__all__ = [
    "FORMAT",
    "Collected",
    "LoggedError",
    "configured",
    "exposure",
    "note_platform",
    "platform_line",
    "read_log_cfg",
]

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "exposure"}

_exposure: contextvars.ContextVar[str | None] = contextvars.ContextVar("exposure", default=None)

logging.getLogger("lightmill").addHandler(logging.NullHandler())


class LoggedError(DataError):
    """Something was logged at a level that is to stop the run (``break_level``)."""

    code = "logged"


@dataclass
class Collected:
    """What was logged, for the product.

    Attributes
    ----------
    lines : list of str
        As people read them.
    events : list of dict
        The same for machines: time, level, logger, message, and what came with it.
    """

    lines: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


class _Events(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json_.dumps(_event(record), default=str)


class _Break(logging.Handler):
    """Raises where a record reaches its level."""

    def emit(self, record: logging.LogRecord) -> None:
        raise LoggedError(
            record.getMessage(),
            place=record.name,
            found=f"a message of level {record.levelname}",
            expected=f"none at or above {logging.getLevelName(self.level)} (break_level)",
        )


class _Collector(logging.Handler):
    def __init__(self, collected: Collected, format: str) -> None:
        super().__init__()
        self.collected = collected
        self.setFormatter(logging.Formatter(format))

    def emit(self, record: logging.LogRecord) -> None:
        self.collected.lines.append(self.format(record))
        self.collected.events.append(_event(record))


def _event(record: logging.LogRecord) -> dict[str, Any]:
    event: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        + f".{int(record.msecs):03d}Z",
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
    }
    if _exposure.get():
        event["exposure"] = _exposure.get()
    event.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
    if record.exc_info and record.exc_info[1] is not None:
        event["error"] = repr(record.exc_info[1])
    return event


@contextlib.contextmanager
def configured(
    level: str | int = "INFO",
    stream: TextIO | str | None = "stderr",
    file: str | Path | list[str | Path] | None = None,
    format: str = FORMAT,
    *,
    json: bool = False,
    break_level: str | int | None = None,
) -> Iterator[Collected]:
    """Show and collect what is logged while the context lasts; leave no trace after it.

    Parameters
    ----------
    level : str or int
        The least important messages to show: DEBUG, INFO, WARNING, ERROR or CRITICAL.
    stream : text stream, ``"stdout"``, ``"stderr"`` or None
        Where to show them.
    file : path or list of paths, optional
        Files to write them to as well; ``append:PATH`` keeps what is there.
    format : str
        Of a line, as `logging` spells it.
    json : bool
        Write one JSON object per line instead.
    break_level : str or int, optional
        Raise `LoggedError` for a message at or above this level.

    Yields
    ------
    collected : Collected
        What was logged so far.
    """
    logger = logging.getLogger("lightmill")
    formatter: logging.Formatter = _Events() if json else logging.Formatter(format)
    collected = Collected()
    before = logger.level, logger.propagate
    handlers: list[logging.Handler] = [_Collector(collected, format)]
    if stream is not None:
        handlers.append(logging.StreamHandler(_stream(stream)))
    try:
        files = [file] if isinstance(file, str | Path) else file or []
        handlers.extend(_file_handler(one) for one in files)
        for handler in handlers[1:]:
            handler.setFormatter(formatter)
        if break_level is not None:
            handlers.append(_Break(_level(break_level)))
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(_level(level))
        logger.propagate = False
        yield collected
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(before[0])
        logger.propagate = before[1]


@contextlib.contextmanager
def exposure(
    name: str, file: str | Path | None = None, format: str = FORMAT, *, json: bool = False
) -> Iterator[Collected]:
    """Mark what is logged as belonging to one exposure, and keep it in a file of its own.

    Parameters
    ----------
    name : str
        The exposure; stands in every JSON event.
    file : path, optional
        Log file of this exposure alone.
    format : str
        Of a line.
    json : bool
        Write JSON events to the file.

    Yields
    ------
    collected : Collected
        What was logged about this exposure.
    """
    logger = logging.getLogger("lightmill")
    collected = Collected()
    handlers: list[logging.Handler] = [_Collector(collected, format)]
    if file is not None:
        handlers.append(_file_handler(file))
        handlers[-1].setFormatter(_Events() if json else logging.Formatter(format))
    for handler in handlers:
        # Threads that kernels' callers start have no exposure of their own: theirs is this one.
        handler.addFilter(lambda _: _exposure.get() in {None, name})
        logger.addHandler(handler)
    before = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    token = _exposure.set(name)
    try:
        yield collected
    finally:
        _exposure.reset(token)
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def platform_line() -> str:
    """Return one line on the software in use; nothing of it names the machine."""
    import numpy as np

    from lightmill.pipeline.provenance import VERSION, machine, python_version

    return f"lightmill {VERSION}, numpy {np.__version__}, Python {python_version()}, {machine()}"


def note_platform() -> None:
    """Log the software in use."""
    logger = logging.getLogger("lightmill")
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", platform_line())


def read_log_cfg(path: str | Path) -> dict[str, Any]:
    """Return the arguments of `configured` that a log configuration file asks for.

    Parameters
    ----------
    path : str or Path
        INI file with a section ``[*]``: ``handler`` (``file:NAME``, ``append:NAME``,
        ``stdout``, ``stderr``, ``null``, separated by commas), ``level``, ``break_level``,
        ``format``.

    Returns
    -------
    arguments : dict
        For ``configured(**arguments)``.
    """
    from configobj import ConfigObj, ConfigObjError

    try:
        lines = Path(path).read_text().splitlines()
        given = ConfigObj(lines, interpolation=False, raise_errors=True).dict()
    except (OSError, ConfigObjError) as error:
        raise ConfigurationError(
            "the log configuration cannot be read", place=path, found=str(error)
        ) from error
    for section in given:
        if section != "*":
            raise UnknownNameError("section of a log configuration", section, ["*"], place=path)
    wanted: Mapping[str, Any] = given.get("*", {})
    known = ("handler", "level", "break_level", "format")
    for key in wanted:
        if key not in known:
            raise UnknownNameError("entry of a log configuration", key, known, place=path)
    arguments: dict[str, Any] = {key: wanted[key] for key in known[1:] if key in wanted}
    if "handler" in wanted:
        named = wanted["handler"]
        handlers = [h.strip() for h in ([named] if isinstance(named, str) else named)]
        streams = [h for h in handlers if h in {"stdout", "stderr"}]
        files = [h.removeprefix("file:") for h in handlers if h.startswith(("file:", "append:"))]
        for handler in handlers:
            if handler not in {"stdout", "stderr", "null"} and ":" not in handler:
                names = ("file:NAME", "append:NAME", "stdout", "stderr", "null")
                raise UnknownNameError("log handler", handler, names, place=path)
        arguments["stream"] = streams[0] if streams else None
        arguments["file"] = files or None
    return arguments


def _level(level: str | int) -> int:
    if isinstance(level, int):
        return level
    name = level.strip().upper()
    if name.isdigit():
        return int(name)
    if name not in _LEVELS:
        raise UnknownNameError("log level", level, _LEVELS, place="log level")
    return int(getattr(logging, name))


def _stream(stream: TextIO | str) -> TextIO:
    if not isinstance(stream, str):
        return stream
    if stream not in {"stdout", "stderr"}:
        raise UnknownNameError("stream", stream, ("stdout", "stderr"), place="log stream")
    return sys.stdout if stream == "stdout" else sys.stderr


def _file_handler(file: str | Path) -> logging.Handler:
    mode = "w"
    if isinstance(file, str) and file.startswith("append:"):
        file, mode = file.removeprefix("append:"), "a"
    try:
        return logging.FileHandler(file, mode, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            "the log file cannot be written", place=file, found=error.strerror
        ) from error
