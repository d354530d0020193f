"""A short text that tells two ways of asking one server apart."""

import json
from hashlib import sha256
from typing import Any

from mcp_orchestra.config.models import LimitsConfig, MCPServerConfig

__all__ = ["fingerprint"]


def fingerprint(config: MCPServerConfig, limits: LimitsConfig) -> str:
    """Return a digest of where a server is, as whom it is asked, and how much of its answers is taken.

    Two configurations with the same digest get the same answers, so they may share cached ones; other credentials are
    another principal, whose answers are nobody else's (specification 2026-07-28, server/utilities/caching). The digest
    is part of stored keys: it does not show what it was made of.

    Args:
        config: The server's configuration, with secrets filled in.
        limits: The limits in force for it.

    Returns:
        32 hexadecimal digits.
    """
    asked = {
        "transport": config.transport,
        "url": config.url,
        "mode": config.mode,
        "limits": limits.model_dump(),
        "options": config.model_extra,
    }
    return sha256(json.dumps(asked, sort_keys=True, default=_plain).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if callable(reveal := getattr(value, "get_secret_value", None)):
        return reveal()  # its text is a mask, and the same for every secret
    return [type(value).__qualname__, repr(value)]
