"""The state a command finds: bytecode, files in memory, checksums kept from before.

Two programs are compared only where both find the same.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

DROP = Path("/proc/sys/vm/drop_caches")
BLOCK = 1 << 22  # bytes


def compile_packages(python: str | Path, names: Iterable[str]) -> None:
    """Let a Python compile packages it has, as an installation from a wheel does.

    Parameters
    ----------
    python : path
        The interpreter; its environment's packages are meant.
    names : iterable of str
        Of packages; those it does not have are left out.
    """
    program = (
        "import compileall, importlib.util, sys\n"
        "for name in sys.argv[1:]:\n"
        "    found = importlib.util.find_spec(name)\n"
        "    for place in found.submodule_search_locations or () if found else ():\n"
        "        compileall.compile_dir(place, quiet=2)\n"
    )
    subprocess.run([str(python), "-c", program, *names], check=True, env=environment())


def environment() -> dict[str, str]:
    """Return the environment without what somebody told Python: to keep no bytecode, for instance."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def forget(files: Iterable[Path], *, everything: bool = False) -> None:
    """Let the system read files from disk the next time.

    Parameters
    ----------
    files : iterable of Path
    everything : bool
        Drop all that is kept of any file, programs and libraries too, which root may.

    Raises
    ------
    SystemExit
        If that is asked for and not permitted.
    """
    os.sync()  # what is not on disk yet cannot be dropped
    if everything:
        try:
            DROP.write_text("3")
        except OSError as error:
            raise SystemExit(f"{DROP}: {error.strerror}; run as root, or without") from error
        return
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def remember(files: Iterable[Path]) -> None:
    """Read files, so that they are in memory the next time, and leave nothing to be written."""
    os.sync()
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(BLOCK):
                pass
