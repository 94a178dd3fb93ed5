"""Run one command from a process that is itself small, and print what it used as JSON.

A child starts with its parent's peak memory as its own (Linux carries it over `exec`), so a
benchmark that has arrays in memory must not start what it measures.
"""

import json
import os
import sys
import time

output, *command = sys.argv[1:]
began = time.perf_counter()
child = os.fork()
if child == 0:
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(error)
        os._exit(127)
_, status, used = os.wait4(child, 0)
print(
    json.dumps(
        {
            "status": os.waitstatus_to_exitcode(status),
            "wall": time.perf_counter() - began,
            "cpu": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,
            "load": os.getloadavg()[0],
        }
    )
)
