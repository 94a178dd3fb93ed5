"""What the commands share, by the name they know it: it lies lower, for the leaves that add commands."""

from lightmill.commands import Argument, Command, Commands, argument, command

__all__ = ["Argument", "Command", "Commands", "argument", "command"]
