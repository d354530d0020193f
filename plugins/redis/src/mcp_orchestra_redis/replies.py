"""Answers are taken for what they should be only after a look: what is there need not be Redis, nor of this version."""

from collections.abc import Sequence
from typing import cast

from redis.exceptions import InvalidResponse, ResponseError

from mcp_orchestra_redis.wire import Reply

__all__ = ["array", "numbers", "text", "value", "values"]


def array(reply: Reply, length: int | None = None) -> list[Reply]:
    """Return an array, of so many elements if it is said, or raise `InvalidResponse`."""
    if not isinstance(reply, list) or (length is not None and len(reply) != length):
        raise InvalidResponse
    return reply


def text(reply: Reply) -> bytes:
    """Return bytes that must be there, or raise `InvalidResponse`."""
    if not isinstance(reply, bytes):
        raise InvalidResponse
    return reply


def value(reply: Reply) -> bytes | None:
    """Return bytes that need not be there; raise an error that was answered, or `InvalidResponse`."""
    if isinstance(reply, ResponseError):
        raise reply
    return None if reply is None else text(reply)


def values(reply: Reply, length: int) -> list[bytes | None]:
    """Return so many of what `value` returns."""
    return [value(one) for one in array(reply, length)]


def numbers(replies: Sequence[Reply]) -> list[int]:
    """Return numbers, or raise `InvalidResponse`."""
    if not all(isinstance(reply, int) for reply in replies):
        raise InvalidResponse
    return cast("list[int]", replies)
