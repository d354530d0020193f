"""Counts what goes wrong with a store and warns about it, once for each burst."""

import logging
import traceback
from collections.abc import Callable
from threading import Lock

__all__ = ["StoreTroubles"]

_logger = logging.getLogger(__name__)

_REMIND_SECONDS = 60.0
_QUIET_SECONDS = 60.0


class StoreTroubles:
    """Counts failures and warns once for each burst of them.

    A burst ends when there has been no failure for 60 s: a store that cannot write may well be read in between. One
    that goes on is mentioned again every 60 s.

    Args:
        name: What fails, for people.
        clock: Seconds that only differences are taken of.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.count: int = 0
        """Failures so far."""
        self._name = name
        self._clock = clock
        self._bursting = False
        self._warned_at = self._failed_at = 0.0
        self._lock = Lock()

    def failed(self, reason: str, error: BaseException | None = None) -> None:
        """Note a failure.

        Args:
            reason: What happened, in our own words: it is logged.
            error: What was raised. Its text is another library's and may hold an address with a password: only where it
                was raised is logged, for debugging.
        """
        now = self._clock()
        with self._lock:
            self.count += 1
            self._failed_at = now
            warn = not self._bursting or not 0 <= now - self._warned_at < _REMIND_SECONDS
            if warn:
                self._warned_at = now
            self._bursting = True
        if warn:
            _logger.warning("%s failed (%s); carrying on as if nothing were cached", self._name, reason)
        if error is not None and _logger.isEnabledFor(logging.DEBUG):
            place = "".join(traceback.format_tb(error.__traceback__))
            _logger.debug("%s raised %s:\n%s", self._name, type(error).__name__, place)

    def worked(self) -> None:
        """Note a success."""
        bursting = self._bursting  # read without the lock: successes are the hot path
        if not bursting:
            return
        now = self._clock()
        with self._lock:
            if not self._bursting or 0 <= now - self._failed_at < _QUIET_SECONDS:
                return
            self._bursting = False
        _logger.info("%s works again: it has not failed for %.0f s", self._name, _QUIET_SECONDS)
