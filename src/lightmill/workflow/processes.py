"""Processes of this machine, as Linux shows them in ``/proc``. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "Process",
    "become_reaper",
    "below",
    "dies_with",
    "free_memory_mb",
    "handle_of",
    "is_running",
    "kills_for_memory",
    "resident_mb",
    "send",
    "snapshot",
]

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes
    ----------
    pid, parent : int
    state : str
        ``Z`` and ``X``: it has ended.
    started : int
        Clock ticks since the machine was started; with `pid`, it is this process and no other.
    resident_mb : float
        [1e6 byte]
    """

    pid: int
    parent: int
    state: str
    started: int
    resident_mb: float


def snapshot() -> dict[int, Process]:
    """Return all processes by their id."""
    names = os.listdir("/proc")  # noqa: PTH208 - hundreds, several times a second
    found = (_process(int(name)) for name in names if name.isdigit())
    return {one.pid: one for one in found if one is not None}


def below(pid: int, processes: dict[int, Process]) -> list[Process]:
    """Return a process's children, their children, and so on; not those that have ended."""
    children: dict[int, list[Process]] = {}
    for one in processes.values():
        children.setdefault(one.parent, []).append(one)
    found: list[Process] = []
    ask = [pid]
    while ask:
        for one in children.get(ask.pop(), ()):
            ask.append(one.pid)
            if one.state not in "ZX":
                found.append(one)
    return found


def resident_mb(processes: Iterable[Process], *, shared_once: bool = False) -> float:
    """Return the memory that processes have together.

    Parameters
    ----------
    processes : iterable of Process
    shared_once : bool
        What forked processes have in common counts once, which is dear to find out; without, it
        counts for each of them.

    Returns
    -------
    memory : float
        [1e6 byte]
    """
    if not shared_once:
        return sum(one.resident_mb for one in processes)
    return sum(_proportional_mb(one) for one in processes)


def handle_of(pid: int) -> str:
    """Return ``pid:started``, which no later process can have; empty if there is no such process."""
    one = _process(pid)
    return f"{pid}:{one.started}" if one is not None else ""


def is_running(handle: str) -> bool:
    """Say whether the process of a handle is there and has not ended."""
    pid, started = _split(handle)
    one = _process(pid) if pid else None
    return one is not None and one.started == started and one.state not in "ZX"


def send(handle: str, number: int) -> bool:
    """Send a signal to the process of a handle and to no other; say whether it was there."""
    pid, _ = _split(handle)
    if not pid:
        return False
    try:
        descriptor = os.pidfd_open(pid)  # it is held from here on: the id cannot be another's
    except OSError:
        return False
    try:
        if not is_running(handle):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def dies_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel kill this process when its parent dies, or now if that has died."""
    _LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def become_reaper() -> None:
    """Be the parent of all descendants whose own parent ends: none of them can get away."""
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kills_for_memory() -> int | None:
    """Return how many processes the kernel has killed for want of memory, if it tells."""
    return _counted("/proc/vmstat", "oom_kill ")


def free_memory_mb() -> tuple[float, float]:
    """Return the machine's memory: all of it, and what a program could have now [1e6 byte]."""
    total = _counted("/proc/meminfo", "MemTotal:") or 0
    free = _counted("/proc/meminfo", "MemAvailable:") or 0
    return total * 1024 / 1e6, free * 1024 / 1e6


def _process(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
            line = file.read()
    except OSError:
        return None
    words = line[line.rindex(b")") + 2 :].split()  # a name may hold anything, ")" too
    state, parent, started, pages = words[0], words[1], words[19], words[21]
    return Process(pid, int(parent), state.decode(), int(started), int(pages) * PAGE_MB)


def _proportional_mb(process: Process) -> float:
    found = None
    with contextlib.suppress(OSError):
        found = _counted(f"/proc/{process.pid}/smaps_rollup", "Pss:")
    return process.resident_mb if found is None else found * 1024 / 1e6


def _counted(path: str, word: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - as above
            for line in file:
                if line.startswith(word):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def _split(handle: str) -> tuple[int, int]:
    pid, _, started = handle.partition(":")
    if pid.isdecimal() and started.isdecimal():
        return int(pid), int(started)
    return 0, 0
