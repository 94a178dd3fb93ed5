"""Shell commands as hooks: a file in, lines out, perhaps a file back."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import HookError

if TYPE_CHECKING:
    from lightmill.pipeline.hooks import Context

__all__ = ["run_command"]

log = logging.getLogger("lightmill.hooks")

_PLACE_HOLDER = re.compile(r"\{(\d+|input|output|step|kind|error)\}")


def run_command(
    command: str, subject: Any, context: Context, *, timeout: float | None = None
) -> Any:
    """Run a user's shell command on a model.

    Parameters
    ----------
    command : str
        Handed to the shell. ``{0}`` or ``{input}`` is a FITS file with the model (``{1}``
        … the others where a step made several), ``{output}`` a file the command may write
        to give back other data, ``{step}``, ``{kind}`` and ``{error}`` are texts. Other
        braces stay as they are.
    subject : Model, mapping of str to Model, or Exception
        What the hook is called with.
    context : Context
        Where it is called.
    timeout : float, optional
        Longest time the command may take [s].

    Returns
    -------
    model : Model or None
        What the command wrote to ``{output}``.

    Raises
    ------
    HookError
        The command failed or took too long; it and what it started are ended.
    """
    wanted = set(_PLACE_HOLDER.findall(command))
    with tempfile.TemporaryDirectory(prefix="lightmill-hook-") as folder:
        values = {
            "step": getattr(context.step, "name", "") or "",
            "kind": context.kind,
            "error": str(subject) if isinstance(subject, BaseException) else "",
            "output": str(Path(folder) / "output" / "result.fits"),
        }
        (Path(folder) / "output").mkdir()
        models = _models(subject)
        for number, model in enumerate(models):
            keys = {str(number)} | ({"input"} if number == 0 else set())
            if keys & wanted:
                values.update(dict.fromkeys(keys, str(_file(model, number, context, folder))))
        _stream(command, *_filled(command, values, context), context, timeout)
        return _result(Path(values["output"]), models)


def _models(subject: Any) -> list[Any]:
    if isinstance(subject, BaseException):
        return []
    return list(subject.values()) if isinstance(subject, Mapping) else [subject]


def _file(model: Any, number: int, context: Context, folder: str) -> Path:
    """Return a file with the model: the product just saved, or a copy named like one."""
    if context.path is not None:
        return context.path
    from lightmill.pipeline.naming import product_name

    name = Path(model.path or model.meta.get("filename") or "data.fits").name
    name = re.sub(r"[^\w.+-]+", "-", name)  # however often a shell reads it
    step = getattr(context.step, "name", "") or None
    path = product_name(name, step, ext=".fits", output_dir=Path(folder) / str(number))
    path.parent.mkdir()
    return Path(model.save(path))


def _filled(
    command: str, values: Mapping[str, str], context: Context
) -> tuple[str, dict[str, str]]:
    """Return the command with shell variables for its place-holders, and their values.

    File names and errors come from data: put into the text itself they could hold commands
    of their own. A variable is never read as a command, whatever quotes stand around it.
    """
    variables: dict[str, str] = {}

    def variable(key: str) -> str:
        if key not in values:
            raise HookError(
                f"the command asks for {{{key}}}, which there is not",
                place=context.place,
                found=command,
                expected=", ".join(f"{{{known}}}" for known in sorted(values)),
            )
        name = f"LIGHTMILL_{key.upper()}"
        variables[name] = values[key]
        return f"${{{name}}}"

    text, quote, position = [], "", 0
    while position < len(command):
        match = _PLACE_HOLDER.match(command, position)
        if match:
            inserted = variable(match[1])
            around = {"": '"{}"', '"': "{}", "'": "'\"{}\"'"}[quote]
            text.append(around.format(inserted))
            position = match.end()
            continue
        letter = command[position]
        if letter == "\\" and quote != "'":
            text.append(command[position : position + 2])
            position += 2
            continue
        if letter in "'\"" and quote in {"", letter}:
            quote = "" if quote else letter
        text.append(letter)
        position += 1
    return "".join(text), variables


def _stream(
    command: str,
    text: str,
    variables: dict[str, str],
    context: Context,
    timeout: float | None,
) -> None:
    """Run the command, log each line as it comes, and raise where it fails."""
    log.debug("%s: %s with %s", context.place, text, variables)
    late = threading.Event()
    last = ""
    with _started(text, variables, late, timeout) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.rstrip()
            log.info("%s", last)
        status = process.wait()
    if late.is_set():
        raise HookError(
            "the command took too long and was ended",
            place=context.place,
            found=command,
            expected=f"an end within {timeout:g} s",
            remedy="raise hook_timeout",
        )
    if status != 0:
        ended = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise HookError(
            f"the command failed with {ended}",
            place=context.place,
            found=f"{command}\n              {last}" if last else command,
        )


@contextlib.contextmanager
def _started(
    text: str, variables: dict[str, str], late: threading.Event, timeout: float | None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S602 - a shell command is what the user asked for
        text,
        shell=True,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def end() -> None:
        late.set()
        _end_group(process)

    timer = threading.Timer(timeout, end) if timeout else None
    try:
        with process:
            if timer:
                timer.start()
            yield process
    except BaseException:
        _end_group(process)
        raise
    finally:
        if timer:
            timer.cancel()


def _end_group(process: subprocess.Popen[str]) -> None:
    """End the command and everything it started: they are a process group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _result(path: Path, models: list[Any]) -> Any:
    if not path.exists():
        return None
    from lightmill.models import open as open_model

    result = open_model(path)
    arrays = {name: getattr(result, name) for name in result.arrays}  # the file is about to go
    result.foreign.hold()
    original = next((model for model in models if type(model) is type(result)), None)
    if original is None:
        return result.copy().evolve(**arrays)
    gone = dict.fromkeys(set(original.arrays) - set(arrays))
    return original.evolve(meta=result.meta, **gone, **arrays)
