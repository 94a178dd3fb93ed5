"""What the commands share: they are imported when asked for, and say what their arguments are.

Here and not in `lightmill.cli`, because an instrument's folder adds commands, and imports nothing
that lies above it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click

__all__ = ["Argument", "Command", "Commands", "argument", "command"]


class Argument(click.Argument):
    """An argument that says what it is; click does that for options only, before 8.5."""

    def __init__(self, *declarations: Any, help: str = "", **settings: Any) -> None:
        super().__init__(*declarations, **settings)
        self.help = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return its line of the help page: name and help."""
        del ctx
        return self.human_readable_name.strip("[]."), self.help or ""


class Command(click.Command):
    """A command whose help page lists its arguments before its options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments, then the options."""
        for title, kind in (("Arguments", click.Argument), ("Options", click.Option)):
            known = [one for one in self.get_params(ctx) if isinstance(one, kind)]
            records = [record for one in known if (record := one.get_help_record(ctx))]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: newer releases of click ask for the arguments alone, too."""


class Commands(click.Group):
    """A group that imports the module of a command when it is asked for.

    Parameters
    ----------
    places : mapping
        Name of each command → ``module:function``, in the order of the help page.
    """

    def __init__(self, *args: Any, places: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.places = dict(places)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        del ctx
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it, or None where there is none of this name."""
        del ctx
        if cmd_name not in self.places:
            return None
        module, _, function = self.places[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), function)
        assert isinstance(found, click.Command)
        return found


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command of this program."""
    return click.command(name, cls=Command, **settings)


def argument(name: str, **settings: Any) -> Callable[[Any], Any]:
    """Give a command an argument, with its help."""
    return click.argument(name, cls=Argument, **settings)
