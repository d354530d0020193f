"""Turns the servers of another MCP client's file into ours, placeholders unresolved and nothing lost silently."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_orchestra.config.dialects import arrange, outline
from mcp_orchestra.config.document import read_document
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import Node, plain
from mcp_orchestra.config.validate import field_names
from mcp_orchestra.errors import PluginError

from mcp_orchestra_cli.scaffold.template import behaviour, header
from mcp_orchestra_cli.scaffold.yamls import comment, disabled, entry, indented, value

if TYPE_CHECKING:
    from mcp_orchestra.plugins import PluginManager

__all__ = ["Imported", "import_servers"]

_FIRST = ("name", "transport", "url", "command", "args")


@dataclass
class Imported:
    """A converted file."""

    text: str = ""
    servers: list[str] = field(default_factory=list[str])
    """The ids."""
    notes: list[str] = field(default_factory=list[str])
    """What was taken otherwise than written, or is only in comments now."""


def import_servers(file: Path, plugins: "PluginManager") -> Imported:
    """Convert a file with ``mcpServers`` (or VS Code's ``servers``).

    Raises:
        ConfigurationError: It cannot be read, or there are no servers in it that make sense.
    """
    problems = Problems(file)
    root = read_document(problems, file)
    parts = outline(root, problems)
    imported = Imported()
    tree = problems.root = arrange(parts, problems, imported.notes)
    problems.raise_if_any()
    sections = _members(tree)
    written = {node.path: node for node in _members(parts.servers).values()}

    lines = [*comment(f"Servers from {file.name}."), *header(plugins), "mcp_servers:"]
    for server_id, server in _members(sections["mcp_servers"]).items():
        imported.servers.append(server_id)
        lines += indented(_server(server_id, server, written.get(server.path, server), plugins, imported.notes))
    if not imported.servers:
        lines[-1] = entry("mcp_servers", {})
    kept = {node.path for node in (parts.servers, parts.orchestration, parts.plugins) if node is not None}
    beside = {name: plain(node) for name, node in _members(root).items() if node.path not in kept}
    if beside:
        imported.notes.append(f"not used here, kept as comments: {', '.join(beside)}")
        lines += ["", *comment("Not taken over:"), *disabled(entry(name, data) for name, data in beside.items())]
    own = [name for name in ("orchestration", "plugins") if name in sections]
    lines.append("")
    lines += [entry(name, plain(sections[name])) for name in own] or behaviour(plugins)
    imported.text = "\n".join(lines) + "\n"
    return imported


def _server(server_id: str, server: Node, written: Node, plugins: "PluginManager", notes: list[str]) -> list[str]:
    fields, original = _members(server), _members(written)
    # A translated field knows the place of the one that it was made from.
    used = {node.path for node in fields.values()}
    dropped = {name: plain(node) for name, node in original.items() if node.path not in used}
    foreign = _unknown(fields, plugins)
    if foreign:
        notes.append(f"server {server_id}: no such fields here, kept as comments: {', '.join(foreign)}")
    if (
        "transport" not in original
        and "type" not in original
        and "${" in str(plain(fields["url"]) if "url" in fields else "")
    ):
        notes.append(f"server {server_id}: its transport is a guess, because its url is known only at run time")
    names = [*(name for name in _FIRST if name in fields), *(name for name in fields if name not in _FIRST)]
    lines = [f"{value(server_id)}:"]
    lines += indented(entry(name, plain(fields[name])) for name in names if name not in foreign)
    lost = {**dropped, **{name: plain(fields[name]) for name in foreign}}
    if lost:
        lines += indented([*comment("Not taken over:"), *disabled(entry(name, data) for name, data in lost.items())])
    return lines


def _unknown(fields: Mapping[str, Node], plugins: "PluginManager") -> list[str]:
    """Return the fields that neither we nor the transport know."""
    transport: Any = fields["transport"].value if "transport" in fields else None
    if not isinstance(transport, str):
        return []
    try:
        options = plugins.transport(transport).options
    except PluginError:  # whose they are is not known; check says what is missing
        return []
    known = {*MCPServerConfig.model_fields, *(field_names(options) if options is not None else ())}
    return [name for name in fields if name not in known]


def _members(node: Node) -> Mapping[str, Node]:
    return node.value if isinstance(node.value, dict) else {}
