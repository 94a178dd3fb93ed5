"""A PostgreSQL server of the tests' own, which they may stop, start and kill."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

TOOL = Path(__file__).parents[2] / "shared" / "tools" / "postgres-localhost.sh"


def why_not():
    """Say why there can be no server; empty if there can be."""
    if not TOOL.exists():
        return "NO POSTGRESQL: name one in LIGHTMILL_POSTGRESQL"
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return "NO POSTGRESQL: apt-get install postgresql, or name one in LIGHTMILL_POSTGRESQL"
    return ""


class Server:
    """A server in a folder of its own, on a port of this machine.

    With `is_durable` what is committed is on disk, as in operations: it may be killed.
    """

    def __init__(self, *, is_durable=False, port=0, within=None):
        # The server runs as another user, who must be able to reach its folder.
        self.folder = Path(tempfile.mkdtemp(prefix="lightmill-postgresql-", dir=within))
        self.folder.chmod(0o755)
        self.environment = os.environ | {
            "PG_LOCAL_DIR": str(self.folder / "data"),
            "PG_LOCAL_PORT": str(port or 20_000 + (os.getpid() + 7) % 20_000),
            "PG_LOCAL_FAST": "0" if is_durable else "1",
        }

    def _tool(self, word):
        told = subprocess.run([TOOL, word], env=self.environment, capture_output=True, text=True,
                              timeout=120, check=False)  # fmt: skip
        assert told.returncode == 0, told.stderr[-2000:]
        return told.stdout.strip()

    def start(self):
        self._tool("start")

    def stop(self):
        """End all its connections, and itself."""
        self._tool("stop")

    def kill(self):
        """End it as a power cut does: it has to recover from its log."""
        data = self.folder / "data" / "data"
        pid = (data / "postmaster.pid").read_text().split()[0]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in [pid, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(one), signal.SIGKILL)
        end = time.monotonic() + 30
        while any(Path("/proc", one).exists() for one in [pid, *children]):
            assert time.monotonic() < end, "a killed server is still there"
            time.sleep(0.02)  # none starts while one of another is left

    @property
    def url(self):
        return self._tool("url")

    def close(self):
        self._tool("stop")
        shutil.rmtree(self.folder, ignore_errors=True)
