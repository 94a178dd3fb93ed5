"""Validate the docstrings of everything public with numpydoc.

Public: what a module lists in ``__all__``, and the public methods of those classes. The objects
are imported, not parsed, so that generated signatures (dataclasses) are seen as a caller sees them.
Which checks: ``[tool.numpydoc_validation]`` in pyproject.toml.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from numpydoc.validate import validate

import lightmill


def public_objects() -> Iterator[str]:
    """Yield the dotted name of every public object, where it is defined."""
    for info in pkgutil.walk_packages(lightmill.__path__, "lightmill."):
        if re.search(r"\._|\.migrations\.", info.name):  # the latter are scripts Alembic runs
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if getattr(thing, "__module__", None) != info.name or not callable(thing):
                continue
            yield f"{info.name}.{name}"
            if inspect.isclass(thing):
                for member, value in vars(thing).items():
                    plain = getattr(value, "__func__", value)
                    if not member.startswith("_") and inspect.isfunction(plain):
                        yield f"{info.name}.{name}.{member}"


def main() -> int:
    """Print every complaint; return the exit status."""
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "numpydoc_validation"
    ]
    checks, exclude = set(settings["checks"]), [re.compile(e) for e in settings["exclude"]]
    complaints = count = 0
    for name in public_objects():
        if any(pattern.search(name) for pattern in exclude):
            continue
        count += 1
        found = validate(name)
        for code, message in found["errors"]:
            if code in checks:
                complaints += 1
                sys.stdout.write(
                    f"{found['file']}:{found['file_line']}: {name}: {code} {message}\n"
                )
    sys.stdout.write(f"{count} public objects, {complaints} complaints\n")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
