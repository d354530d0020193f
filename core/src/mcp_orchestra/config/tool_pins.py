"""The file that says which tools were looked at and approved: a digest for each, meant for version control."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal
from uuid import uuid4

from mcp_orchestra.config.files import Stamp, read_text, stamp_of
from mcp_orchestra.config.json_tree import parse_json
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import Node, kind_of, plain

__all__ = ["MAX_PIN_BYTES", "ServerPins", "ToolPins", "pin_path", "read_pin_file", "write_pin_file"]

MAX_PIN_BYTES: Final = 4_000_000
"""The largest pin file."""

_VERSION = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NONE: Mapping[str, str] = MappingProxyType({})

ServerPins = Mapping[str, Mapping[str, str]]
"""The digest of each approved tool, by the tool's own name and before that by the server's id."""


@dataclass(frozen=True, kw_only=True)
class ToolPins:
    """The pins that are in force."""

    file: Path
    policy: Literal["block", "warn"]
    """What becomes of a tool that is not as pinned."""
    servers: ServerPins = field(repr=False)
    stamp: Stamp | None = None
    """What the file looked like before it was read."""

    @classmethod
    def read(cls, file: Path, policy: Literal["block", "warn"]) -> "ToolPins":
        """Read the pins; raises as `read_pin_file` does."""
        stamp = stamp_of(file)
        return cls(file=file, policy=policy, servers=read_pin_file(file), stamp=stamp)

    def of(self, server_id: str) -> Mapping[str, str]:
        """Return the digests of a server's approved tools; there are none for a server that the file does not have."""
        return self.servers.get(server_id, _NONE)


def pin_path(named: str, config: Path | None) -> Path:
    """Return the pin file that a configuration names: a relative path starts at its folder.

    Args:
        named: As ``orchestration.security.tool_pins`` has it.
        config: The configuration's own file; None for one that was made in Python.
    """
    return Path(named) if config is None else config.parent / named


def read_pin_file(file: Path) -> ServerPins:
    """Read a pin file.

    Raises:
        FileProblemError: It cannot be read at all.
        ConfigurationError: What is in it is no pin file; the message names the file and the place.
    """
    return _parsed(read_text(file, MAX_PIN_BYTES), file)


def write_pin_file(file: Path, servers: ServerPins) -> None:
    """Write a pin file, all of it or nothing: sorted, a line for each tool, so that a change is a line of a diff.

    Raises:
        ConfigurationError: There is more than can be read again.
        OSError: It cannot be written.
    """
    document = {"version": _VERSION, "servers": {server_id: dict(pins) for server_id, pins in servers.items()}}
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    _parsed(text, file)
    file = file.resolve()  # what a link leads to is replaced, and not the link
    temporary = file.with_name(f".{file.name}.{uuid4().hex}")  # processes in containers share their ids
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        if file.exists():
            shutil.copymode(file, temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _parsed(text: str, file: Path) -> ServerPins:
    problems = Problems(file, kind="Tool pin file")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_PIN_BYTES:
        problems.fatal(None, (), "larger than can be read")
    root = parse_json(text, problems)
    problems.raise_if_any()
    members = _members(root, problems, "version", "servers")
    version, servers = members.get("version"), members.get("servers")
    if version is None or servers is None:
        problems.fatal(None, (), 'expected {"version": 1, "servers": {…}}')
    if version.value != _VERSION or isinstance(version.value, bool):
        problems.fatal(version.mark, version.path, "expected 1: another version of this program wrote this file")
    for server in _members(servers, problems).values():
        for pin in _members(server, problems).values():
            if not (isinstance(pin.value, str) and _DIGEST.fullmatch(pin.value)):
                problems.at(pin.mark, pin.path, 'expected "sha256:" and 64 hexadecimal digits')
    problems.raise_if_any()
    found: dict[str, Any] = plain(servers)
    return found


def _members(node: Node | None, problems: Problems, *known: str) -> dict[str, Node]:
    if node is None:
        problems.fatal(None, (), 'the file is empty; expected {"version": 1, "servers": {…}}')
    if not isinstance(node.value, dict):
        problems.fatal(node.mark, node.path, f"expected a mapping, got {kind_of(node.value)}")
    for key, child in node.value.items():
        if known and key not in known:
            problems.at(child.mark, child.path, f"unknown key; there are {' and '.join(known)}")
    return node.value
