"""A short text that tells two ways of asking one server apart."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any, cast

from pydantic import BaseModel

from mcp_orchestra.config.models import LimitsConfig, MCPServerConfig

__all__ = ["fingerprint"]


def fingerprint(config: MCPServerConfig, limits: LimitsConfig, *, place: str | None = None) -> str:
    """Return a digest of where a server is, as whom it is asked, and how much of its answers is taken.

    Two configurations with the same digest get the same answers, so they may share cached ones; other credentials are
    another principal, whose answers are nobody else's (specification 2026-07-28, server/utilities/caching). The digest
    is part of stored keys: it does not show what it was made of.

    Args:
        config: The server's configuration, with secrets filled in.
        limits: The limits in force for it.
        place: Where this process runs, for a server that is another one elsewhere: a child process, a loopback address.

    Returns:
        32 hexadecimal digits.
    """
    asked = {
        "transport": config.transport,
        "url": config.url,
        "mode": config.mode,
        "limits": limits.model_dump(),
        "options": config.model_extra,
        "place": place,
    }
    return sha256(json.dumps(_plain(asked)).encode("ascii")).hexdigest()[:32]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, in an order that depends on nothing but what is in it."""
    if callable(reveal := getattr(value, "get_secret_value", None)):
        return _plain(reveal())  # its text is a mask, and the same for every secret
    if isinstance(value, BaseModel):
        return _plain(dict(value))  # its text may hold masks, too
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in fields(value)})
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("Iterable[object]", value)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {"": sorted(([_plain(key), _plain(item)] for key, item in pairs), key=json.dumps)}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, cast("Iterable[object]", value)), key=json.dumps)
    return [type(value).__qualname__, repr(value)]
