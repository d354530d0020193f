"""One request, in a task of its own and within its time: whatever it ends with becomes its result or one `Fault`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from mcp_orchestra.connection.fault import Fault, in_seconds
from mcp_orchestra.connection.faults import fault_of
from mcp_orchestra.connection.watch import Line

__all__ = ["answer_to"]

ResultT = TypeVar("ResultT")

_GRACE = 0.5  # the SDK's own timeout comes first and tells the server; this one covers what it does not
_IN_TIME = 0.99  # of the time for a request: sooner, the SDK's own timeout cannot have come


async def answer_to(
    request: Awaitable[ResultT], line: Line, stuck: Callable[[], None], *, seconds: float, patience: float
) -> "ResultT | Fault":
    """Wait for the answer to a request no longer than its time.

    A cancelled request of the SDK may linger for seconds while the server does not read. In its own task it cannot keep
    the caller, and a cancellation that nobody asked for cannot be taken for the caller's.

    Args:
        request: Asks over the connection.
        line: What is seen of the connection.
        stuck: Called if the request is late and the connection takes no message any more. A late answer alone is no
            sign of that, and neither is a short time that was not enough.
        seconds: The request's time.
        patience: Seconds for which a message has to wait to be taken before nothing is.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    task = asyncio.ensure_future(request)
    task.add_done_callback(_retrieve)  # also if the caller is cancelled in the step in which it fails
    try:
        await asyncio.wait({task}, timeout=seconds)
        stuck_since = line.stuck_since
        if not task.done():
            # A second look as well: where the application held up the loop, everything is late and nothing is stuck.
            await asyncio.wait({task}, timeout=_GRACE)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        since = line.stuck_since
        if since is not None and since == stuck_since and loop.time() - since >= patience:
            stuck()
        return _late(seconds)
    if task.cancelled():
        return Fault(reason="the connection was torn down", cause="lost")
    if (error := task.exception()) is None:
        return task.result()
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    overdue = loop.time() - started >= seconds * _IN_TIME
    fault = fault_of(error, closed=line.ended, overdue=overdue)
    return _late(seconds, fault) if fault.cause == "timeout" else fault


def _late(seconds: float, fault: Fault | None = None) -> Fault:
    reason = f"no answer within {in_seconds(seconds)}"
    return replace(fault, reason=reason) if fault is not None else Fault(reason=reason, cause="timeout")


def _retrieve(task: "asyncio.Future[Any]") -> None:
    """Look at the outcome, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()
