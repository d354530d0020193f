"""The one record of why a connect or a request failed."""

import math
from dataclasses import dataclass, field

from mcp_orchestra.wire import Delivered

__all__ = ["Fault", "in_seconds", "one_line"]

_LONGEST_REASON = 300


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a connect or a request failed."""

    reason: str
    """One line for people."""
    cause: str
    """One word for programs: ``timeout``, ``lost``, ``refused``, ``http``, ``auth``, ``rejected``, ``protocol``, …"""
    delivered: Delivered = "maybe"
    """Whether the server has carried the request out. Never ``no`` because of what a server says of itself."""
    retryable: bool = True
    """Whether the same thing may succeed later without anybody changing anything."""
    code: int | None = None
    """The JSON-RPC error code, if the server answered with one."""
    status: int | None = None
    """The HTTP status, if there was one."""
    retry_after: str | None = None
    """The server's ``Retry-After`` header."""
    retry_in: float | None = None
    """Seconds for which the server is left alone, so that the same request would not even be sent."""
    error: BaseException | None = field(default=None, repr=False, compare=False)
    """What was raised, to be chained."""

    @property
    def connection_lost(self) -> bool:
        """Whether the connection, and not this one request, is what failed.

        A refused request is not enough: the transport watches its server itself, and knows better.
        """
        return self.cause in {"lost", "session"}

    def context(self) -> dict[str, object]:
        """Return the facts for an error's ``context``."""
        facts = {"cause": self.cause, "retryable": self.retryable, "delivered": self.delivered}
        optional: dict[str, object] = {"code": self.code, "status": self.status, "retry_after": self.retry_after}
        if self.retry_in is not None:
            optional["retry_in"] = round(self.retry_in, 3)
        return {**facts, **{key: value for key, value in optional.items() if value is not None}}


def one_line(text: object) -> str:
    """Return the first line of a text or error, fit for a log."""
    try:
        lines = str(text).strip().splitlines()
    except Exception:  # noqa: BLE001  # an exception's own __str__ may raise anything
        return ""
    line = lines[0][:_LONGEST_REASON] if lines else ""
    return "".join(character if character.isprintable() else " " for character in line)


def in_seconds(seconds: float) -> str:
    """Return a time as people gave it, although some of it may have passed meanwhile: ``"1 s"`` for 0.9987."""
    return f"{math.ceil(round(seconds * 100, 6)) / 100:g} s"  # 10.000000001 is what was left of 10
