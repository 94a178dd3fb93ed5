"""What cannot be reached now, and how long to wait before it is tried again."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable

from lightmill.errors import LightmillError

__all__ = ["Patience", "Unavailable", "is_of_the_file"]

log = logging.getLogger("lightmill.workflow")

FIRST, LONGEST = 0.5, 30.0  # s before the second try, and between tries at most
SLICE = 0.5  # s after which somebody may have asked for the end

# What the system says when a file itself, by its name or size, is the trouble: waiting does not help.
_OF_THE_FILE = {errno.ENAMETOOLONG, errno.EINVAL, errno.EFBIG, errno.EILSEQ, errno.ENOENT}


class Unavailable(LightmillError):  # noqa: N818 - says what is the matter
    """The store or the archive cannot be read or written now; it may be later.

    Nothing was done that is not finished by doing the same again.
    """

    code = "unavailable"
    exit_status = 75  # what systems call a temporary failure: EX_TEMPFAIL of <sysexits.h>


def is_of_the_file(error: OSError) -> bool:
    """Say whether a file could not be written because of what it is, not of where it goes."""
    return error.errno in _OF_THE_FILE


class Patience:
    """Waits between tries, each time twice as long.

    Parameters
    ----------
    first, longest : float
        [s]
    sleep, clock : callable
        As `time.sleep` and `time.monotonic`.
    """

    def __init__(
        self,
        first: float = FIRST,
        longest: float = LONGEST,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.first, self.longest = first, longest
        self._sleep, self._clock = sleep, clock
        self._pause = first
        self._since: float | None = None

    def wait(self, error: LightmillError, is_over: Callable[[], bool]) -> None:
        """Say what is the matter, and wait.

        Parameters
        ----------
        error : LightmillError
        is_over : callable
            Says whether somebody asked for the end, which ends the wait.
        """
        if self._since is None:
            self._since = self._clock()
        log.warning("%s\n    tried again in %.3g s", error, self._pause)
        end = self._clock() + self._pause
        self._pause = min(2 * self._pause, self.longest)
        while (left := end - self._clock()) > 0 and not is_over():
            self._sleep(min(left, SLICE))

    def over(self) -> None:
        """Note that it went well."""
        if self._since is not None:
            log.warning("it goes on, after %.3g s", self._clock() - self._since)
        self._since, self._pause = None, self.first
