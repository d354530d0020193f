"""Brings single servers of other MCP clients' files into the document's shape."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from mcp_orchestra.config.names import derived_id
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import Node, kind_of, show_key
from mcp_orchestra.suggest import did_you_mean

__all__ = ["Translator"]

# What to say of a field that is not used, by a part of its name.
_CONSEQUENCES = {
    "auth": "the server is reached without it",
    "header": "the server is reached without it",
    "env": "its variables are not set",
    "sandbox": "the server is not confined",
}
_TELLING = {"transport", "url"}  # what tells which fields a server may have
_URLS = ("url", "httpUrl", "serverUrl")
_MILLISECONDS = 1000  # so many seconds nobody waits for a connection
_MOST = 20  # hints, and names in one warning


@dataclass(frozen=True)
class Translator:
    """Translates the servers of one file.

    Args:
        problems: Receives what has no meaning in the document's shape.
        warnings: Receives what was taken otherwise than written, or not at all.
        expand: Expands a subtree in place; called once for each field that is used.
        known: Returns the fields that a server of this transport may have, or None if there is no saying.
    """

    problems: Problems
    warnings: list[str]
    expand: Callable[[Node], object]
    known: Callable[[str], Collection[str] | None]

    def servers(self, node: Node) -> Node:
        """Return the mapping of servers, under ids that can be used here."""
        translated: dict[str, Node] = {}
        for key, server in (node.value if isinstance(node.value, dict) else {}).items():
            server_id = self._id(key, server)
            if other := translated.get(server_id):
                message = f'its id would be "{server_id}", and so would that of {other}; rename one of them'
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
        fields = {name: node for name, node in written.items() if node.value is not None}
        gemini = "httpUrl" in fields
        self._rename(fields, ("transport", "type"), "transport")
        self._rename(fields, _URLS, "url")
        for name in [name for name in fields if name in _TELLING]:
            self.expand(fields[name])
        if "transport" not in fields:
            transport = self._transport(server, fields, gemini)
            if transport is None:
                return None
            fields["transport"] = Node(transport, server.path, server.mark)
        self._leave_out(server, fields)
        for name in [name for name in fields if name not in _TELLING]:
            self.expand(fields[name])
        self._enable(fields)
        self._seconds(fields)
        self._variables(fields)
        fields.setdefault("name", Node(key.strip(), server.path, server.mark))
        return Node(fields, server.path, server.mark)

    def _leave_out(self, server: Node, fields: dict[str, Node]) -> None:
        transport = fields["transport"].value
        known = self.known(transport) if isinstance(transport, str) else None
        unknown = [name for name in fields if known is not None and name != "disabled" and name not in known]
        if known is None or not unknown:
            return
        for name in unknown:
            del fields[name]
        told = [f"{show_key(name)}{self._consequence(name, known)}" for name in unknown[:_MOST]]
        more = [f"and {len(unknown) - _MOST} more"] if len(unknown) > _MOST else []
        self._warn(server, f"not used here: {', '.join([*told, *more])}")

    def _consequence(self, name: str, known: Collection[str]) -> str:
        said = next((words for part, words in _CONSEQUENCES.items() if part in name.casefold()), "")
        if not said and len(self.warnings) < _MOST:
            said = did_you_mean(name, known).removeprefix("; ")
        return f" ({said})" if said else ""

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

    def _variables(self, fields: dict[str, Node]) -> None:
        # Other clients take any scalar for a text, and nothing for a variable that is not set.
        node = fields.get("env")
        if node is not None and isinstance(node.value, dict):
            variables = {name: _as_text(value) for name, value in node.value.items() if value.value is not None}
            fields["env"] = Node(variables, node.path, node.mark)

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
        self.warnings.append(f"{node}: {message}")


def _as_text(node: Node) -> Node:
    if isinstance(node.value, int | float):
        return Node(node.written or json.dumps(node.value), node.path, node.mark)
    return node


def _ends_in_sse(url: str) -> bool:
    try:
        return urlsplit(url).path.rstrip("/").endswith("/sse")
    except ValueError:
        return False
