"""Check the change notes: known kind, one paragraph, a sentence."""

from __future__ import annotations

import re
import sys
from pathlib import Path

KINDS = ("feature", "fix", "change", "removal", "internal")
NAME = re.compile(rf"[a-z0-9][a-z0-9-]*\.({'|'.join(KINDS)})\.md")


def complaints(folder: Path) -> list[str]:
    """Return one line for each note that breaks a rule of README.md."""
    found = []
    for note in sorted(folder.glob("*.md")):
        if note.name == "README.md":
            continue
        text = note.read_text(encoding="utf-8").strip()
        if not NAME.fullmatch(note.name):
            found.append(f"{note.name}: not <slug>.<kind>.md with a kind of {', '.join(KINDS)}")
        if not text or "\n\n" in text:
            found.append(f"{note.name}: one paragraph, please")
        elif text[-1] not in ".!`)":
            found.append(f"{note.name}: not a sentence (no full stop)")
    return found


if __name__ == "__main__":
    problems = complaints(Path(__file__).parent)
    sys.stdout.writelines(f"{line}\n" for line in problems)
    sys.exit(bool(problems))
