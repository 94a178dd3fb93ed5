"""What a person reads when a command fails: one screen, never a traceback."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from lightmill.errors import LightmillError

__all__ = ["report", "show_version"]

INTERRUPTED = 130  # as shells report SIGINT


def report(error: BaseException, typed: Sequence[str]) -> int:
    """Tell a failure, and return the exit status.

    Parameters
    ----------
    error : BaseException
        What ended the command.
    typed : sequence of str
        The command line: ``--json`` and ``--debug`` in it are heeded.

    Returns
    -------
    status : int
        2 usage, 3 bad data, 4 no reference, 5 bad configuration, 70 a bug of ours,
        130 interrupted.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The reader (head, less) has gone: say no more, also not when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, click.ClickException):
        return _usage(error, typed)
    if "--debug" in typed:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, LightmillError):
        if "--json" in typed:
            print(json.dumps({"error": error.as_dict()}, indent=2))
        print(error.story(), file=sys.stderr)
        return error.exit_status
    if isinstance(error, MemoryError):
        print("there is not enough memory", file=sys.stderr)
        print("    try:      fewer --jobs, or one input at a time", file=sys.stderr)
        return LightmillError.exit_status
    return _bug(error, typed)


def _usage(error: click.ClickException, typed: Sequence[str]) -> int:
    if "--json" in typed:
        story = {"code": "usage", "exit_status": 2, "fact": error.format_message()}
        print(json.dumps({"error": story}, indent=2))
    error.show()
    return error.exit_code


def _bug(error: BaseException, typed: Sequence[str]) -> int:
    import tempfile
    import traceback

    from lightmill.pipeline.logs import platform_line

    with tempfile.NamedTemporaryFile(
        "w", prefix="lightmill-bug-", suffix=".txt", delete=False
    ) as file:
        file.write(f"{platform_line()}\nlightmill {' '.join(typed)}\n\n")
        traceback.print_exception(error, file=file)
    what = f"{type(error).__name__}: {error}"
    if "--json" in typed:
        story = {"code": "bug", "exit_status": 70, "fact": what, "place": file.name}
        print(json.dumps({"error": story}, indent=2))
    print(
        f"this is a bug of Lightmill's, not your mistake: {what[:300]}\n"
        f"    the traceback is in {file.name}\n"
        "    try:      send that file with a bug report; your input is unchanged",
        file=sys.stderr,
    )
    return LightmillError.exit_status


def show_version(ctx: click.Context, _option: Any, wanted: bool) -> None:
    """Print the versions of what computes, and stop, where `wanted`."""
    if wanted:
        from lightmill.pipeline.logs import platform_line

        print(platform_line())
        ctx.exit()
