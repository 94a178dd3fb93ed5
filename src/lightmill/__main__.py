"""``python -m lightmill`` is the command ``lightmill``."""

from lightmill.cli import main

main()
