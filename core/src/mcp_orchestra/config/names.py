"""Which ids, display names, domains and capabilities a server may have, and that no two have the same name."""

import re
import unicodedata
from collections.abc import Mapping

from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.config.problems import Problems

__all__ = ["check_id", "check_names", "derived_id"]

# No "__" inside and no "_" at the end: the first "__" of <id>__<tool> is then where the id ends.
_ID = re.compile(r"(?!.*__)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?<!_)")
_LONGEST_ID = 64
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def check_id(server_id: str, problems: Problems) -> None:
    """Check that ``<id>__<tool>`` is a tool name that can be taken apart again."""
    if _ID.fullmatch(server_id):
        return
    near = derived_id(server_id)
    problems.add(
        ("mcp_servers", server_id),
        'expected an id of 1 to 64 letters, digits, "_", "-" and ".", that starts with a letter, digit or "_", '
        'has no "__" and does not end in "_": the first "__" in <id>__<tool> is where it ends'
        + (f'; did you mean "{near}"?' if near else ""),
    )


def derived_id(key: str) -> str:
    """Return the id nearest to a key; empty if nothing of the key can be used."""
    text = re.sub(r"[^A-Za-z0-9.-]+", "_", key).strip("_").lstrip(".-_")
    return text[:_LONGEST_ID].rstrip("_")


def check_names(servers: Mapping[str, MCPServerConfig], problems: Problems) -> None:
    """Check that names, domains and capabilities can be shown, and that no two servers look to have the same name."""
    first: dict[str, str] = {}
    for server_id, config in servers.items():
        if problems.full:
            break
        path = ("mcp_servers", server_id, "name")
        if flaw := _flaw(config.name):
            problems.add(path, flaw)
        elif (other := first.setdefault(_appearance(config.name), server_id)) != server_id:
            place = problems.place(("mcp_servers", other, "name"))
            problems.add(path, f"names are unique, and {place} has the same one")
        for field, words in (("domains", config.domains), ("capabilities", config.capabilities)):
            for at, word in enumerate(words):
                if flaw := _flaw(word):
                    problems.add(("mcp_servers", server_id, field, at), flaw)


def _flaw(text: str) -> str:
    if not text.strip():
        return "expected text, got blank text"
    if text != text.strip():
        return "no spaces may stand at its start or end"
    if any(unicodedata.category(character) in _INVISIBLE for character in text):
        return "it may not hold control characters, line breaks or invisible characters"
    return ""


def _appearance(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split())
