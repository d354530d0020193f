"""A short text that changes with whatever a model sees of a tool."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

__all__ = ["SHORT_DIGEST", "TOOL_FIELDS", "tool_digest"]

TOOL_FIELDS: Final = frozenset({"name", "title", "description", "input_schema", "output_schema", "annotations"})
"""What a listing has of each tool, and what a model may see of it."""

SHORT_DIGEST: Final = len("sha256:") + 12
"""So many characters of a digest tell two tools apart for a person."""


def tool_digest(tool: Mapping[str, Any]) -> str:
    """Return a digest of what a model sees of a tool: its fields as canonical JSON.

    The order of keys does not matter, and neither do fields of the mapping that are not a tool's.

    Args:
        tool: Has all of `TOOL_FIELDS`; None stands for what the server did not give.

    Returns:
        ``sha256:`` and 64 hexadecimal digits.

    Raises:
        ValueError: It holds something that JSON has not: it came from no server.
    """
    seen = {name: tool[name] for name in TOOL_FIELDS}
    try:
        text = json.dumps(seen, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, RecursionError):
        raise ValueError("not JSON") from None
    # A lone half of a character pair may stand in JSON, and has no UTF-8.
    return f"sha256:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
