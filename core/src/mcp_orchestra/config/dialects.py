"""Brings the files of other MCP clients into the document's shape.

=================  ============================================================================================
``mcpServers``     Claude Desktop, Claude Code, Cursor, Gemini CLI, Windsurf, and most others
``servers``        VS Code
``mcp_servers``    the document's own: passed on as it is
=================  ============================================================================================

Every node keeps the place where the user wrote it: an error about ``mcp_servers.x.url`` says ``mcpServers.x.httpUrl``.
"""

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from mcp_orchestra.config.names import derived_id
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import Node, kind_of, show_key, show_path
from mcp_orchestra.suggest import did_you_mean

__all__ = ["Outline", "arrange", "outline"]

_OWN = "mcp_servers"
_ROOTS = (_OWN, "mcpServers", "servers")
_SECTIONS = ("orchestration", "plugins")
# What stands beside the servers in the files of those clients, and has nothing to do with them.
_COMPANIONS = {
    "mcp_servers": {"$schema"},
    "servers": {"$schema", "inputs", "sandbox"},
    "mcpServers": {
        *("$schema", "inputs"),
        # Claude Desktop
        *("globalShortcut", "preferences", "scale", "locale", "userThemeMode", "theme"),
        *("isUsingBuiltInNodeForMcp", "isDxtAutoUpdatesEnabled"),
        # Gemini CLI
        *("admin", "advanced", "agents", "autoAccept", "checkpointing", "context", "contextFileName", "coreTools"),
        *("excludeTools", "experimental", "extensions", "fileFiltering", "general", "hooks", "ide", "mcp", "model"),
        *("modelConfigs", "output", "preferredEditor", "privacy", "sandbox", "security", "selectedAuthType", "skills"),
        *("telemetry", "tools", "ui", "usageStatisticsEnabled", "vimMode"),
    },
}
# Fields of a server that concern a client's window, or what it asks its user before a call.
_NOT_OURS = {
    *("trust", "alwaysAllow", "autoApprove", "includeTools", "excludeTools", "disabledTools"),
    *("description", "icon", "version", "gallery", "dev", "notes"),
}
_URLS = ("url", "httpUrl", "serverUrl")
_MILLISECONDS = 1000  # so many seconds nobody waits for a connection


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
    name = found[0] if found else _OWN
    for other in found[1:]:
        problems.at(top[other].mark, (other,), f'servers stand in one place; "{name}" is there already, so move these')
    for key, node in top.items():
        if problems.full:
            break
        if key not in _ROOTS and key not in _SECTIONS and key not in _COMPANIONS[name]:
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


def arrange(parts: Outline, problems: Problems, warnings: list[str]) -> Node:
    """Return the parts of an expanded file in the document's shape.

    Args:
        parts: What `outline` found.
        problems: Receives what has no meaning in the document's shape.
        warnings: Receives what was taken otherwise than written, or not at all.
    """
    servers = parts.servers
    if parts.foreign:
        servers = _Translator(problems, warnings).servers(servers)
    sections = {_OWN: servers, "orchestration": parts.orchestration, "plugins": parts.plugins}
    members = {name: node for name, node in sections.items() if node is not None}
    return Node(members, parts.root.path, parts.root.mark)


@dataclass(frozen=True)
class _Translator:
    problems: Problems
    warnings: list[str]

    def servers(self, node: Node) -> Node:
        translated: dict[str, Node] = {}
        for key, server in (node.value if isinstance(node.value, dict) else {}).items():
            server_id = self._id(key, server)
            if other := translated.get(server_id):
                place = f"{show_path(other.path)} (line {other.mark.line})" if other.mark else show_path(other.path)
                message = f'its id would be "{server_id}", and so would that of {place}; rename one of them'
                self.problems.at(server.mark, server.path, message)
            elif not isinstance(server.value, dict):
                message = f"expected a mapping with the fields of a server, got {kind_of(server.value)}"
                self.problems.at(server.mark, server.path, message)
            elif (fields := self._server(key, server, server.value)) is not None:
                translated[server_id] = fields
        return Node(translated, node.path, node.mark)

    def _id(self, key: str, server: Node) -> str:
        # Other clients allow spaces and more, which a tool name cannot have.
        server_id = derived_id(key)
        if server_id and server_id != key:
            self._warn(server, f'its id here is "{server_id}"')
        return server_id or key

    def _server(self, key: str, server: Node, written: dict[str, Node]) -> Node | None:
        fields = {name: node for name, node in written.items() if name not in _NOT_OURS}
        if ignored := [show_key(name) for name in written if name in _NOT_OURS]:
            self._warn(server, f"not used here: {', '.join(ignored)}")
        self._rename(fields, ("transport", "type"), "transport")
        gemini = "httpUrl" in fields
        self._rename(fields, _URLS, "url")
        self._enable(fields)
        self._seconds(fields)
        fields.setdefault("name", Node(key, server.path, server.mark))
        if "transport" not in fields:
            transport = self._transport(server, fields, gemini)
            if transport is None:
                return None
            fields["transport"] = Node(transport, server.path, server.mark)
        return Node(fields, server.path, server.mark)

    def _rename(self, fields: dict[str, Node], names: tuple[str, ...], target: str) -> None:
        present = [name for name in fields if name in names]
        for name in present[1:]:
            self.problems.at(fields[name].mark, fields[name].path, f'"{present[0]}" says the same; keep one of them')
        if present:
            node = fields[present[0]]
            for name in present:
                del fields[name]
            fields[target] = node

    def _enable(self, fields: dict[str, Node]) -> None:
        node = fields.pop("disabled", None)
        if node is None:
            return
        if "enabled" in fields:
            self.problems.at(node.mark, node.path, '"enabled" is there as well; keep one of them')
        disabled = node.value
        if node.placeholder and isinstance(disabled, str):
            disabled = {"true": True, "false": False}.get(disabled.lower(), disabled)
        if isinstance(disabled, bool):
            fields["enabled"] = Node(not disabled, node.path, node.mark)
        else:
            self.problems.at(node.mark, node.path, f"expected true or false, got {kind_of(disabled)}")

    def _seconds(self, fields: dict[str, Node]) -> None:
        node = fields.get("timeout")
        if node is None:
            return
        value = node.value
        if node.placeholder and isinstance(value, str) and value.isdecimal() and len(value) < 10:
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= _MILLISECONDS:
            seconds = value // 1000 if value % 1000 == 0 else value / 1000
            fields["timeout"] = Node(seconds, node.path, node.mark)
            self._warn(node, "1000 or more is taken for milliseconds; here a timeout is in seconds")

    def _transport(self, server: Node, fields: dict[str, Node], gemini: bool) -> str | None:
        if "command" in fields:
            if "url" in fields:
                self.problems.at(server.mark, server.path, "both a command and a URL; keep one of them")
                return None
            return "stdio"
        if gemini:
            return "streamable-http"
        url = fields.get("url")
        if url is None:
            self.problems.at(server.mark, server.path, 'expected a "command" (stdio) or a "url"')
            return None
        return "sse" if isinstance(url.value, str) and _ends_in_sse(url.value) else "streamable-http"

    def _warn(self, node: Node, message: str) -> None:
        line = f" (line {node.mark.line})" if node.mark else ""
        self.warnings.append(f"{show_path(node.path)}{line}: {message}")


def _ends_in_sse(url: str) -> bool:
    try:
        return urlsplit(url).path.rstrip("/").endswith("/sse")
    except ValueError:
        return False
