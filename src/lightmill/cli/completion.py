"""Completion of words in a shell: the script that asks the program, printed or installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from lightmill.errors import UsageError

__all__ = ["install_completion", "show_completion"]

_PLACES = {  # where each shell looks by itself; zsh has no such folder, but this one is common
    "bash": ".local/share/bash-completion/completions/lightmill",
    "fish": ".config/fish/completions/lightmill.fish",
    "zsh": ".zfunc/_lightmill",
}


def show_completion(ctx: click.Context, _option: Any, wanted: bool) -> None:
    """Print the script for the shell in use, and stop, where `wanted`."""
    if wanted:
        print(_script(ctx, _shell()))
        ctx.exit()


def install_completion(ctx: click.Context, _option: Any, wanted: bool) -> None:
    """Write the script where the shell in use looks for it, and stop, where `wanted`."""
    if not wanted:
        return
    shell = _shell()
    path = Path.home() / _PLACES[shell]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_script(ctx, shell) + "\n", encoding="utf-8")
    print(f"{path} completes words from the next {shell} on")
    if shell == "zsh":
        print(
            "if it does not, put this into ~/.zshrc: fpath+=~/.zfunc; autoload -U compinit; compinit"
        )
    ctx.exit()


def _shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in _PLACES:
        raise UsageError(
            "words cannot be completed in this shell",
            place="$SHELL",
            found=name or "nothing",
            expected=", ".join(_PLACES),
        )
    return name


def _script(ctx: click.Context, shell: str) -> str:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    return kind(ctx.command, {}, "lightmill", "_LIGHTMILL_COMPLETE").source()
