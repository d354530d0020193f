"""Brings the files of other MCP clients into the document's shape.

=================  ============================================================================================
``mcpServers``     Claude Desktop, Claude Code, Cursor, Gemini CLI, Windsurf, and most others
``servers``        VS Code (in its ``settings.json`` below ``mcp``)
``mcp_servers``    the document's own: passed on as it is
=================  ============================================================================================

What those clients keep beside their servers is theirs. A server's field that nobody knows here is left out with a
warning. Every node keeps the place where the user wrote it: an error about ``mcp_servers.x.url`` says
``mcpServers.x.httpUrl``.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.translate import Translator
from mcp_orchestra.config.tree import Node, kind_of
from mcp_orchestra.suggest import did_you_mean

__all__ = ["Outline", "arrange", "outline"]

_OWN = "mcp_servers"
_ROOTS = (_OWN, "mcpServers", "servers")
_SECTIONS = ("orchestration", "plugins")
_MOST = 20  # warnings of one kind


class Outline(NamedTuple):
    """The parts of a file that concern us, in the shape in which they were written."""

    root: Node
    servers: Node
    orchestration: Node | None
    plugins: Node | None
    foreign: bool
    """Whether another client's file was read."""


def outline(root: Node, problems: Problems) -> Outline:
    """Find the parts of a file by its top-level keys.

    Raises:
        ConfigurationError: There is nothing like servers in the file.
    """
    top = root.value if isinstance(root.value, dict) else {}
    found = [name for name in _ROOTS if name in top]
    settings = top["mcp"].value if "mcp" in top and not found else None
    if isinstance(settings, dict) and (servers := settings.get("servers")):
        found, top = ["servers"], {**top, "servers": servers}
    name = found[0] if found else _OWN
    for other in found[1:]:
        problems.at(top[other].mark, (other,), f'servers stand in one place; "{name}" is there already, so move these')
    for key, node in top.items():
        if problems.full or name != _OWN:  # what else other clients keep there is theirs
            break
        if key not in _ROOTS and key not in _SECTIONS and key != "$schema":
            known = (*(_ROOTS if not found else ()), *_SECTIONS)
            near = did_you_mean(key, known) or f"; known are {name}, {', '.join(_SECTIONS)}"
            problems.at(node.mark, node.path, f"unknown field{near}")
    if not found:
        problems.raise_if_any()
        problems.fatal(root.mark, (_OWN,), "this field is missing: it holds the servers, each under its id")
    servers = top[name]
    if not isinstance(servers.value, dict):
        message = f"expected a mapping from ids to servers, got {kind_of(servers.value)}"
        problems.fatal(servers.mark, servers.path, message)
    return Outline(root, servers, top.get("orchestration"), top.get("plugins"), name != _OWN)


def arrange(
    parts: Outline,
    problems: Problems,
    warnings: list[str],
    expand: Callable[[Node], object] = lambda _node: None,
    known: Callable[[str], Collection[str] | None] | None = None,
) -> Node:
    """Return the parts of a file in the document's shape.

    Args:
        parts: What `outline` found.
        problems: Receives what has no meaning in the document's shape.
        warnings: Receives what was taken otherwise than written, or not at all.
        expand: Expands a subtree in place, once; what is left out is not expanded. ``parts.plugins`` is left as it is.
        known: Returns the fields that a server of this transport may have, or None if there is no saying. Without it
            nothing is left out.
    """
    servers = parts.servers
    if parts.orchestration is not None:
        expand(parts.orchestration)
    if parts.foreign:
        warnings += _near_sections(parts.root)
        servers = Translator(problems, warnings, expand, known or (lambda _transport: None)).servers(servers)
    else:
        expand(servers)
    sections = {_OWN: servers, "orchestration": parts.orchestration, "plugins": parts.plugins}
    members = {name: node for name, node in sections.items() if node is not None}
    return Node(members, parts.root.path, parts.root.mark)


def _near_sections(root: Node) -> list[str]:
    """Return warnings about what looks like a section of ours, and is none."""
    found: list[str] = []
    for key, node in (root.value if isinstance(root.value, dict) else {}).items():
        if len(found) < _MOST and key not in _SECTIONS and (near := did_you_mean(key, _SECTIONS)):
            found.append(f"{node}: not used here{near}")
    return found
