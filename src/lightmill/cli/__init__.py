"""The command line: ``lightmill COMMAND …``.

Commands only translate: each is one call of `lightmill.app` or
`lightmill.models`, and everything heavy is imported when a command runs.
"""

from lightmill.cli.main import main

__all__ = ["main"]
