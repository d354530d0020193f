"""How long a call may take in total, whatever it consists of: known to all that waits in the thread that makes it."""

import time
from contextvars import ContextVar, Token

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as LateError

__all__ = ["TooLargeError", "left", "left_for_a_step", "moved", "overdue", "within"]

_A_LOT = 262_144
"""Bytes. A server that has taken or given as many in one call is there, and needs time for them."""


class TooLargeError(RedisError):
    """Time ran out in the middle of something large that was getting on."""


class _Deadline:
    __slots__ = ("at", "moved")

    def __init__(self, at: float) -> None:
        self.at = at
        self.moved = 0


_current: ContextVar[_Deadline | None] = ContextVar("deadline", default=None)


class within:  # noqa: N801  # reads as a word; a class, for a generator takes several times as long
    """Lets what is done in the block take so many seconds in total, or less if less is left.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._token: Token[_Deadline | None] | None = None

    def __enter__(self) -> None:
        """Begin the block."""
        outer = _current.get()
        if outer is None or outer.at > self._at:
            self._token = _current.set(_Deadline(self._at))

    def __exit__(self, *_: object) -> None:
        """End the block."""
        if self._token is not None:
            _current.reset(self._token)


def left(at_most: float) -> float:
    """Return for how many seconds to wait: so many at most, and never quite none."""
    deadline = _current.get()
    return at_most if deadline is None else max(0.001, min(at_most, deadline.at - time.monotonic()))


def left_for_a_step(at_most: float) -> float:
    """Return for how many seconds to wait for the next bytes: what is large may take all of the time in one step."""
    deadline = _current.get()
    return left(at_most if deadline is None or deadline.moved < _A_LOT else float("inf"))


def moved(count: int) -> None:
    """Take note that so many bytes were sent or received.

    Raises:
        TooLargeError: Time is over, and so many have been that it was simply too much.
        LateError: Time is over.
    """
    if (deadline := _current.get()) is not None:
        deadline.moved += count
        if time.monotonic() >= deadline.at:
            raise overdue() or LateError


def overdue() -> TooLargeError | None:
    """Return what to raise instead of a timeout, if time is over but much was done in it."""
    deadline = _current.get()
    if deadline is not None and deadline.moved >= _A_LOT and time.monotonic() >= deadline.at:
        return TooLargeError()
    return None
